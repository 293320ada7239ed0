import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
from beta9.clients.gateway import SignPayloadRequest, SignPayloadResponse

from fake_worker import until

SIGN = "/gateway.GatewayService/SignPayload"


class Receiver:
    """Takes callbacks, and signs them like a gateway."""

    def __init__(self):
        self.posts = queue.Queue()
        self.tokens = queue.Queue()
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.put((self.path, dict(self.headers), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

        self.grpc = grpc.server(ThreadPoolExecutor(2))
        self.grpc.add_generic_rpc_handlers([self])
        self.port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def service(self, details):
        if details.method != SIGN:
            return None
        self.tokens.put(dict(details.invocation_metadata).get("authorization"))
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: SignPayloadResponse(signature="signed:%d" % len(request.payload), timestamp=7),
            request_deserializer=SignPayloadRequest().parse,
            response_serializer=bytes,
        )

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.http.server_port, path)

    @property
    def env(self):
        return {"BETA9_GATEWAY_HOST": "127.0.0.1", "BETA9_GATEWAY_PORT": str(self.port), "BETA9_TOKEN": "of-the-load"}

    def next(self):
        return self.posts.get(timeout=30)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.grpc.stop(None)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_result_is_posted_signed_before_it_is_sent(load, receiver):
    worker = load("def main(x): return {'got': x}\n", callback_url=receiver.url("/done"), env=receiver.env)
    assert worker.value(5) == {"got": 5}
    path, headers, body = receiver.posts.get_nowait()
    assert (path, body) == ("/done", {"data": {"got": 5}})
    assert headers["X-Task-ID"] == "task-1"
    assert headers["X-Task-Status"] == "COMPLETE"
    assert headers["X-Task-Timestamp"] == "7"
    assert headers["X-Task-Signature"] == "signed:%d" % len(json.dumps(body))
    assert receiver.tokens.get_nowait() == "Bearer token-of-the-call"
    assert worker.stdout() == ""
    assert "Sending data to callback" in worker.stderr()


def test_the_call_may_choose_another_address(load, receiver):
    worker = load("def main(**kwargs): return kwargs\n", callback_url=receiver.url("/stub"), env=receiver.env)
    assert worker.value(callback_url=receiver.url("/call"), x=1) == {"x": 1}
    assert receiver.next()[0] == "/call"
    worker.value()
    assert receiver.next()[0] == "/stub"


def test_a_failure_is_posted_too(load, receiver):
    worker = load("def main(): raise ValueError('bad')\n", callback_url=receiver.url("/"), env=receiver.env)
    worker.error()
    _, headers, body = receiver.next()
    assert headers["X-Task-Status"] == "ERROR"
    assert body == {"data": {"error": "bad"}}


@pytest.mark.parametrize("reason,status", [("cancelled", "CANCELLED"), ("timeout", "TIMEOUT")])
def test_a_cancel_is_posted_and_the_handler_unwound(load, receiver, reason, status):
    app = """
import time
def main():
    try: print("begun"); time.sleep(60)
    finally: print("cleaned up")
"""
    worker = load(app, callback_url=receiver.url("/"), env=receiver.env)
    number = worker.begin()
    assert worker.connection.receive()["type"] == "started"
    until(lambda: worker.stdout() == "begun\n", "the handler's first line")
    worker.connection.send({"type": "cancel", "id": number, "reason": reason})
    assert worker.wait() == 0
    assert worker.stdout() == "begun\ncleaned up\n"
    _, headers, body = receiver.next()
    assert headers["X-Task-Status"] == status
    assert body == {"data": {}}
    assert receiver.posts.empty()


def test_a_callback_that_fails_changes_nothing(load, receiver):
    receiver.grpc.stop(None)
    worker = load("def main(): return 1\n", callback_url=receiver.url("/"), env=receiver.env)
    assert worker.value() == 1
    # The SDK says the first, the runner the second where an older SDK lets the error through.
    stderr = worker.stderr()
    assert "Unable to send callback" in stderr or "callback could not be sent" in stderr
    assert worker.stdout() == ""
    assert receiver.posts.empty()


def test_a_value_that_is_not_json_fails_only_its_callback(load, receiver):
    worker = load("def main(): return {1, 2}\n", callback_url=receiver.url("/"), env=receiver.env)
    assert worker.value() == {1, 2}
    assert "not JSON serializable" in worker.stderr()
