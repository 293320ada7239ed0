"""A worker, or its machine, that ends while jobs run, and what is said about it afterwards."""

import json

import pytest

from harness import Gate, eventually

HOLD = {
    "app.py": """
    def hold(gate):
        print("HERE", flush=True)
        open(gate).read()
    """
}


@pytest.fixture
def gate(tmp_path):
    """Where a function waits."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "rebooted"])
def test_what_ran_is_told_at_the_next_start(split, gate, rebooted):
    worker, api = split.workers[0], split.api
    call = api.call(api.stub(HOLD, "app:hold"), str(gate.path)).until("HERE")
    note = worker.state / "running.json"
    eventually(note.exists, what="the running job is noted")
    assert json.loads(note.read_text())["tasks"] == [call.task_id]
    before = worker.size(), split.gateway.size()
    worker.kill()
    if rebooted:
        noted = json.loads(note.read_text())
        noted["boot"]["id"] = "another one"
        note.write_text(json.dumps(noted))
    worker.start()
    what = "machine rebooted" if rebooted else "worker was killed or crashed"
    sentence = f"the {what} while 1 job ran"
    eventually(lambda: sentence in split.gateway.text(before[1]), what="the gateway is told")
    assert sentence in worker.text(before[0]) and call.task_id in worker.text(before[0])
    assert api.wait(call.task_id) == "ERROR"
    assert not note.exists(), "it is told once"


def test_a_job_that_ends_leaves_no_note(split, gate):
    worker, api = split.workers[0], split.api
    call = api.call(api.stub(HOLD, "app:hold"), str(gate.path)).until("HERE")
    note = worker.state / "running.json"
    eventually(note.exists, what="the running job is noted")
    gate.open()
    call.finish()
    eventually(lambda: not note.exists(), what="the note is gone")
