"""Several workspaces on one installation: each works by itself and keeps to its limits.

That nothing of one is another's is in `test_tenancy.py`.
"""

import json
import uuid

import pytest
import requests

from harness import Api
from harness.code import HELLO, WAITING


def made(fleet, *options):
    """A new workspace's client."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    token = fleet.metal9("workspace", "create", name, *options).stdout.strip()
    return name, Api(fleet.facts["grpc"], fleet.facts["http"], token)


@pytest.fixture
def team(fleet):
    name, api = made(fleet)
    yield api
    api.close()


def test_a_workspace_works_by_itself(fleet, team):
    call = team.call(team.stub(HELLO, "app:hello")).finish()
    assert call.exit_code == 0
    assert team.wait(call.task_id) == "COMPLETE"
    assert team.workspace != fleet.api.workspace
    assert [task.id for task in team.tasks()] == [call.task_id]


def test_workspaces_are_listed_and_limited(fleet):
    name, api = made(fleet, "--weight", "3", "--max-gpus", "2")
    api.close()

    def listed():
        rows = json.loads(fleet.metal9("workspace", "list", "--json").stdout)
        [row] = [row for row in rows if row["name"] == name]
        return row["weight"], row["max_gpus"], row["max_containers"]

    assert listed() == (3, 2, None)
    fleet.metal9("workspace", "limit", name, "--max-containers", "5", "--max-gpus", "0")
    assert listed() == (3, None, 5)
    assert name in fleet.metal9("workspace", "list").stdout
    again = fleet.metal9("workspace", "create", name, code=1)
    assert "exists" in again.stderr
    bad = fleet.metal9("workspace", "limit", name, "--weight", "0", code=1)
    assert "weight of 0" in bad.stderr and "hint:" in bad.stderr
    missing = fleet.metal9("workspace", "limit", "no-such-team", "--weight", "2", code=1)
    assert "no-such-team" in missing.stderr


def test_only_who_looks_after_the_installation_manages_workspaces(team):
    assert team.get("/api/v1/workspace").status_code == 403
    headers = {"Authorization": f"Bearer {team.token}"}
    url = f"{team.http}/api/v1/workspace"
    answer = requests.post(url, json={"name": "mine"}, headers=headers, timeout=10)
    assert answer.status_code == 403
    join = f"{team.http}/api/v1/worker/join-tokens"
    answer = requests.post(join, json={"pool": "default"}, headers=headers, timeout=10)
    assert answer.status_code == 403, "machines are everybody's, and not everybody's to add"
    answer = requests.put(f"{url}/default/limits", json={"weight": 1}, headers=headers, timeout=10)
    assert answer.status_code == 403


def test_calls_over_a_workspaces_limit_wait_and_say_why(fleet, app):
    _, api = made(fleet, "--max-containers", "1")
    gate = app.gate()
    try:
        stub = api.stub(WAITING, "app:wait", cpu=100)
        first = api.call(stub, str(gate)).until("in")
        second = api.call(stub, str(gate))
        second.until("the workspace uses 1 of the 1 containers it may have")
        # Others are not held up by it.
        assert fleet.api.call(fleet.api.stub(HELLO, "app:hello", cpu=100)).finish().exit_code == 0
        gate.open()
        first.finish()
        gate.open()
        assert second.finish().exit_code == 0
    finally:
        api.close()


def test_a_function_that_asks_for_more_than_its_workspace_may_have_is_refused(fleet):
    _, api = made(fleet, "--max-memory", "512", "--max-cpu", "1000")
    try:
        code, image = api.upload(HELLO), api.image()
        for options, words in (
            ({"memory": 1024}, ["1024 MiB of memory", "may have 512"]),
            ({"cpu": 2000}, ["2000 millicores", "may have 1000"]),
        ):
            answer = api.try_stub(code, "app:hello", image_id=image, **options)
            assert not answer.ok and "hint: " in answer.err_msg
            assert all(word in answer.err_msg for word in words), answer.err_msg
        assert api.try_stub(code, "app:hello", image_id=image, memory=512).ok
    finally:
        api.close()
