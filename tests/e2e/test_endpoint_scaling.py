"""How requests meet containers: concurrency, scaling, limits, moving and losing workers."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from beta9.clients.gateway import DrainWorkerRequest

from harness import eventually, serve

SLOW = """
import os, time
from beta9 import endpoint, asgi, QueueDepthAutoscaler

@endpoint({options})
def handler(gate=None, seconds=0):
    if gate:
        open(gate).read()
    time.sleep(seconds)
    return {{"pid": os.getpid(), "container": os.environ["CONTAINER_ID"]}}
"""


def slow(options: str) -> str:
    return SLOW.replace("{options}", options).replace("{{", "{").replace("}}", "}")


def containers(fleet, served):
    """Ids of a stub's containers that have not been told to end."""
    listed = json.loads(fleet.beta9("container", "list", "--format", "json").stdout or "[]")
    live = [c for c in listed if c.get("stub_id") == served.stub and c["status"] != "STOPPING"]
    return [container["container_id"] for container in live]


def facts(split):
    """Where a split fleet is reached."""
    return {"http": split.http, "token": split.facts["token"]}


def worker_of(split, task):
    """The worker that serves a request."""
    wanted = split.api.task(task.id)["worker_id"]
    [worker] = [worker for worker in split.workers if worker.id == wanted]
    return worker


def running_request(split, split_app, pool, served):
    """A request that runs: the gate at which it stands, its answer to come, and its task."""
    gate = split_app.gate()
    answer = pool.submit(served.post, json={"gate": str(gate)})
    [task] = eventually(
        lambda: split.api.tasks(**{"stub-id": [served.stub], "status": ["RUNNING"]}),
        what="the first request runs",
    )
    return gate, answer, task


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def test_requests_wait_for_their_turn_in_one_container(app, fleet, pool):
    served = serve(app, fleet.facts, slow("keep_warm_seconds=10"))
    answers = list(pool.map(lambda _: served.post(json={"seconds": 0.05}), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["container"] for answer in answers}) == 1


def test_more_containers_come_with_more_requests_and_go_again(app, fleet, api, pool):
    options = "keep_warm_seconds=1, cpu=0.1, autoscaler=QueueDepthAutoscaler(max_containers=3)"
    served = serve(app, fleet.facts, slow(options))
    gates = [app.gate() for _ in range(3)]
    waiting = [pool.submit(served.post, json={"gate": str(gate)}) for gate in gates]
    # All three stand at their gates at a time: each needs a container of its own.
    eventually(
        lambda: api.tasks(**{"stub-id": [served.stub], "status": ["RUNNING"]}),
        lambda tasks: len(tasks) == 3,
        what="three requests run",
        within=60,
    )
    for gate in gates:
        gate.open(within=60)
    answers = [future.result() for future in waiting]
    assert len({answer.json()["container"] for answer in answers}) == 3
    eventually(lambda: containers(fleet, served), lambda left: not left, what="all are gone")
    assert served.post(json={}).status_code == 200


def test_workers_are_processes_that_serve_at_a_time(app, fleet, pool):
    served = serve(app, fleet.facts, slow("workers=2, keep_warm_seconds=10"))
    gates = [app.gate() for _ in range(2)]
    waiting = [pool.submit(served.post, json={"gate": str(gate)}) for gate in gates]
    for gate in gates:
        gate.open(within=60)
    answers = [future.result().json() for future in waiting]
    assert len({answer["pid"] for answer in answers}) == 2
    assert len({answer["container"] for answer in answers}) == 1


def test_more_than_may_wait_are_refused(app, fleet, pool):
    served = serve(app, fleet.facts, slow("max_pending_tasks=2, keep_warm_seconds=10"))
    assert served.post(json={}).status_code == 200
    gate = app.gate()
    first = pool.submit(served.post, json={"gate": str(gate)})
    eventually(lambda: running(served), what="the first request runs")
    waiting = [pool.submit(served.post, json={}) for _ in range(2)]
    pending = {"stub-id": [served.stub], "status": ["PENDING"]}
    eventually(lambda: len(fleet.api.tasks(**pending)) == 2, what="both wait")

    def refused():
        answer = served.post(json={}, within=2)
        return answer if answer.status_code == 429 else None

    answer = eventually(
        refused_or_none(refused), lambda answer: answer is not None, what="one is refused"
    )
    assert "max pending tasks: 2" in answer.json()["error"]
    gate.open()
    assert first.result().status_code == 200
    assert [future.result().status_code for future in waiting] == [200, 200]


def refused_or_none(ask):
    """A request that is not refused waits longer than it is worth."""

    def attempt():
        try:
            return ask()
        except Exception:
            return None

    return attempt


def running(served):
    metrics = served.session.get(f"http://{served.host}/metrics").text
    return 'metal9_requests{state="running"} 1' in metrics


def test_a_request_that_takes_too_long_is_a_504_and_the_next_is_served(app, fleet, api):
    served = serve(app, fleet.facts, slow("timeout=1, keep_warm_seconds=10"))
    answer = served.post(json={"seconds": 60})
    assert answer.status_code == 504 and "1 s" in answer.json()["error"]
    eventually(
        lambda: api.tasks(id=[answer.headers["X-Task-Id"]]),
        lambda tasks: tasks and tasks[0].status == "TIMEOUT",
        what="the task timed out",
    )
    # The handler blocks its process, which is therefore ended.
    assert served.post(json={}).status_code == 200


def test_what_no_worker_can_serve_is_a_503_that_says_why(split, split_app):
    served = serve(split_app, facts(split), slow('gpu="H100"'))
    answer = served.post(json={})
    assert answer.status_code == 503 and "H100" in answer.json()["error"]


def test_requests_survive_the_loss_of_an_idle_container(app, fleet, api):
    served = serve(app, fleet.facts, slow("keep_warm_seconds=30"))
    first = served.post(json={}).json()
    for container in containers(fleet, served):
        fleet.beta9("container", "stop", container)
    second = served.post(json={}).json()
    assert second["container"] != first["container"]


def test_requests_move_from_a_worker_that_is_drained(split, split_app, pool):
    served = serve(split_app, facts(split), slow("keep_warm_seconds=30"))
    gate, first, task = running_request(split, split_app, pool, served)
    old = worker_of(split, task)
    split.add_worker()
    drained = split.api.gateway.drain_worker(DrainWorkerRequest(worker_id=old.id))
    assert drained.ok, drained.err_msg
    second = pool.submit(served.post, json={})
    gate.open()
    assert first.result().json()["container"] == task.container_id
    moved = second.result()
    assert moved.status_code == 200 and moved.json()["container"] != task.container_id


def test_a_request_on_a_worker_that_is_lost_is_a_502_and_the_next_goes_elsewhere(
    split, split_app, pool
):
    served = serve(split_app, facts(split), slow("keep_warm_seconds=30"))
    _, first, task = running_request(split, split_app, pool, served)
    old = worker_of(split, task)
    split.add_worker()
    old.kill()
    assert first.result().status_code == 502
    assert served.post(json={}).status_code == 200


def test_after_a_restart_of_the_gateway_requests_are_served_and_those_before_have_ended(
    split, split_app, pool
):
    served = serve(split_app, facts(split), slow("keep_warm_seconds=30"))
    _, first, task = running_request(split, split_app, pool, served)
    split.restart_gateway()
    assert first.exception() is not None
    assert split.api.status(task.id) == "ERROR"
    assert served.post(json={}).status_code == 200


def explained(split, task):
    """What a person is told about a task."""
    return split.api.get(f"/api/v1/task/{split.api.workspace}/{task}/explain").json()


def test_a_request_that_waits_for_its_turn_says_so(split, split_app, pool):
    served = serve(split_app, facts(split), slow("keep_warm_seconds=10"))
    gate, first, _ = running_request(split, split_app, pool, served)
    others = [pool.submit(served.post, json={}) for _ in range(2)]
    pending = {"stub-id": [served.stub], "status": ["PENDING"]}
    tasks = eventually(
        lambda: split.api.tasks(**pending), lambda tasks: len(tasks) == 2, what="both wait"
    )
    said = sorted(explained(split, task.id)["sentence"] for task in tasks)
    busy = "waiting: its container has all the requests that it takes at a time"
    assert said == [f"{busy}; 1 request is ahead of it", f"{busy}; it is next"]
    gate.open()
    assert [answer.result().status_code for answer in (first, *others)] == [200] * 3


def test_a_request_that_waits_for_a_container_says_what_that_waits_for(split, split_app, pool):
    served = serve(split_app, facts(split), slow("keep_warm_seconds=10"))
    for worker in split.workers:
        worker.stop()
    waiting = pool.submit(served.post, json={})
    [task] = eventually(
        lambda: split.api.tasks(**{"stub-id": [served.stub], "status": ["PENDING"]}),
        what="the request waits",
    )
    told = eventually(
        lambda: explained(split, task.id),
        lambda told: "no worker is connected" in told["sentence"],
        what="it is said why",
    )
    assert told["sentence"].startswith("waiting: ") and "it is next" in told["detail"], told
    # None comes.
    assert waiting.result().status_code == 503
