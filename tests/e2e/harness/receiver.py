"""A small HTTP server that remembers what was posted to it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, NamedTuple

from .waiting import eventually


class Posted(NamedTuple):
    """One POST."""

    path: str
    headers: Dict[str, str]
    body: Any
    raw: bytes


class Receiver:
    """Listens on loopback until `close`."""

    def __init__(self) -> None:
        self.posts: List[Posted] = []
        posts = self.posts
        # What is answered to the next posts; 200 to further ones.
        self.answers: List[int] = []
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                posts.append(Posted(self.path, headers, json.loads(raw), raw))
                self.send_response(answers.pop(0) if answers else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, path: str) -> Posted:
        """The first POST to a path."""
        found = eventually(
            lambda: [post for post in self.posts if post.path == path],
            what=f"a POST to {path}",
        )
        return found[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
