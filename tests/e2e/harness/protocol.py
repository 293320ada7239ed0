"""The client API's calls, as the protocol's text names them, and the SDK's messages for them."""

import importlib
import re
from pathlib import Path
from typing import Any, Dict, Iterable, NamedTuple, Optional

import grpc

from .api import Api

PROTO = Path(__file__).parents[3] / "proto" / "beta9"
SERVICE = re.compile(r"^service (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
RPC = re.compile(r"rpc (\w+)\((?:stream )?([\w.]+)\)\s*returns\s*\((?:stream )?([\w.]+)\)")


class Rpc(NamedTuple):
    """A call of the client API."""

    package: str
    service: str
    name: str
    response: str

    @property
    def path(self) -> str:
        return f"/{self.package}.{self.service}/{self.name}"

    def read(self, content: bytes) -> Any:
        """The SDK's message of an answer."""
        module = importlib.import_module(f"beta9.clients.{self.package}")
        # The SDK writes some names another way, as `Url` for `URL`.
        names = {name.lower(): name for name in dir(module)}
        return getattr(module, names[self.response.lower()])().parse(content)


def rpcs() -> Dict[str, Rpc]:
    """Every call of the client API, by `package.Name`."""
    found = {}
    for file in sorted(PROTO.glob("*.proto")):
        text = file.read_text()
        for service, body in SERVICE.findall(text):
            for name, _, response in RPC.findall(body):
                key = f"{file.stem}.{name}"
                assert key not in found, f"two calls are named {key}"
                found[key] = Rpc(file.stem, service, name, response.split(".")[-1])
    return found


def ask(api: Api, rpc: Rpc, messages: Iterable[bytes], within: float = 20.0) -> bytes:
    """The first answer to a call of any kind; raises as gRPC does."""
    call = api.channel.stream_stream(rpc.path, bytes, bytes)(iter(messages), timeout=within)
    try:
        return next(call, b"")
    finally:
        call.cancel()


def is_served(api: Api, rpc: Rpc) -> bool:
    """Whether the gateway knows the call, found out by an empty message."""
    try:
        ask(api, rpc, [b""])
    except grpc.RpcError as error:
        return " does not support " not in error.details()
    return True


def code(call: Any) -> Optional[grpc.StatusCode]:
    """The status that a call ends with; nothing if it is answered."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return None
