"""Endpoints and web applications of users, reached by HTTP at the gateway."""

import textwrap
from typing import Any, Mapping, Optional

import requests
from websockets.sync.client import ClientConnection, connect

from .program import App, Contents

# What a user's program does to be called by the id of its stub: what `beta9 serve` and `beta9 deploy` do before they
# do anything else.
MAKE_STUB = """

if __name__ == "__main__":
    import json, sys
    served = globals()[sys.argv[1]]
    assert served.parent.prepare_runtime(
        func=served.func, stub_type=served.base_stub_type, force_create_stub=True
    )
    print(json.dumps(served.parent.stub_id))
"""


class Served:
    """One stub that answers HTTP."""

    def __init__(self, http: str, token: str, kind: str, stub: str):
        self.host = http
        self.token = token
        self.kind = kind
        self.stub = stub
        self.session = requests.Session()

    @property
    def path(self) -> str:
        return f"/{self.kind}/id/{self.stub}"

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.path}"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def request(self, method: str, path: str = "", within: float = 60.0, **options: Any) -> requests.Response:
        """Makes a request, with the token unless `headers` are given."""
        options.setdefault("headers", self.headers)
        return self.session.request(method, self.url + path, timeout=within, **options)

    def get(self, path: str = "", **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str = "", **options: Any) -> requests.Response:
        return self.request("POST", path, **options)

    def socket(self, path: str = "", **options: Any) -> ClientConnection:
        """Opens a WebSocket, with the token unless `additional_headers` are given."""
        options.setdefault("additional_headers", self.headers)
        return connect(f"ws://{self.host}{self.path}{path}", open_timeout=60, **options)


def serve(
    app: App,
    facts: Mapping[str, Any],
    source: str,
    name: str = "handler",
    files: Optional[Mapping[str, Contents]] = None,
) -> Served:
    """Makes the stub of the endpoint or application `name` of a user's program."""
    source = textwrap.dedent(source).lstrip("\n") + MAKE_STUB
    done = app(source, files=files, arguments=[name])
    kind = "asgi" if "@asgi" in source or "@realtime" in source else "endpoint"
    return Served(facts["http"], facts["token"], kind, done.json)
