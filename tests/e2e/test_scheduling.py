"""Cordoned and drained workers, and why calls wait."""

import re
import signal

import requests

from harness import eventually

WAITING = {
    "app.py": """
    def wait(gate):
        print("HERE", flush=True)
        open(gate).read()
        return "finished"

    def quick():
        return "quick"
    """
}


def worker_id(split):
    """The id of the one worker."""
    [worker] = split.api.get("/api/v1/status").json()["workers"]
    return worker["id"]


def post(split, path, token=None, **body):
    """Asks the gateway's HTTP side to do something with a worker."""
    token = token or split.facts["token"]
    return requests.post(
        f"http://{split.http}/api/v1/worker/{path}",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


def test_a_cordoned_worker_gets_nothing_new_even_after_the_gateway_restarts(split):
    stub = split.api.stub(WAITING, "app:quick")
    worker = worker_id(split)
    assert post(split, f"{worker}/cordon").json()["cordoned"] is True
    split.gateway.kill()
    split.start_gateway()
    split.wait_for_workers(1)
    call = split.api.call(stub)
    call.until("the only worker that can run it is cordoned")
    assert post(split, f"{worker}/uncordon").json()["cordoned"] is False
    assert call.finish().value == "quick"
    noted = split.api.get("/api/v1/audit", token=split.facts["token"]).json()
    told = [line["action"] for line in noted["audit"] if line["object"] == worker]
    assert {"worker.cordon", "worker.uncordon"} <= set(told), noted


def test_a_drained_worker_finishes_its_call_and_is_empty(split, split_app):
    gate = split_app.gate()
    call = split.api.call(split.api.stub(WAITING, "app:wait"), str(gate))
    call.until("HERE\n")
    worker = worker_id(split)
    assert post(split, f"{worker}/drain", deadline_seconds=60).status_code == 200
    gate.open()
    assert call.finish().value == "finished"

    def containers():
        [seen] = split.api.get("/api/v1/status").json()["workers"]
        return seen["containers"]

    eventually(containers, lambda count: count == 0, what="the worker is empty")
    assert post(split, f"{worker}/uncordon").status_code == 200


def test_what_runs_past_the_deadline_is_made_again_without_using_a_retry(split, split_app):
    gate = split_app.gate()
    stub = split.api.stub(WAITING, "app:wait")
    call = split.api.call(stub, str(gate))
    call.until("HERE\n")
    worker = worker_id(split)
    assert post(split, f"{worker}/drain", deadline_seconds=0).status_code == 200
    call.until("being drained")
    assert post(split, f"{worker}/uncordon").status_code == 200
    call.until("HERE\n", times=2)
    gate.open()
    assert call.finish().value == "finished"
    assert split.api.task(call.task_id)["status"] == "COMPLETE"


def test_a_worker_told_to_end_lets_its_call_finish(split, split_app):
    gate = split_app.gate()
    call = split.api.call(split.api.stub(WAITING, "app:wait"), str(gate))
    call.until("HERE\n")
    [worker] = split.workers
    worker.process.send_signal(signal.SIGTERM)
    eventually(
        lambda: split.api.get("/api/v1/status").json()["workers"],
        lambda workers: bool(workers) and workers[0]["leaving"],
        what="the worker is leaving",
    )
    gate.open()
    assert call.finish().value == "finished"
    eventually(lambda: worker.running, lambda running: not running, what="the worker ends")
    assert worker.process.returncode == 0


def test_only_the_workspaces_own_tokens_may_cordon(split):
    worker = worker_id(split)
    assert post(split, f"{worker}/cordon", token="nonsense").status_code == 401
    assert post(split, "00000000-0000-0000-0000-000000000000/drain").status_code == 404
    [seen] = split.api.get("/api/v1/status").json()["workers"]
    assert re.fullmatch(r"[0-9a-f-]{36}", seen["id"]) and seen["cordoned"] is False
