"""Who goes first on a worker that cannot run everything at once, and what makes room."""

import json
import uuid
from typing import Iterator

import pytest
import requests
from beta9.clients.gateway import ListContainersRequest

from harness import Api, SplitFleet, eventually
from harness.code import HELLO, WAITING

# As much as the worker has, so that nothing else fits beside it.
ALL = 1000
# Calls of each workspace, where two want the same.
CALLS = 80

NAP = {
    "app.py": """
    import time

    def nap():
        time.sleep(0.25)
    """
}


@pytest.fixture(scope="module")
def small(fleet, tmp_path_factory) -> Iterator[SplitFleet]:
    """A gateway and one worker with a single core for jobs."""
    with SplitFleet(
        tmp_path_factory.mktemp("small"),
        environments=fleet.environments,
        METAL9_WORKER_CPU=str(ALL / 1000),
    ) as small:
        yield small


def living(api, stub) -> int:
    """How many containers of a stub there are."""
    containers = api.gateway.list_containers(ListContainersRequest()).containers
    return sum(container.stub_id == stub for container in containers)


def test_a_task_of_higher_priority_goes_first(small, app):
    api = small.api
    first, low, high = app.gate(), app.gate(), app.gate()
    holder = api.call(api.stub(WAITING, "app:wait", cpu=ALL), str(first)).until("in\n")
    # The one of lower priority was there before.
    behind = api.call(api.stub(WAITING, "app:wait", cpu=ALL, env=["METAL9_PRIORITY=-5"]), str(low))
    behind.until("busy")
    ahead = api.call(api.stub(WAITING, "app:wait", cpu=ALL, env=["METAL9_PRIORITY=5"]), str(high))
    ahead.until("busy")
    first.open()
    assert holder.finish().value == 5
    ahead.until("in\n")
    assert api.status(behind.task_id) == "PENDING"
    high.open()
    assert ahead.finish().value == 5
    low.open()
    assert behind.finish().value == 5


def test_a_stub_has_no_more_containers_than_it_says(small, app):
    api = small.api
    gate = app.gate()
    stub = api.stub(WAITING, "app:wait", cpu=100, env=["METAL9_MAX_CONTAINERS=1"])
    first = api.call(stub, str(gate)).until("in\n")
    second = api.call(stub, str(gate))
    second.until("its stub has the 1 container that it may have")
    assert living(api, stub) == 1
    gate.open()
    assert first.finish().value == 5
    gate.open()
    assert second.finish().value == 5


def test_the_least_recently_used_idle_container_makes_room(small):
    api = small.api
    kept = ["METAL9_KEEP_WARM_SECONDS=600"]
    half = ALL // 2
    older, newer, last = (api.stub(HELLO, "app:hello", cpu=half, env=kept) for _ in range(3))
    # The first one made is used again, so that it is not the one that goes.
    for stub in (newer, older, newer):
        assert api.call(stub).finish().value == 1
    assert (living(api, older), living(api, newer)) == (1, 1)
    assert api.call(last).finish().value == 1
    eventually(lambda: living(api, older), lambda count: count == 0, what="the older one has gone")
    assert (living(api, newer), living(api, last)) == (1, 1)


def workspace(small: SplitFleet, weight: int) -> Api:
    """A client of a new workspace."""
    answer = requests.post(
        f"http://{small.http}/api/v1/workspace",
        json={"name": f"w-{uuid.uuid4().hex[:8]}", "limits": {"weight": weight}},
        headers={"Authorization": f"Bearer {small.facts['token']}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    return Api(small.grpc, small.http, json.loads(answer.text)["token"])


def test_workspaces_share_by_their_weights(small, app):
    light, heavy = workspace(small, 1), workspace(small, 3)
    gate = app.gate()
    try:
        # Nothing begins before all of it is there.
        holder = small.api.call(small.api.stub(WAITING, "app:wait", cpu=ALL), str(gate))
        holder.until("in\n")
        # Room for four, of which three are the heavy one's part.
        stubs = {api: api.stub(NAP, "app:nap", cpu=ALL // 4) for api in (light, heavy)}
        for api in (light, heavy):
            for _ in range(CALLS):
                api.call(stubs[api], headless=True)
        gate.open()
        holder.finish()

        def ends(api):
            tasks = api.tasks(stub_id=[stubs[api]], status=["COMPLETE"])
            return sorted(task.ended_at for task in tasks)

        for api in (light, heavy):
            eventually(
                lambda: ends(api), lambda seen: len(seen) == CALLS, what="all have ended", within=120
            )
        before = sum(end < ends(heavy)[-1] for end in ends(light))
        # With the same weight it would be all of them but a few.
        assert before <= CALLS * 3 // 4, f"{before} of the light one's calls ended before"
    finally:
        light.close()
        heavy.close()
