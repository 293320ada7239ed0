"""Nothing of one workspace is visible to another, or can be changed by it, through any call and any route.

The calls are those of the protocol and the routes those of the gateway's own document: one that is new has to be
listed here, with how it could be misused or with the reason why it cannot.
"""

import json
import uuid
from typing import Any, Callable, Dict, List, NamedTuple

import grpc
import pytest
import requests
from beta9.clients import (
    endpoint,
    function,
    gateway,
    output,
    secret,
    signal,
    simplequeue,
    taskqueue,
    volume,
)
from beta9.clients import map as maps
from beta9.clients.gateway import StringList

from harness import Belongings, Gate, new_workspace
from harness.belongings import ARCHIVE
from harness.protocol import ask, is_served, rpcs


class Attack(NamedTuple):
    """A call with what is another workspace's."""

    messages: List[Any]
    # Whether it must be refused; else it is about something of one's own that has the same name.
    is_refused: bool


def refused(*messages: Any) -> Attack:
    return Attack(list(messages), True)


def own(*messages: Any) -> Attack:
    return Attack(list(messages), False)


def stubs(it: Belongings, image: str) -> List[Attack]:
    """Stubs that would use what is another workspace's."""
    mine = {"stub_type": "function", "name": "f", "handler": "app:f", "image_id": image, "extra": "{}"}
    stub = gateway.GetOrCreateStubRequest
    mount = gateway.Volume(id=it.volume.id, mount_path="data")
    reference = "X=${{secret." + it.secret_name + "}}"
    hidden = gateway.SecretVar(name=it.secret_name)
    return [
        refused(stub(object_id=it.object, **mine)),
        refused(stub(object_id=it.own_object, volumes=[mount], **mine)),
        refused(stub(object_id=it.own_object, env=[reference], **mine)),
        refused(stub(object_id=it.own_object, secrets=[hidden], **mine)),
    ]


def listing(request: Callable[..., Any], **filters: List[str]) -> Attack:
    named = {name.replace("_", "-"): StringList(values=values) for name, values in filters.items()}
    return own(request(filters=named))


ATTACKS: Dict[str, Callable[[Belongings], List[Attack]]] = {
    "endpoint.StartEndpointServe": lambda it: [
        refused(endpoint.StartEndpointServeRequest(stub_id=it.stub, timeout=1))
    ],
    "function.FunctionInvoke": lambda it: [
        refused(function.FunctionInvokeRequest(stub_id=stub, args=b""))
        for stub in (it.stub, it.running_stub)
    ],
    "function.FunctionSchedule": lambda it: [
        refused(
            function.FunctionScheduleRequest(
                stub_id=it.stub, deployment_id=it.deployment, when="@yearly"
            )
        )
    ],
    "gateway.AttachToContainer": lambda it: [
        refused(
            gateway.ContainerStreamMessage(
                attach_request=gateway.AttachToContainerRequest(container_id=it.container)
            )
        )
    ],
    "gateway.CommitObjectDelta": lambda it: [
        refused(
            gateway.CommitObjectDeltaRequest(object_id=it.delta.object_id, base_object_id=it.object)
        )
    ],
    "gateway.CompleteObjectUpload": lambda it: [
        refused(
            gateway.CompleteObjectUploadRequest(
                object_id=it.code.object_id, upload_id=it.code.upload_id
            )
        )
    ],
    "gateway.CordonWorker": lambda it: [refused(gateway.CordonWorkerRequest(worker_id=it.worker))],
    "gateway.CreateMachine": lambda it: [refused(gateway.CreateMachineRequest(pool_name=it.pool))],
    "gateway.CreateObject": lambda it: [
        own(gateway.CreateObjectRequest(hash=it.code_hash, size=len(ARCHIVE)))
    ],
    "gateway.CreateObjectDelta": lambda it: [
        refused(
            gateway.CreateObjectDeltaRequest(
                hash=it.code_hash, size=0, base_object_id=it.object, delta_size=len(ARCHIVE)
            )
        )
    ],
    "gateway.CreatePool": lambda it: [
        refused(gateway.CreatePoolRequest(pool=gateway.PoolConfig(name=name)))
        for name in (it.pool, "mine")
    ],
    "gateway.DeleteDeployment": lambda it: [
        refused(gateway.DeleteDeploymentRequest(id=it.deployment))
    ],
    "gateway.DeleteMachine": lambda it: [
        refused(gateway.DeleteMachineRequest(machine_id=machine, pool_name=pool))
        for machine in (it.machine.id, it.worker)
        for pool in ("", it.pool)
    ],
    "gateway.DeletePool": lambda it: [refused(gateway.DeletePoolRequest(name=it.pool))],
    "gateway.DeleteToken": lambda it: [
        refused(gateway.DeleteTokenRequest(token_id=it.token.token_id))
    ],
    "gateway.DeployStub": lambda it: [
        refused(gateway.DeployStubRequest(stub_id=it.stub, name=it.name))
    ],
    "gateway.DrainWorker": lambda it: [refused(gateway.DrainWorkerRequest(worker_id=it.worker))],
    "gateway.GetOrCreateStub": lambda it: stubs(it, it.image),
    "gateway.GetPoolJoinCommand": lambda it: [
        refused(gateway.GetPoolJoinCommandRequest(pool_name=pool)) for pool in (it.pool, "default")
    ],
    "gateway.GetURL": lambda it: [
        refused(gateway.GetUrlRequest(stub_id=it.stub)),
        refused(gateway.GetUrlRequest(deployment_id=it.deployment)),
    ],
    "gateway.HeadObject": lambda it: [own(gateway.HeadObjectRequest(hash=it.hash))],
    "gateway.ListContainers": lambda it: [own(gateway.ListContainersRequest())],
    "gateway.ListDeployments": lambda it: [
        listing(gateway.ListDeploymentsRequest),
        listing(gateway.ListDeploymentsRequest, id=[it.deployment]),
        listing(gateway.ListDeploymentsRequest, name=[it.name]),
    ],
    "gateway.ListMachines": lambda it: [
        own(gateway.ListMachinesRequest()),
        own(gateway.ListMachinesRequest(pool_name=it.pool)),
    ],
    "gateway.ListPoolMachines": lambda it: [
        refused(gateway.ListPoolMachinesRequest(pool_name=it.pool)),
        own(gateway.ListPoolMachinesRequest(pool_name="default")),
    ],
    "gateway.ListPools": lambda it: [listing(gateway.ListPoolsRequest)],
    "gateway.ListPrivatePools": lambda it: [
        listing(gateway.ListPrivatePoolsRequest),
        listing(gateway.ListPrivatePoolsRequest, name=[it.pool]),
    ],
    "gateway.ListTasks": lambda it: [
        listing(gateway.ListTasksRequest),
        listing(gateway.ListTasksRequest, id=[it.task, it.running]),
        listing(gateway.ListTasksRequest, stub_id=[it.stub]),
        listing(gateway.ListTasksRequest, container_id=[it.container]),
    ],
    "gateway.ListTokens": lambda it: [own(gateway.ListTokensRequest())],
    "gateway.ListWorkers": lambda it: [own(gateway.ListWorkersRequest())],
    "gateway.PutObjectStream": lambda it: [
        own(
            gateway.PutObjectRequest(
                object_content=ARCHIVE,
                object_metadata=gateway.ObjectMetadata(name="code"),
                hash=it.hash,
                overwrite=True,
            )
        )
    ],
    "gateway.ScaleDeployment": lambda it: [
        refused(gateway.ScaleDeploymentRequest(id=it.deployment, containers=3))
    ],
    "gateway.StartDeployment": lambda it: [
        refused(gateway.StartDeploymentRequest(id=it.deployment))
    ],
    "gateway.StopContainer": lambda it: [
        refused(gateway.StopContainerRequest(container_id=it.container))
    ],
    "gateway.StopDeployment": lambda it: [
        refused(gateway.StopDeploymentRequest(id=it.deployment))
    ],
    "gateway.StopTasks": lambda it: [
        refused(gateway.StopTasksRequest(task_ids=[task])) for task in (it.running, it.task)
    ],
    "gateway.ToggleToken": lambda it: [
        refused(gateway.ToggleTokenRequest(token_id=it.token.token_id))
    ],
    "gateway.UncordonWorker": lambda it: [
        refused(gateway.UncordonWorkerRequest(worker_id=it.worker))
    ],
    "map.MapCount": lambda it: [own(maps.MapCountRequest(name=it.name))],
    "map.MapDelete": lambda it: [refused(maps.MapDeleteRequest(name=it.name, key="key"))],
    "map.MapGet": lambda it: [refused(maps.MapGetRequest(name=it.name, key="key"))],
    "map.MapKeys": lambda it: [own(maps.MapKeysRequest(name=it.name))],
    "map.MapSet": lambda it: [
        own(maps.MapSetRequest(name=it.name, key="key", value=b"mine", ttl=60))
    ],
    "output.OutputPublicURL": lambda it: [
        refused(output.OutputPublicUrlRequest(id=it.output, task_id=it.task, expires=60))
    ],
    "output.OutputSaveStream": lambda it: [
        refused(output.OutputSaveRequest(task_id=it.task, filename="output.txt", content=b"x"))
    ],
    "output.OutputStat": lambda it: [
        refused(output.OutputStatRequest(id=it.output, task_id=it.task, filename="output.txt"))
    ],
    "secret.CreateSecret": lambda it: [
        own(secret.CreateSecretRequest(name=f"OWN_{uuid.uuid4().hex[:8]}", value="mine"))
    ],
    "secret.DeleteSecret": lambda it: [refused(secret.DeleteSecretRequest(name=it.secret_name))],
    "secret.GetSecret": lambda it: [refused(secret.GetSecretRequest(name=it.secret_name))],
    "secret.ListSecrets": lambda it: [own(secret.ListSecretsRequest())],
    "secret.UpdateSecret": lambda it: [
        refused(secret.UpdateSecretRequest(name=it.secret_name, value="mine"))
    ],
    "signal.SignalClear": lambda it: [own(signal.SignalClearRequest(name=it.name))],
    "signal.SignalMonitor": lambda it: [own(signal.SignalMonitorRequest(name=it.name))],
    "signal.SignalSet": lambda it: [own(signal.SignalSetRequest(name=it.name, ttl=60))],
    "simplequeue.SimpleQueueEmpty": lambda it: [own(simplequeue.SimpleQueueRequest(name=it.name))],
    "simplequeue.SimpleQueuePeek": lambda it: [own(simplequeue.SimpleQueueRequest(name=it.name))],
    "simplequeue.SimpleQueuePop": lambda it: [own(simplequeue.SimpleQueuePopRequest(name=it.name))],
    "simplequeue.SimpleQueuePut": lambda it: [
        own(simplequeue.SimpleQueuePutRequest(name=it.name, value=b"mine"))
    ],
    "simplequeue.SimpleQueueSize": lambda it: [own(simplequeue.SimpleQueueRequest(name=it.name))],
    "taskqueue.StartTaskQueueServe": lambda it: [
        refused(taskqueue.StartTaskQueueServeRequest(stub_id=it.stub, timeout=1))
    ],
    "taskqueue.TaskQueueLength": lambda it: [
        refused(taskqueue.TaskQueueLengthRequest(stub_id=it.stub))
    ],
    "taskqueue.TaskQueuePut": lambda it: [
        refused(taskqueue.TaskQueuePutRequest(stub_id=it.stub, payload=b"{}"))
    ],
    "volume.AbortMultipartUpload": lambda it: [
        refused(
            volume.AbortMultipartUploadRequest(
                upload_id=it.upload.upload_id, volume_name=it.name, volume_path="upload"
            )
        )
    ],
    "volume.CompleteMultipartUpload": lambda it: [
        refused(
            volume.CompleteMultipartUploadRequest(
                upload_id=it.upload.upload_id, volume_name=it.name, volume_path="upload"
            )
        )
    ],
    "volume.CopyPathStream": lambda it: [
        refused(volume.CopyPathRequest(path=f"{it.name}/file", content=b"mine"))
    ],
    "volume.CreateMultipartUpload": lambda it: [
        refused(
            volume.CreateMultipartUploadRequest(
                volume_name=it.name, volume_path="file", chunk_size=1, file_size=1
            )
        )
    ],
    "volume.CreatePresignedURL": lambda it: [
        refused(
            volume.CreatePresignedUrlRequest(
                volume_name=it.name, volume_path="file", expires=60, method=method
            )
        )
        for method in (volume.PresignedUrlMethod.GetObject, volume.PresignedUrlMethod.PutObject)
    ],
    "volume.DeletePath": lambda it: [refused(volume.DeletePathRequest(path=f"{it.name}/file"))],
    "volume.DeleteVolume": lambda it: [refused(volume.DeleteVolumeRequest(name=it.name))],
    "volume.GetOrCreateVolume": lambda it: [own(volume.GetOrCreateVolumeRequest(name="mine"))],
    "volume.ListPath": lambda it: [refused(volume.ListPathRequest(path=f"{it.name}/**"))],
    "volume.ListVolumes": lambda it: [own(volume.ListVolumesRequest())],
    "volume.MovePath": lambda it: [
        refused(volume.MovePathRequest(original_path=f"{it.name}/file", new_path=f"{it.name}/x"))
    ],
    "volume.StatPath": lambda it: [refused(volume.StatPathRequest(path=f"{it.name}/file"))],
}

IMAGES = "images belong to nobody: an image's id is the hash of what it is made of"
EXEMPT = {
    "gateway.Authorize": "names the caller's workspace only",
    "gateway.CreateToken": "makes a token of the caller's workspace; names nothing",
    "gateway.ExportWorkspaceConfig": "names the caller's workspace only",
    "gateway.ListPoolOffers": "is always empty",
    "gateway.SignPayload": "signs with a key of the caller's workspace; names nothing",
    "image.BuildImage": IMAGES,
    "image.VerifyImageBuild": IMAGES,
    "volume.GetFileServiceInfo": "is the same for everybody",
}


@pytest.fixture(scope="module")
def team(fleet):
    api = new_workspace(fleet.api)
    yield api
    api.close()


@pytest.fixture(scope="module")
def theirs(fleet, team, tmp_path_factory):
    gate = Gate(tmp_path_factory.mktemp("tenancy") / "gate")
    theirs = Belongings(fleet.api, gate)
    theirs.own_object = team.upload({"app.py": "def f():\n    return 1\n"})
    theirs.image = fleet.api.image()
    yield theirs
    fleet.api.cancel(theirs.running)
    gate.try_open()


def leaked(theirs: Belongings, answer: str, asked: str, is_refused: bool) -> List[str]:
    """What of `theirs` an answer tells that was not known to who asked."""
    told = {name for name in theirs.names | theirs.ids if name not in asked}
    if not is_refused:
        told |= theirs.ids
    return [mark for mark in theirs.contents | told if mark in answer]


def went_well(answer: Any) -> bool:
    """Whether an answer says that what was asked was done."""
    if isinstance(answer, gateway.AttachToContainerResponse):
        return answer.exit_code == 0
    return answer.ok


def misuse(api: Any, rpc: Any, attack: Attack) -> str:
    """What the gateway said; fails if it did what it must refuse."""
    try:
        answer = rpc.read(ask(api, rpc, [bytes(message) for message in attack.messages]))
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED), error
        assert attack.is_refused, f"{rpc.name} is for everybody: {error}"
        return error.details()
    assert not attack.is_refused or not went_well(answer), f"{rpc.name}: {answer}"
    return repr(answer)


def test_every_call_that_is_served_is_listed_here(team):
    served = {name for name, rpc in rpcs().items() if is_served(team, rpc)}
    listed = ATTACKS.keys() | EXEMPT.keys()
    assert not served - listed, "say how these could be misused, or why they cannot"
    assert not ATTACKS.keys() & EXEMPT.keys() and not listed - rpcs().keys()


def test_no_call_reaches_what_is_anothers(team, theirs):
    before = theirs.state()
    for name, attacks in ATTACKS.items():
        rpc = rpcs()[name]
        if not is_served(team, rpc):
            continue
        for attack in attacks(theirs):
            said = misuse(team, rpc, attack)
            asked = repr(attack.messages)
            assert not leaked(theirs, said, asked, attack.is_refused), f"{name}: {said}"
        assert theirs.state() == before, f"{name} has changed something"


def test_a_value_of_ones_own_has_the_same_name(team, theirs):
    """What is asked for by name is one's own, even where both have the name."""
    own_map = maps.MapServiceStub(team.channel)
    own_map.map_set(maps.MapSetRequest(name=theirs.name, key="key", value=b"mine", ttl=60))
    assert own_map.map_get(maps.MapGetRequest(name=theirs.name, key="key")).value == b"mine"
    assert theirs.state()["value"] == theirs.content.encode()


# ---- routes ----

# Applications answer on these, so the document does not describe them.
SERVED = [
    ("any", "/endpoint/id/{stub}"),
    ("any", "/endpoint/id/{stub}/health"),
    ("any", "/endpoint/id/{stub}/warmup"),
    ("any", "/endpoint/public/{stub}"),
    ("any", "/endpoint/{name}"),
    ("any", "/endpoint/{name}/v1"),
    ("any", "/asgi/id/{stub}"),
    ("any", "/asgi/id/{stub}/{path}"),
    ("any", "/asgi/public/{stub}"),
    ("any", "/asgi/{name}/{path}"),
]
# Routes that name nothing, and answer with what is the caller's or everybody's.
MAKES_OWN = {("post", "/api/v1/token")}


def routes(api):
    """Every route of the gateway's document, and those of applications."""
    document = api.get("/api/v1/openapi.json").json()
    found = [(method, path) for path, item in document["paths"].items() for method in item]
    assert len(found) > 30, found
    for method, path in SERVED:
        found += [(each, path) for each in ("get", "post") if method == "any"]
    # What names nothing comes first: later the audit log has what the others named.
    return sorted(found, key=lambda route: "{" in route[1])


def places(theirs, path, workspace):
    """A route's path with what is another workspace's in it."""
    ids = {
        "/api/v1/stub/": theirs.stub,
        "/api/v1/deployment/": theirs.deployment,
        "/api/v1/worker/join-tokens/": theirs.join_token,
        "/api/v1/worker/": theirs.worker,
        "/output/id/": theirs.output,
    }
    name = "default" if path.startswith("/api/v1/workspace/") else theirs.name
    return path.format(
        workspace=workspace,
        task=theirs.task,
        stub=theirs.stub,
        name=name,
        version="v1",
        upload=theirs.upload.upload_id,
        number=1,
        volume=theirs.volume.id,
        path="file",
        id=next((it for start, it in ids.items() if path.startswith(start)), None),
    )


@pytest.fixture
def newcomer(fleet):
    """A workspace that has not asked for anything yet, so that nothing it names is in its audit log."""
    api = new_workspace(fleet.api)
    yield api
    api.close()


def test_no_route_reaches_what_is_anothers(newcomer, theirs):
    team = newcomer
    headers = {"Authorization": f"Bearer {team.token}"}
    made = requests.post(
        f"{theirs.api.http}/api/v1/worker/join-tokens",
        json={},
        headers={"Authorization": f"Bearer {theirs.api.token}"},
        timeout=10,
    ).json()
    theirs.join_token = made["id"]
    before = theirs.state()
    query = {"object_type": "BETA9_DEPLOYMENT", "object_id": theirs.deployment}
    query.update(expires="9999999999", signature="0" * 64)
    for method, path in routes(team):
        if (method, path) in MAKES_OWN:
            continue
        for workspace in (theirs.workspace, team.workspace):
            place = places(theirs, path, workspace)
            assert "None" not in place, f"say what {path} names"
            body = {"name": "mine"} if path == "/api/v1/workspace" else {}
            body = body if method in ("post", "put") else None
            params = query if path.startswith(("/api/v1/logs", "/output", "/volume")) else None
            answer = requests.request(
                method, team.http + place, params=params, json=body, headers=headers, timeout=10
            )
            told = leaked(theirs, answer.text, place + json.dumps(query), answer.status_code >= 400)
            assert not told, f"{method} {place}: {answer.text}"
            is_everybodys = "{" not in path and method == "get"
            allowed = (200, 403) if is_everybodys else (401, 403, 404)
            allowed += (405,) if ("any", path) in SERVED else ()
            assert answer.status_code in allowed, f"{method} {place}: {answer.text}"
    assert theirs.state() == before
    listed = requests.get(
        f"{theirs.api.http}/api/v1/worker/join-tokens",
        headers={"Authorization": f"Bearer {theirs.api.token}"},
        timeout=10,
    ).json()["join_tokens"]
    assert [each["state"] for each in listed if each["id"] == made["id"]] == ["open"]


def test_no_search_finds_lines_of_anothers(team, theirs):
    for kind, identity in (
        ("TASK", theirs.task),
        ("STUB", theirs.stub),
        ("CONTAINER", theirs.container),
        ("APP", theirs.name),
    ):
        path = f"/api/v1/logs/{team.workspace}?object_type=BETA9_{kind}&object_id={identity}"
        answer = team.get(path)
        assert answer.status_code == 404 or answer.json()["logs"] == [], (kind, answer.text)
