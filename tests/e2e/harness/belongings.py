"""Everything that a workspace can have, for what another must neither see nor change."""

import hashlib
import uuid
from typing import Any, Dict, Set

from beta9.clients.gateway import (
    CreateMachineRequest,
    CreateObjectDeltaRequest,
    CreateObjectRequest,
    CreatePoolRequest,
    CreateTokenRequest,
    DeployStubRequest,
    ListDeploymentsRequest,
    ListPoolMachinesRequest,
    ListPrivatePoolsRequest,
    ListTokensRequest,
    ListWorkersRequest,
    ObjectMetadata,
    PoolConfig,
    PutObjectRequest,
)
from beta9.clients.map import MapGetRequest, MapKeysRequest, MapServiceStub, MapSetRequest
from beta9.clients.output import OutputSaveRequest, OutputServiceStub, OutputStatRequest
from beta9.clients.secret import (
    CreateSecretRequest,
    GetSecretRequest,
    ListSecretsRequest,
    SecretServiceStub,
)
from beta9.clients.signal import SignalMonitorRequest, SignalServiceStub, SignalSetRequest
from beta9.clients.simplequeue import (
    SimpleQueuePutRequest,
    SimpleQueueRequest,
    SimpleQueueServiceStub,
)

from .api import Api
from .code import HELLO, WAITING
from .gate import Gate
from .volume import Volume

# A zip archive without files.
ARCHIVE = b"PK\5\6" + bytes(18)


class Belongings:
    """What one workspace has: names, ids, and contents that nobody else may ever read."""

    def __init__(self, api: Api, gate: Gate):
        self.api = api
        unique = uuid.uuid4().hex[:8]
        self.name = f"theirs-{unique}"
        self.pool = f"pool-{unique}"
        self.secret_name = f"THEIRS_{unique.upper()}"
        self.content = f"hidden-{uuid.uuid4().hex}"
        self.workspace = api.workspace
        self.maps = MapServiceStub(api.channel)
        self.queues = SimpleQueueServiceStub(api.channel)
        self.signals = SignalServiceStub(api.channel)
        self.outputs = OutputServiceStub(api.channel)
        self.secrets = SecretServiceStub(api.channel)
        self._work(gate)
        self._data()

    def _work(self, gate: Gate) -> None:
        api = self.api
        self.stub = api.stub(
            HELLO, "app:hello", stub_type="function/deployment", app_name=self.name
        )
        deployed = api.gateway.deploy_stub(DeployStubRequest(stub_id=self.stub, name=self.name))
        assert deployed.ok, deployed
        self.deployment = deployed.deployment_id
        ended = api.call(self.stub).finish()
        self.task = ended.task_id
        api.wait(self.task)
        self._running = api.call(api.stub(WAITING, "app:wait"), str(gate.path)).until("in")
        self.running = self._running.task_id
        [row] = api.tasks(id=[self.running])
        self.container, self.running_stub = row.container_id, row.stub_id
        [worker] = api.gateway.list_workers(ListWorkersRequest()).workers
        self.worker = worker.id
        self.token = api.gateway.create_token(CreateTokenRequest()).token
        made = api.gateway.create_pool(CreatePoolRequest(pool=PoolConfig(name=self.pool)))
        assert made.ok, made
        expected = api.gateway.create_machine(CreateMachineRequest(pool_name=self.pool))
        assert expected.ok, expected
        self.machine = expected.machine

    def _data(self) -> None:
        api, content = self.api, self.content.encode()
        self.hash = f"hash-{self.content}"
        request = PutObjectRequest(
            object_content=ARCHIVE, object_metadata=ObjectMetadata(name="code"), hash=self.hash
        )
        put = api.gateway.put_object_stream(iter([request]))
        assert put.ok, put
        self.object = put.object_id
        self.code_hash = hashlib.sha256(self.content.encode()).hexdigest()
        create = CreateObjectRequest(hash=self.code_hash, size=len(ARCHIVE))
        self.code = api.gateway.create_object(create)
        assert self.code.ok, self.code
        changes = CreateObjectDeltaRequest(
            hash=self.code_hash, base_object_id=self.object, delta_size=len(ARCHIVE)
        )
        self.delta = api.gateway.create_object_delta(changes)
        assert self.delta.ok, self.delta
        save = OutputSaveRequest(task_id=self.task, filename="output.txt", content=content)
        self.output = self.outputs.output_save_stream(iter([save])).id
        assert self.secrets.create_secret(
            CreateSecretRequest(name=self.secret_name, value=self.content)
        ).ok
        assert self.maps.map_set(
            MapSetRequest(name=self.name, key="key", value=content, ttl=600)
        ).ok
        put = SimpleQueuePutRequest(name=self.name, value=content)
        assert self.queues.simple_queue_put(put).ok
        assert self.signals.signal_set(SignalSetRequest(name=self.name, ttl=600)).ok
        self.volume = Volume(api, self.name)
        self.volume.write("file", content)
        self.upload = self.volume.begin("upload", 4, 4)
        assert self.upload.ok, self.upload

    @property
    def ids(self) -> Set[str]:
        """What names things that are this workspace's alone."""
        return {
            self.workspace,
            self.stub,
            self.running_stub,
            self.deployment,
            self.task,
            self.running,
            self.container,
            self.token.token_id,
            self.machine.id,
            self.object,
            self.code.object_id,
            self.code.upload_id,
            self.delta.object_id,
            self.output,
            self.volume.id,
            self.upload.upload_id,
        }

    @property
    def names(self) -> Set[str]:
        """What others may call things of their own."""
        return {self.name, self.secret_name, self.pool}

    @property
    def contents(self) -> Set[str]:
        """What nobody else may read."""
        return {self.content, self.token.key, self.machine.registration_token}

    def state(self) -> Dict[str, Any]:
        """All of it as its owner sees it, to compare with later."""
        api, gateway = self.api, self.api.gateway
        queue, name = SimpleQueueRequest(name=self.name), self.name
        deployments = gateway.list_deployments(ListDeploymentsRequest()).deployments
        [deployment] = [each for each in deployments if each.id == self.deployment]
        tokens = gateway.list_tokens(ListTokensRequest()).tokens
        [token] = [each for each in tokens if each.token_id == self.token.token_id]
        [worker] = gateway.list_workers(ListWorkersRequest()).workers
        pools = gateway.list_private_pools(ListPrivatePoolsRequest()).pools
        machines = gateway.list_pool_machines(ListPoolMachinesRequest(pool_name=self.pool)).machines
        secret = self.secrets.get_secret(GetSecretRequest(name=self.secret_name))
        return {
            "deployment": deployment,
            "tasks": {task: api.status(task) for task in (self.task, self.running)},
            "calls": [task.id for task in api.tasks(stub_id=[self.stub])],
            "token": token.active,
            "worker": worker.status,
            "pool": [pool.status for pool in pools if pool.name == self.pool],
            "machines": [(machine.id, machine.status) for machine in machines],
            "secret": secret.secret.value,
            "secrets": self.secret_name
            in [each.name for each in self.secrets.list_secrets(ListSecretsRequest()).secrets],
            "keys": self.maps.map_keys(MapKeysRequest(name=name)).keys,
            "value": self.maps.map_get(MapGetRequest(name=name, key="key")).value,
            "queued": self.queues.simple_queue_size(queue).size,
            "next": self.queues.simple_queue_peek(queue).value,
            "signal": next(self.signals.signal_monitor(SignalMonitorRequest(name=name))).set,
            "files": {path: self.volume.read(path) for path in self.volume.names()},
            "output": self.outputs.output_stat(
                OutputStatRequest(id=self.output, task_id=self.task, filename="output.txt")
            ).stat.size,
        }
