"""The gateway's API without the SDK's conveniences: its generated clients and nothing more."""

import hashlib
import io
import textwrap
import uuid
import zipfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import cloudpickle
import grpc
import requests
from beta9.channel import (
    GRPC_MAX_MESSAGE_SIZE,
    AuthTokenInterceptor,
    request_metadata,
    rpc_timeout,
)
from beta9.clients.function import FunctionInvokeRequest, FunctionServiceStub
from beta9.clients.gateway import (
    Autoscaler,
    GatewayServiceStub,
    GetOrCreateStubRequest,
    GetOrCreateStubResponse,
    ListTasksRequest,
    ObjectMetadata,
    PutObjectRequest,
    StopTasksRequest,
    StringList,
    Task,
    TaskPolicy,
)
from beta9.clients.image import BuildImageRequest, ImageServiceStub, VerifyImageBuildRequest

from .waiting import eventually

CALLER = "cli/" + version("beta9")
LONGEST_CALL = 120.0
MESSAGE_LIMITS = [
    ("grpc.max_receive_message_length", GRPC_MAX_MESSAGE_SIZE),
    ("grpc.max_send_message_length", GRPC_MAX_MESSAGE_SIZE),
]
TERMINAL = ("COMPLETE", "ERROR", "CANCELLED", "TIMEOUT")


@contextmanager
def headers(pairs: Mapping[str, str]) -> Iterator[None]:
    """Adds metadata to the calls made inside."""
    token = request_metadata.set(tuple(pairs.items()))
    try:
        yield
    finally:
        request_metadata.reset(token)


class Call:
    """One FunctionInvoke stream."""

    def __init__(self, api: "Api", request: FunctionInvokeRequest, pairs: Mapping[str, str]):
        self.task_id = ""
        self.output = ""
        self.messages: List[Any] = []
        self.exit_code: Optional[int] = None
        self.result = b""
        self._stream = api.functions.function_invoke(request)
        with headers(pairs), rpc_timeout(LONGEST_CALL):
            self._take(next(self._stream))

    def _take(self, message: Any) -> None:
        self.messages.append(message)
        self.task_id = message.task_id or self.task_id
        self.output += message.output
        if message.done:
            self.exit_code = message.exit_code
            self.result = message.result

    def until(self, text: str, times: int = 1) -> "Call":
        """Reads until `text` has come that many times."""
        while self.output.count(text) < times:
            assert self.exit_code is None, f"ended without {text!r}: {self!r}"
            self._take(next(self._stream))
        return self

    def finish(self) -> "Call":
        """Reads to the end."""
        while self.exit_code is None:
            self._take(next(self._stream))
        return self

    def pieces(self) -> Iterator[str]:
        """Reads to the end, giving output away as it comes instead of keeping it."""
        while True:
            piece, self.output, self.messages = self.output, "", []
            yield piece
            if self.exit_code is not None:
                return
            self._take(next(self._stream))

    def leave(self) -> None:
        """Goes away without a word."""
        self._stream.close()

    @property
    def value(self) -> Any:
        """What the function returned."""
        self.finish()
        assert self.exit_code == 0 and self.result, f"no result: {self!r}"
        return cloudpickle.loads(self.result)

    def __repr__(self) -> str:
        return f"task {self.task_id} (exit code {self.exit_code})\n{self.output[-4000:]}"


class Api:
    """A client of one gateway."""

    def __init__(self, address: str, http: str, token: str, ca: Optional[Path] = None):
        """`ca` is the certificate to trust, for a gateway that speaks TLS."""
        self.verify = str(ca) if ca else True
        self.http = http if http.startswith("http") else f"http://{http}"
        self.address = address
        self.token = token
        interceptor = AuthTokenInterceptor(token, [("x-beta9-caller", CALLER)])
        if ca:
            trust = grpc.ssl_channel_credentials(ca.read_bytes())
            channel = grpc.secure_channel(address, trust, options=MESSAGE_LIMITS)
        else:
            channel = grpc.insecure_channel(address, options=MESSAGE_LIMITS)
        self.channel = grpc.intercept_channel(channel, interceptor)
        self.gateway = GatewayServiceStub(self.channel)
        self.functions = FunctionServiceStub(self.channel)
        self.images = ImageServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()

    # ---- preparing ----

    def upload(self, files: Mapping[str, Union[str, bytes]]) -> str:
        """Stores code; returns the object's id."""
        archive = io.BytesIO()
        manifest = hashlib.sha256()
        with zipfile.ZipFile(archive, "w") as bundle:
            for name in sorted(files):
                text = files[name]
                if isinstance(text, str):
                    text = textwrap.dedent(text).lstrip("\n").encode()
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100644 << 16
                bundle.writestr(entry, text)
                digest = hashlib.sha256(text).hexdigest()
                manifest.update(f"{name}\0{digest}\x00644\n".encode())
        name = manifest.hexdigest()
        content = archive.getvalue()
        request = PutObjectRequest(
            object_content=content,
            object_metadata=ObjectMetadata(name=name, size=len(content)),
            hash=name,
        )
        response = self.gateway.put_object_stream(iter([request]))
        assert response.ok, response
        return response.object_id

    def image(self, **spec: Any) -> str:
        """Builds an image unless it is there; returns its id."""
        spec = {"python_version": "python3", **spec}
        known = self.images.verify_image_build(VerifyImageBuildRequest(**spec))
        if known.exists:
            return known.image_id
        request = BuildImageRequest(**spec)
        text = ""
        with rpc_timeout(LONGEST_CALL):
            for message in self.images.build_image(request):
                text += message.msg
                if message.done:
                    assert message.success, text
                    return message.image_id
        raise AssertionError(f"the build ended without a last message: {text}")

    def try_stub(self, object_id: str, handler: str, **fields: Any) -> GetOrCreateStubResponse:
        """Asks for a function stub, whatever comes of it."""
        policy = TaskPolicy(max_retries=fields.pop("retries", 0), timeout=fields.pop("timeout", 60))
        request = GetOrCreateStubRequest(
            **{
                "object_id": object_id,
                "image_id": fields.pop("image_id", None) or self.image(),
                "stub_type": "function",
                "name": f"function/{handler}",
                "app_name": "e2e",
                "python_version": "python3",
                "cpu": 125,
                "memory": 256,
                "handler": handler,
                "force_create": True,
                "authorized": True,
                "extra": "{}",
                "autoscaler": Autoscaler(
                    type="queue_depth", max_containers=1, tasks_per_container=1
                ),
                "task_policy": policy,
                **fields,
            }
        )
        return self.gateway.get_or_create_stub(request)

    def stub(self, files: Mapping[str, Union[str, bytes]], handler: str, **fields: Any) -> str:
        """Makes a function stub of some code; returns its id."""
        response = self.try_stub(self.upload(files), handler, **fields)
        assert response.ok, response.err_msg
        return response.stub_id

    def warm(self, files: Mapping[str, str], handler: str, **fields: Any) -> str:
        """A function stub that has been called with no arguments once, so that the next call's
        output has no word about the steps before it."""
        stub_id = self.stub(files, handler, **fields)
        self.call(stub_id).finish()
        return stub_id

    # ---- calling ----

    def call(self, stub_id: str, *args: Any, headless: bool = False, **kwargs: Any) -> Call:
        """Calls a function."""
        return self.invoke(stub_id, *args, headless=headless, **kwargs)

    def invoke(
        self,
        stub_id: str,
        *args: Any,
        headless: bool = False,
        pairs: Optional[Mapping[str, str]] = None,
        **kwargs: Any,
    ) -> Call:
        """Calls a function with extra metadata."""
        arguments = cloudpickle.dumps({"args": args, "kwargs": kwargs})
        request = FunctionInvokeRequest(stub_id=stub_id, args=arguments, headless=headless)
        return Call(self, request, pairs or {"x-beta9-task-id": "", "x-beta9-log-offset": "0"})

    def attach(self, stub_id: str, task_id: str, offset: int = 0) -> Call:
        """Joins a task that is already there, from `offset` bytes of its output on."""
        return self.invoke(
            stub_id, pairs={"x-beta9-task-id": task_id, "x-beta9-log-offset": str(offset)}
        )

    # ---- looking ----

    def tasks(self, limit: int = 100, **filters: List[str]) -> List[Task]:
        """Tasks by filter; underscores in the names stand for dashes."""
        wanted = {
            name.replace("_", "-"): StringList(values=values) for name, values in filters.items()
        }
        response = self.gateway.list_tasks(ListTasksRequest(filters=wanted, limit=limit))
        assert response.ok, response.err_msg
        return response.tasks

    def status(self, task_id: str) -> str:
        """A task's status; empty if there is no such task."""
        return next((task.status for task in self.tasks(id=[task_id])), "")

    def wait(self, task_id: str, *statuses: str, within: float = 30.0) -> str:
        """Waits until a task is in one of the statuses, by default any final one."""
        wanted = statuses or TERMINAL
        return eventually(
            lambda: self.status(task_id),
            lambda status: status in wanted,
            what=f"task {task_id} is {' or '.join(wanted)}",
            within=within,
        )

    def cancel(self, task_id: str) -> None:
        """Stops a task."""
        response = self.gateway.stop_tasks(StopTasksRequest(task_ids=[task_id]))
        assert response.ok, response.err_msg

    # ---- other doors ----

    def get(self, path: str, token: Optional[str] = None, **options: Any) -> requests.Response:
        """GET over HTTP, as the holder of `token`, by default one's own."""
        token = self.token if token is None else token
        bearer: Dict[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        options.setdefault("verify", self.verify)
        return requests.get(self.http + path, headers=bearer, timeout=30, **options)

    @property
    def workspace(self) -> str:
        """The id of one's workspace."""
        return self.get("/api/v1/workspace/current").json()["external_id"]

    def task(self, task_id: str) -> Dict[str, Any]:
        """A task as HTTP tells it."""
        response = self.get(f"/api/v1/task/{self.workspace}/{task_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def raw(self, method: str, message: bytes = b"", within: float = 20.0) -> bytes:
        """A unary call by its path, with bytes for messages."""
        call = self.channel.unary_unary(method, _same, _same)
        return call(message, timeout=within)

    def raw_stream(self, method: str, message: bytes, within: float = 20.0) -> bytes:
        """The first answer of a bidirectional stream, with bytes for messages."""
        call = self.channel.stream_stream(method, _same, _same)
        return next(call(iter([message]), timeout=within))

    def fresh_request(self) -> Tuple[str, Dict[str, str]]:
        """A new request id, and the metadata that carries it."""
        request = str(uuid.uuid4())
        return request, {"x-beta9-request-id": request, "x-beta9-task-id": ""}


def _same(data: bytes) -> bytes:
    return data
