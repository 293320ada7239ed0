"""Several workspaces on one installation: nothing of one is the other's, and each keeps to its limits."""

import json
import uuid

import grpc
import pytest
import requests
from beta9.clients.gateway import (
    DeleteDeploymentRequest,
    DeployStubRequest,
    GetUrlRequest,
    ListContainersRequest,
    ListDeploymentsRequest,
    ListTokensRequest,
    ScaleDeploymentRequest,
    StartDeploymentRequest,
    StopContainerRequest,
    StopDeploymentRequest,
    StopTasksRequest,
)
from beta9.clients.secret import GetSecretRequest, ListSecretsRequest, SecretServiceStub

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


@pytest.fixture(scope="module")
def theirs(fleet, tmp_path_factory):
    """Everything that a workspace can have, in the first one."""
    api = fleet.api
    stub = api.stub(HELLO, "app:hello", stub_type="function/deployment", force_create=True)
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    deployed = api.gateway.deploy_stub(DeployStubRequest(stub_id=stub, name=name))
    assert deployed.ok, deployed
    call = api.call(stub).finish()
    api.wait(call.task_id)
    [task] = api.tasks(id=[call.task_id])
    secret = f"THEIRS_{uuid.uuid4().hex[:8].upper()}"
    fleet.beta9("secret", "create", secret, "hidden-value")
    yield {
        "stub": stub,
        "name": name,
        "deployment": deployed.deployment_id,
        "task": call.task_id,
        "container": task.container_id,
        "secret": secret,
        "object": api.upload(HELLO),
        "workspace": api.workspace,
    }
    fleet.beta9("secret", "delete", secret)


def refused(call):
    """What a call that must not succeed said."""
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
        return error.details()
    assert not answer.ok, answer
    return getattr(answer, "err_msg", "") or getattr(answer, "error_msg", "")


def test_no_rpc_reaches_what_is_anothers(team, theirs):
    gateway, stub, deployment = team.gateway, theirs["stub"], theirs["deployment"]
    secrets = SecretServiceStub(team.channel)
    calls = {
        "invoke": lambda: team.call(stub),
        "attach": lambda: team.attach(stub, theirs["task"]),
        "deploy": lambda: gateway.deploy_stub(DeployStubRequest(stub_id=stub, name="x")),
        "url": lambda: gateway.get_url(GetUrlRequest(stub_id=stub)),
        "deployment's url": lambda: gateway.get_url(GetUrlRequest(deployment_id=deployment)),
        "start": lambda: gateway.start_deployment(StartDeploymentRequest(id=deployment)),
        "stop": lambda: gateway.stop_deployment(StopDeploymentRequest(id=deployment)),
        "scale": lambda: gateway.scale_deployment(
            ScaleDeploymentRequest(id=deployment, containers=1)
        ),
        "delete": lambda: gateway.delete_deployment(DeleteDeploymentRequest(id=deployment)),
        "container": lambda: gateway.stop_container(
            StopContainerRequest(container_id=theirs["container"])
        ),
        "secret": lambda: secrets.get_secret(GetSecretRequest(name=theirs["secret"])),
        "code": lambda: team.try_stub(theirs["object"], "app:hello"),
        "secret of a stub": lambda: team.try_stub(
            team.upload(HELLO), "app:hello", env=["X=${{secret." + theirs["secret"] + "}}"]
        ),
    }
    for what, call in calls.items():
        said = refused(call)
        assert "hidden-value" not in said, what
    gateway.stop_tasks(StopTasksRequest(task_ids=[theirs["task"]]))
    lists = [
        gateway.list_deployments(ListDeploymentsRequest()).deployments,
        gateway.list_containers(ListContainersRequest()).containers,
        team.tasks(),
        team.tasks(id=[theirs["task"]]),
        secrets.list_secrets(ListSecretsRequest()).secrets,
    ]
    assert all(not listed for listed in lists), lists
    tokens = gateway.list_tokens(ListTokensRequest()).tokens
    assert len(tokens) == 1, "its own"


def test_no_route_reaches_what_is_anothers(team, theirs):
    task, workspace = theirs["task"], theirs["workspace"]
    gets = [
        f"/api/v1/task/{place}/{task}{end}"
        for place in (workspace, team.workspace)
        for end in ("", "/subscribe", "/explain", "/logs")
    ]
    gets += [
        f"/api/v1/stub/{theirs['stub']}/url",
        f"/api/v1/deployment/{theirs['deployment']}/url",
        f"/api/v1/logs/{workspace}?object_type=BETA9_TASK&object_id={task}",
        f"/api/v1/logs/{team.workspace}?object_type=BETA9_DEPLOYMENT&object_id={theirs['deployment']}",
    ]
    for path in gets:
        assert team.get(path).status_code == 404, path
    headers = {"Authorization": f"Bearer {team.token}"}
    for path in (
        f"/function/{theirs['name']}",
        f"/function/{theirs['name']}/v1",
        f"/function/id/{theirs['stub']}",
        f"/function/public/{theirs['stub']}",
    ):
        answer = requests.post(team.http + path, headers=headers, timeout=10)
        assert answer.status_code == 404, path
    for kind in ("TASK", "STUB", "CONTAINER"):
        identity = theirs[kind.lower()]
        path = f"/api/v1/logs/{team.workspace}?object_type=BETA9_{kind}&object_id={identity}"
        assert team.get(path).json()["logs"] == [], kind
    status = team.get("/api/v1/status").json()
    assert task not in json.dumps(status) and theirs["container"] not in json.dumps(status)
