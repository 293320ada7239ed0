"""A workspace that may make so many requests a second makes no more, through whatever door."""

import json
import uuid

import grpc
import pytest
import requests

from harness import Api, eventually
from harness.protocol import ask, rpcs

RATE = 5


def owner(gateway):
    return {"Authorization": f"Bearer {gateway.facts['token']}"}


def limit(gateway, name, per_second):
    answer = requests.put(
        f"http://{gateway.http}/api/v1/workspace/{name}/limits",
        json={"max_requests_per_second": per_second},
        headers=owner(gateway),
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["max_requests_per_second"]


@pytest.fixture
def limited(alone):
    """A workspace that may make a few requests a second; its name and its client."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    answer = requests.post(
        f"http://{alone.http}/api/v1/workspace",
        json={"name": name, "limits": {"max_requests_per_second": RATE}},
        headers=owner(alone),
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    api = Api(alone.grpc, alone.http, answer.json()["token"])
    yield name, api
    api.close()


def current(api):
    return api.get("/api/v1/workspace/current")


def use_up(api):
    """Asks until it is refused."""
    answers = (current(api) for _ in range(RATE * 20))
    return next(answer for answer in answers if answer.status_code != 200)


def test_http_is_refused_in_words_with_a_time_to_come_back(limited):
    _, api = limited
    answer = use_up(api)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == 1
    message = answer.json()["message"]
    assert f"{RATE} requests a second" in message and "hint: " in message
    eventually(
        lambda: current(api).status_code, lambda code: code == 200, what="time gives some back"
    )


def test_calls_over_http_and_grpc_count_with_the_others(limited):
    _, api = limited
    use_up(api)
    headers = {"Authorization": f"Bearer {api.token}"}
    for path in ("/function/nobody", "/taskqueue/nobody/v1", "/endpoint/nobody", "/asgi/nobody/x"):
        answers = [
            requests.post(api.http + path, json={}, headers=headers, timeout=10)
            for _ in range(RATE * 4)
        ]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused and all(int(answer.headers["Retry-After"]) == 1 for answer in refused), path
    errors = []
    for _ in range(RATE * 20):
        try:
            ask(api, rpcs()["gateway.ListTasks"], [b""])
        except grpc.RpcError as error:
            errors.append(error)
            break
    [error] = errors
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{RATE} requests a second" in error.details() and "hint: " in error.details()
    told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    assert told["retry-after"] == "1"


def test_other_workspaces_do_not_notice(alone, limited):
    _, api = limited
    use_up(api)
    assert all(current(alone.api).status_code == 200 for _ in range(RATE * 4))


def test_the_limit_outlives_the_gateway_and_can_be_taken_away(alone, limited):
    name, api = limited
    alone.gateway.kill()
    alone.start_gateway()
    assert use_up(api).status_code == 429
    assert limit(alone, name, 0) is None
    assert all(current(api).status_code == 200 for _ in range(RATE * 4))


def test_the_command_line_sets_it(fleet):
    name = f"team-{uuid.uuid4().hex[:8]}"
    fleet.metal9("workspace", "create", name, "--max-rate", "7")
    rows = json.loads(fleet.metal9("workspace", "list", "--json").stdout)
    [row] = [row for row in rows if row["name"] == name]
    assert row["max_requests_per_second"] == 7
    assert "REQUESTS/S" in fleet.metal9("workspace", "list").stdout
    fleet.metal9("workspace", "limit", name, "--max-rate", "0")
    rows = json.loads(fleet.metal9("workspace", "list", "--json").stdout)
    [row] = [row for row in rows if row["name"] == name]
    assert row["max_requests_per_second"] is None
