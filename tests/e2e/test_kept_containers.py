"""How many containers deployments have: the fewest, the most, and what people say."""

import json
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from harness import eventually

SOURCE = """
import os
from beta9 import endpoint, task_queue, QueueDepthAutoscaler

SCALE = QueueDepthAutoscaler(min_containers=2, max_containers=3)

@endpoint(cpu=0.1, keep_warm_seconds=1, autoscaler=SCALE)
def answer(gate=None):
    if gate:
        open(gate).read()
    return {"container": os.environ["CONTAINER_ID"]}

@task_queue(cpu=0.1, keep_warm_seconds=1, autoscaler=SCALE)
def queue(gate=None):
    if gate:
        open(gate).read()
    return {"container": os.environ["CONTAINER_ID"], "pid": os.getpid()}

@task_queue(cpu=0.1, keep_warm_seconds=5, autoscaler=QueueDepthAutoscaler(max_containers=4, tasks_per_container=3))
def patient(gate=None):
    if gate:
        open(gate).read()
    return os.environ["CONTAINER_ID"]
"""


BROKEN = """
import os
from beta9 import task_queue, QueueDepthAutoscaler

if "CONTAINER_ID" in os.environ:
    raise RuntimeError("not today")

@task_queue(cpu=0.1, autoscaler=QueueDepthAutoscaler(min_containers=1))
def broken():
    return 1
"""


class Deployed:
    """A deployment, through the SDK's command line."""

    def __init__(self, app, api, handler, source=SOURCE):
        self.app, self.api = app, api
        self.directory = app.directory()
        (self.directory / "app.py").write_text(source)
        name = f"{handler}-{uuid.uuid4().hex[:8]}"
        told = self.beta9("deploy", f"app.py:{handler}", "--name", name, "--json")
        made = json.loads(told[told.index("{") :])
        self.id, self.stub, self.url = made["deployment_id"], made["stub_id"], made["invoke_url"]

    def beta9(self, *arguments):
        command = [sys.executable, "-m", "beta9", *arguments]
        done = self.app.launch(command, self.directory).finish(120)
        assert done.code == 0, done
        return done.stdout

    def call(self, **body):
        headers = {"Authorization": f"Bearer {self.api.token}"}
        answer = requests.post(self.url, json=body, headers=headers, timeout=90)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def containers(self):
        """Ids of the containers that were not told to end, with their states."""
        listed = json.loads(self.beta9("container", "list", "--format", "json") or "[]")
        own = [container for container in listed if container.get("stub_id") == self.stub]
        return {c["container_id"]: c["status"] for c in own if c["status"] != "STOPPING"}

    def until_there(self, count):
        return eventually(
            self.containers, lambda there: len(there) == count, what=f"{count} containers", within=60
        )

    def scale(self, count):
        self.beta9("deployment", "scale", self.id, "--containers", str(count))


@pytest.mark.parametrize("handler", ["answer", "queue"])
def test_the_fewest_are_kept_while_it_is_deployed_and_gone_when_it_is_stopped(app, api, handler):
    deployed = Deployed(app, api, handler)
    kept = deployed.until_there(2)
    # Longer than an idle container is kept.
    deployed.call()
    again = eventually(
        deployed.containers, lambda there: len(there) == 2, what="both are still there"
    )
    assert set(kept) == set(again)
    deployed.beta9("deployment", "stop", deployed.id)
    deployed.until_there(0)
    deployed.beta9("deployment", "start", deployed.id)
    deployed.until_there(2)
    deployed.beta9("deployment", "delete", deployed.id, "--yes")
    deployed.until_there(0)


@pytest.mark.parametrize("handler", ["answer", "queue"])
def test_the_fewest_come_back_after_their_worker_was_killed(split, split_app, handler):
    deployed = Deployed(split_app, split.api, handler)
    before = set(deployed.until_there(2))
    split.workers[0].kill()
    split.restore()
    after = eventually(
        deployed.containers,
        lambda there: len(there) == 2 and not before & set(there),
        what="two other containers",
        within=60,
    )
    assert len(after) == 2
    deployed.beta9("deployment", "stop", deployed.id)
    deployed.until_there(0)


@pytest.mark.parametrize("handler", ["answer", "queue"])
def test_the_fewest_are_there_after_a_restart_of_the_gateway(split, split_app, handler):
    deployed = Deployed(split_app, split.api, handler)
    deployed.until_there(2)
    split.restart_gateway()
    deployed.until_there(2)
    deployed.beta9("deployment", "stop", deployed.id)
    deployed.until_there(0)


def done_by(api, ids):
    for task in ids:
        assert api.wait(task, within=60) == "COMPLETE"
    return [api.task(task)["result"] for task in ids]


def test_a_queue_takes_calls_in_what_is_kept(app, api):
    deployed = Deployed(app, api, "queue")
    kept = set(deployed.until_there(2))
    gates = [app.gate() for _ in range(2)]
    ids = [deployed.call(gate=str(gate))["task_id"] for gate in gates]
    for gate in gates:
        gate.open(within=60)
    results = done_by(api, ids)
    assert {result["container"] for result in results} == kept
    deployed.beta9("deployment", "delete", deployed.id, "--yes")


def test_only_the_newest_version_keeps_any(app, api):
    deployed = Deployed(app, api, "queue")
    deployed.until_there(2)
    name = deployed.url.rsplit("/", 2)[-2]
    (deployed.directory / "app.py").write_text(SOURCE + "\n# another version\n")
    told = deployed.beta9("deploy", "app.py:queue", "--name", name, "--json")
    newer = json.loads(told[told.index("{") :])
    assert newer["stub_id"] != deployed.stub
    deployed.until_there(0)
    deployed.stub = newer["stub_id"]
    deployed.until_there(2)
    deployed.beta9("deployment", "delete", newer["deployment_id"], "--yes")
    deployed.beta9("deployment", "delete", deployed.id, "--yes")


def test_a_queue_that_cannot_be_loaded_is_not_tried_all_the_time(app, api, fleet):
    deployed = Deployed(app, api, "queue")
    deployed.until_there(2)
    start = fleet.daemon.size()
    broken = Deployed(app, api, "broken", BROKEN)
    # What is in order is kept meanwhile, and a call of the other one says what is wrong.
    task = broken.call()["task_id"]
    assert api.wait(task, within=60) == "ERROR"
    assert "not today" in json.dumps(api.task(task))
    assert len(deployed.containers()) == 2
    assert fleet.daemon.text(start).count("not today") < 20
    for one in (broken, deployed):
        one.beta9("deployment", "delete", one.id, "--yes")


def test_a_queue_has_one_container_for_as_many_calls_as_it_says(app, api):
    deployed = Deployed(app, api, "patient")
    gate = app.gate()
    ids = [deployed.call(gate=str(gate))["task_id"]]
    eventually(lambda: api.status(ids[0]), lambda status: status == "RUNNING", what="it runs", within=60)
    ids += [deployed.call()["task_id"] for _ in range(2)]
    assert len(deployed.containers()) == 1
    assert {api.status(task) for task in ids[1:]} == {"PENDING"}
    # The fourth is worth a second one, which takes all that wait.
    ids.append(deployed.call()["task_id"])
    results = done_by(api, ids[1:])
    assert len(set(results)) == 1
    gate.open()
    assert done_by(api, ids[:1])[0] not in results
    deployed.beta9("deployment", "delete", deployed.id, "--yes")


@pytest.mark.parametrize("handler", ["answer", "queue"])
def test_scale_says_how_many_there_may_be_from_then_on(app, api, handler):
    deployed = Deployed(app, api, handler)
    deployed.until_there(2)
    with ThreadPoolExecutor(4) as pool:
        deployed.scale(1)
        # What is kept is never more than there may be.
        deployed.until_there(1)
        gates = [app.gate() for _ in range(3)]
        calls = [pool.submit(deployed.call, gate=str(gate)) for gate in gates]
        running = {"stub-id": [deployed.stub], "status": ["RUNNING"]}
        eventually(lambda: api.tasks(**running), lambda tasks: len(tasks) == 1, what="one runs", within=60)
        assert len(deployed.containers()) == 1
        deployed.scale(0)
        # As many as the decorator says.
        eventually(lambda: api.tasks(**running), lambda tasks: len(tasks) == 3, what="three run", within=60)
        assert len(deployed.containers()) == 3
        for gate in gates:
            gate.open(within=60)
        for call in calls:
            call.result()
    deployed.beta9("deployment", "delete", deployed.id, "--yes")
