"""Calls that somebody stops."""

from harness import eventually, processes

STAYING = """
import os, subprocess, sys
from beta9 import function

@function(headless=HEADLESS)
def stay(gate, witness):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    print("HERE", os.environ["TASK_ID"], os.getpid(), child.pid)
    try:
        open(gate).read()
    finally:
        open(witness, "w").close()
    return "finished"

if __name__ == "__main__":
    print("result", stay.remote(sys.argv[1], sys.argv[2]))
"""


def started(app, headless, witness):
    """Starts the program; returns it with its gate, task id and the pids of the call."""
    gate = app.gate()
    source = STAYING.replace("HEADLESS", repr(headless))
    program = app.start(source, arguments=[gate, witness])
    task, *pids = program.line("HERE ").split()
    return program, gate, task, [int(pid) for pid in pids]


def gone(pids):
    eventually(lambda: processes.living(pids), lambda left: not left, what="every process is gone")


def test_ctrl_c_stops_the_call_and_all_its_processes(app, api, tmp_path):
    witness = tmp_path / "cleaned-up"
    program, _, task, pids = started(app, False, witness)
    assert processes.living(pids) == pids
    program.interrupt()
    done = program.finish()
    assert done.code == 1
    assert "Your function will be terminated." in done.stderr
    assert api.wait(task) == "CANCELLED"
    gone(pids)
    assert witness.exists()


def test_ctrl_c_leaves_a_headless_call_running(app, api, tmp_path):
    program, gate, task, pids = started(app, True, tmp_path / "witness")
    program.interrupt()
    done = program.finish()
    assert done.code == 1
    assert "will continue running remotely" in done.stderr
    assert api.status(task) == "RUNNING"
    assert processes.living(pids) == pids
    gate.open()
    assert api.wait(task) == "COMPLETE"


def test_a_headless_call_outlives_its_client_and_its_result_can_be_had(app, api, tmp_path):
    program, gate, task, pids = started(app, True, tmp_path / "witness")
    program.kill()
    assert processes.living(pids) == pids
    gate.open()
    assert api.wait(task) == "COMPLETE"
    [stub] = [seen.stub_id for seen in api.tasks(id=[task])]
    call = api.attach(stub, task)
    assert call.value == "finished"
    assert call.task_id == task
    gone(pids[1:])


def test_the_sdks_command_line_stops_a_task(app, api, fleet, tmp_path):
    program, _, task, pids = started(app, False, tmp_path / "witness")
    assert f"Task {task} stopped." in fleet.beta9("task", "stop", task).stdout
    done = program.finish()
    assert done.code == 1
    assert f"Remote task {task} CANCELLED" in done.stderr
    gone(pids)
    assert api.status(task) == "CANCELLED"


def test_stopping_the_container_stops_its_call(app, api, fleet, tmp_path):
    program, _, task, pids = started(app, False, tmp_path / "witness")
    [container] = [seen.container_id for seen in api.tasks(id=[task])]
    fleet.beta9("container", "stop", container)
    assert program.finish().code == 1
    assert api.wait(task) == "CANCELLED"
    gone(pids)


def test_stopping_a_task_that_has_ended_changes_nothing(api):
    stub = api.stub({"app.py": "def one():\n    return 1\n"}, "app:one")
    call = api.call(stub).finish()
    api.cancel(call.task_id)
    assert api.status(call.task_id) == "COMPLETE"


def test_a_task_that_waits_can_be_stopped(api):
    stub = api.stub({"app.py": "def one():\n    return 1\n"}, "app:one", cpu=64_000)
    call = api.call(stub)
    assert api.status(call.task_id) == "PENDING"
    api.cancel(call.task_id)
    call.finish()
    assert call.exit_code == 130
    assert api.status(call.task_id) == "CANCELLED"


def test_the_same_function_can_be_called_after_a_cancelled_call(api):
    stub = api.stub(
        {
            "app.py": """
            import signal

            def stay(forever):
                if forever:
                    print("staying", flush=True)
                    signal.pause()
                return "free"
            """
        },
        "app:stay",
    )
    call = api.call(stub, True).until("staying")
    api.cancel(call.task_id)
    assert call.finish().exit_code == 130
    assert api.call(stub, False).value == "free"
