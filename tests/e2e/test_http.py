"""The HTTP side of the gateway."""

import json

import requests
from beta9.client.client import Client
from beta9.client.task import Task
from beta9.type import TaskStatus

from harness.code import WAITING

HELLO = {
    "app.py": """
    def hello(name):
        print(f"saying hello to {name}")
        return {"hello": name}

    def fail():
        raise ValueError("no")
    """
}


def finished(api, name="world"):
    call = api.call(api.warm(HELLO, "app:hello"), name).finish()
    api.wait(call.task_id)
    return call


def test_health_needs_no_token(api):
    answer = requests.get(api.http + "/health", timeout=10)
    assert answer.status_code == 200


def test_metrics_are_in_prometheus_text(api):
    finished(api)
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    assert lines and all(line.startswith("metal9_") for line in lines), answer.text
    for line in lines:
        float(line.rpartition(" ")[2])
    assert "# HELP" in answer.text and "# TYPE" in answer.text


def test_the_workspace_is_told(api):
    answer = api.get("/api/v1/workspace/current")
    assert answer.status_code == 200
    assert answer.json()["external_id"]


def test_a_finished_task_has_its_status_result_and_phases(api):
    task = api.task(finished(api).task_id)
    assert task["status"] == "COMPLETE"
    assert "outputs" in task
    assert set(task["result"]) == {"base64"}
    phases = {phase["name"]: phase["micros"] for phase in task["phases"]}
    assert phases and all(micros >= 0 for micros in phases.values())
    assert "call" in phases


def test_a_failed_task_has_its_status(api):
    call = api.call(api.stub(HELLO, "app:fail")).finish()
    api.wait(call.task_id, "ERROR")
    task = api.task(call.task_id)
    assert task["status"] == "ERROR"
    assert {"status", "result", "outputs"} <= set(task)


def test_a_task_that_is_not_there_is_not_found(api):
    path = f"/api/v1/task/{api.workspace}/00000000-0000-7000-8000-000000000000"
    for end in ("", "/subscribe", "/explain", "/logs"):
        answer = api.get(path + end)
        assert answer.status_code == 404, (end, answer.text)
        assert answer.json()["message"]


def test_an_unknown_path_is_not_found_in_json(api):
    answer = api.get("/api/v1/nothing/here")
    assert answer.status_code == 404
    assert answer.json()["message"]


def test_the_sdks_client_reads_a_task(fleet, api):
    call = finished(api)
    client = Client(token=api.token, api_url=api.http)
    task = client.get_task_by_id(call.task_id)
    assert task.status() == TaskStatus.Complete
    assert task.result() == {"hello": "world"}
    assert task.result(wait=True) == {"hello": "world"}


def test_the_sdks_client_follows_a_task_to_its_end(api, app):
    gate = app.gate()
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate)).until("in")
    url = f"{api.http}/api/v1/task/{api.workspace}/{call.task_id}"
    seen = []

    def note(event):
        seen.append(event["status"])
        if len(seen) == 1:
            gate.open()

    assert Task(call.task_id, url, api.token).subscribe(note) == 5
    assert seen[0] == "RUNNING" and seen[-1] == "COMPLETE", seen


def test_logs_are_plain_text_and_complete(api):
    call = finished(api, "größe")
    answer = api.get(f"/api/v1/task/{api.workspace}/{call.task_id}/logs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.content.decode() == "saying hello to größe\n" == call.output


def test_following_logs_ends_with_the_task(api, app):
    gate = app.gate()
    stub = api.warm(
        {
            "app.py": """
            def talk(gate):
                print("one", flush=True)
                open(gate).read()
                print("two")
            """
        },
        "app:talk",
    )
    call = api.call(stub, str(gate)).until("one")
    path = f"/api/v1/task/{api.workspace}/{call.task_id}/logs?follow=true"
    text = ""
    with api.get(path, stream=True) as answer:
        for piece in answer.iter_content(None):
            if not text:
                gate.open()
            text += piece.decode()
    assert text == "one\ntwo\n"


def test_the_status_counts_workers_tasks_and_containers(api):
    finished(api)
    status = api.get("/api/v1/status").json()
    assert status["version"]
    [worker] = status["workers"]
    assert worker["pythons"]
    assert status["tasks"]["COMPLETE"] >= 1
    assert status["containers"] >= 0
    json.dumps(status)


def test_another_workspaces_path_shows_nothing(api):
    call = finished(api)
    other = "00000000-0000-7000-8000-00000000000a"
    assert api.get(f"/api/v1/task/{other}/{call.task_id}").status_code in (403, 404)
