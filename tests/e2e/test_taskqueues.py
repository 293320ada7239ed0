"""`@task_queue`: calls that nobody waits for."""

import json
import sys
import uuid

import pytest
import requests
from beta9.client.client import Client
from beta9.clients.gateway import Autoscaler, TaskPolicy

from harness import eventually

PUT = """
import json, sys
from beta9 import task_queue

@task_queue(cpu=0.1, max_pending_tasks=1000, retries=3)
def double(number, trace=None):
    print("doubling", number)
    if trace:
        with open(trace, "a") as log:
            log.write(f"{number}\\n")
    return {"number": number, "double": number * 2}

if __name__ == "__main__":
    tasks = [double.put(number) for number in range(int(sys.argv[1]))]
    print(json.dumps([task.id for task in tasks]))
"""

OPTIONS = {"stub_type": "taskqueue", "cpu": 100}


def put(api, stub, *args, **kwargs):
    """Puts a call in by the address of its stub; returns the task."""
    headers = {"Authorization": f"Bearer {api.token}"}
    body = {"args": args, "kwargs": kwargs}
    answer = requests.post(
        f"{api.http}/taskqueue/id/{stub}", json=body, headers=headers, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["task_id"]


def test_what_is_put_is_done_and_its_result_is_json(app, api):
    ids = app(PUT, arguments=[3]).json
    client = Client(token=api.token, api_url=api.http)
    for number, task_id in enumerate(ids):
        assert api.wait(task_id) == "COMPLETE"
        expected = {"number": number, "double": number * 2}
        assert api.task(task_id)["result"] == expected
        assert client.get_task_by_id(task_id).result() == expected
    logs = api.get(f"/api/v1/task/{api.workspace}/{ids[0]}/logs")
    assert "doubling 0" in logs.text


def test_a_deployed_queue_takes_calls_over_http(app, api):
    directory = app.directory()
    (directory / "app.py").write_text(PUT)
    name = f"doubler-{uuid.uuid4().hex[:8]}"
    deploy = [sys.executable, "-m", "beta9", "deploy", "app.py:double", "--name", name, "--json"]
    done = app.launch(deploy, directory).finish()
    assert done.code == 0, done
    made = json.loads(done.stdout[done.stdout.index("{") :])
    headers = {"Authorization": f"Bearer {api.token}"}
    for url in (made["invoke_url"], f"{api.http}/taskqueue/{name}", f"{api.http}/taskqueue/{name}/"):
        answer = requests.post(url, json={"number": 4}, headers=headers, timeout=30)
        task_id = answer.json()["task_id"]
        assert api.wait(task_id) == "COMPLETE"
        assert api.task(task_id)["result"]["double"] == 8
    # A number is what it is, however long; a list of arguments is a list.
    url = f"{api.http}/taskqueue/{name}"
    long = requests.post(url, json={"number": 10**30 + 1}, headers=headers, timeout=30)
    assert api.wait(long.json()["task_id"]) == "COMPLETE"
    assert api.task(long.json()["task_id"])["result"]["double"] == 2 * 10**30 + 2
    refused = requests.post(url, json={"args": 5}, headers=headers, timeout=30)
    assert refused.status_code == 400 and "`args` is no list" in refused.json()["message"]
    refused = requests.post(url + "/warmup", headers=headers, timeout=30)
    assert refused.status_code == 400 and "min_containers" in refused.json()["message"]


RETRYING = {
    "app.py": """
    import os
    from beta9 import task_queue

    class Flaky(Exception):
        pass

    class Flakier(Flaky):
        pass

    @task_queue(retry_for=[Flaky], retries=2)
    def attempt(trace, succeed_at, kind="Flaky"):
        with open(trace, "a") as log:
            log.write("x")
        if os.path.getsize(trace) < succeed_at:
            raise {"Flaky": Flaky, "Flakier": Flakier, "ValueError": ValueError}[kind]("not yet")
        return os.path.getsize(trace)

    def unwritable():
        return object()

    def started(context):
        return context.on_start_value

    def prepare():
        return "prepared"
    """
}


@pytest.fixture
def policy():
    return {**OPTIONS, "task_policy": TaskPolicy(max_retries=2, timeout=60)}


def test_an_error_that_the_queue_names_is_tried_again(api, tmp_path, policy):
    trace = tmp_path / "trace"
    task = put(api, api.stub(RETRYING, "app:attempt", **policy), str(trace), 3)
    assert api.wait(task) == "COMPLETE"
    assert trace.read_text() == "xxx" and api.task(task)["attempts"] == 3


def test_it_is_not_tried_more_often_than_allowed(api, tmp_path, policy):
    trace = tmp_path / "trace"
    task = put(api, api.stub(RETRYING, "app:attempt", **policy), str(trace), 100)
    assert api.wait(task) == "ERROR"
    assert trace.read_text() == "xxx"
    assert "not yet" in api.task(task)["failure_reason"]


@pytest.mark.parametrize("kind", ["ValueError", "Flakier"])
def test_other_errors_are_final(api, tmp_path, policy, kind):
    trace = tmp_path / "trace"
    task = put(api, api.stub(RETRYING, "app:attempt", **policy), str(trace), 100, kind=kind)
    assert api.wait(task) == "ERROR"
    assert trace.read_text() == "x"


def test_a_result_that_is_no_json_is_told_and_no_failure(api):
    task = put(api, api.stub(RETRYING, "app:unwritable", **OPTIONS))
    assert api.wait(task) == "COMPLETE"
    assert api.task(task)["result"] is None
    logs = api.get(f"/api/v1/task/{api.workspace}/{task}/logs").text
    assert "is no JSON" in logs


def test_on_start_runs_before_the_first_call(api):
    stub = api.stub(RETRYING, "app:started", on_start="app:prepare", **OPTIONS)
    task = put(api, stub)
    assert api.wait(task) == "COMPLETE"
    assert api.task(task)["result"] == "prepared"


def test_a_full_queue_refuses_more(api, app):
    gate = app.gate()
    code = {"app.py": "def hold(gate):\n    open(gate).read()\n"}
    stub = api.stub(code, "app:hold", max_pending_tasks=2, **OPTIONS)
    tasks = [put(api, stub, str(gate)) for _ in range(2)]
    headers = {"Authorization": f"Bearer {api.token}"}
    url = f"{api.http}/taskqueue/id/{stub}"
    refused = requests.post(url, json={"gate": str(gate)}, headers=headers, timeout=30)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert "max_pending_tasks is 2" in refused.json()["message"]
    for task in tasks:
        gate.open()
        assert api.wait(task) == "COMPLETE"


def test_a_killed_workers_calls_are_each_done_once_more(split, tmp_path):
    trace, go = tmp_path / "trace", tmp_path / "go"
    code = {
        "app.py": """
        import os, time

        def work(number, trace, go):
            with open(trace, "a") as log:
                log.write(f"{number} begun\\n")
            while not os.path.exists(go):
                time.sleep(0.01)
            with open(trace, "a") as log:
                log.write(f"{number} done\\n")
        """
    }
    stub = split.api.stub(
        code,
        "app:work",
        task_policy=TaskPolicy(max_retries=1, timeout=60),
        autoscaler=Autoscaler(type="queue_depth", max_containers=2),
        **OPTIONS,
    )
    tasks = [put(split.api, stub, number, str(trace), str(go)) for number in range(4)]

    def begun():
        return trace.read_text().count("begun") if trace.exists() else 0

    eventually(begun, lambda seen: seen == 2, what="as many as may run at a time have begun")
    split.workers[0].kill()
    split.workers[0].start()
    eventually(begun, lambda seen: seen == 4, what="both have begun again", within=60)
    go.touch()
    for task in tasks:
        assert split.api.wait(task, within=60) == "COMPLETE"
    lines = trace.read_text().split("\n")
    for number in range(4):
        assert lines.count(f"{number} done") == 1
        assert lines.count(f"{number} begun") == (2 if number < 2 else 1)
