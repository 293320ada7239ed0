"""Floods and slow peers: the gateway stays small and serves the others."""

import socket
import threading
from contextlib import closing

import cloudpickle
import grpc
import pytest
import requests
from beta9.clients.function import FunctionInvokeRequest

from harness import Api, SplitFleet, eventually, processes, second_workspace
from harness.code import HELLO, WAITING

CALLS = 25
CONNECTIONS = 60
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A gateway with small limits, and a worker."""
    with SplitFleet(
        tmp_path_factory.mktemp("small"),
        METAL9_GATEWAY_MAX_TASKS_PER_WORKSPACE=str(CALLS),
        METAL9_GATEWAY_MAX_CONNECTIONS=str(CONNECTIONS),
    ) as fleet:
        yield fleet


def test_a_flood_of_calls_is_refused_in_words_and_others_do_not_notice(small, tmp_path):
    small.gateway.stop()
    token = second_workspace(small)
    small.start_gateway()
    small.wait_for_workers(1)
    flooder, other = small.api, Api(small.grpc, small.http, token)

    stub = flooder.stub(WAITING, "app:wait", cpu=10**6)
    ids, refusal = [], None
    for _ in range(CALLS * 2):
        try:
            ids.append(flooder.call(stub, "/dev/null", headless=True).task_id)
        except grpc.RpcError as error:
            refusal = error
            break
    assert len(ids) == CALLS
    assert refusal.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{CALLS} calls" in refusal.details() and "hint: " in refusal.details()
    assert dict(refusal.trailing_metadata()).get("retry-after") or dict(
        refusal.initial_metadata()
    ).get("retry-after")

    # The other workspace has workers of its own or shares them; its calls are accepted.
    its = other.upload(HELLO)
    answer = other.try_stub(its, "app:hello", image_id=flooder.image())
    assert answer.ok, answer.err_msg
    call = other.call(answer.stub_id, headless=True)
    assert call.task_id

    small.gateway.stop()
    small.start_gateway()
    flooder = small.api
    with pytest.raises(grpc.RpcError) as again:
        flooder.call(stub, "/dev/null", headless=True)
    assert again.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    from beta9.clients.gateway import StopTasksRequest

    assert flooder.gateway.stop_tasks(StopTasksRequest(task_ids=ids)).ok
    assert flooder.call(flooder.stub(HELLO, "app:hello")).value == 1
    other.close()


SHORT = {
    "app.py": """
    import time

    def short():
        time.sleep(0.2)
    """
}


def test_anothers_call_returns_while_a_flood_of_calls_is_worked_off(small):
    """There is always more of the flood than the machine can run, and yet it is the other's turn."""
    small.gateway.stop()
    token = second_workspace(small)
    small.start_gateway()
    small.wait_for_workers(1)
    flooder, other = small.api, Api(small.grpc, small.http, token)
    stub = flooder.warm(SHORT, "app:short")
    answer = other.try_stub(other.upload(HELLO), "app:hello", image_id=flooder.image())
    assert answer.ok, answer.err_msg
    over, refusals = threading.Event(), []

    def flood():
        with closing(Api(small.grpc, small.http, small.facts["token"])) as api:
            while not over.is_set():
                try:
                    api.call(stub, headless=True)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                    refusals.append(error)
                    over.wait(0.02)

    def unended(*states):
        return len(flooder.tasks(**{"stub-id": [stub], "status": list(states), "limit": 1000}))

    def pending():
        return unended("PENDING")

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        eventually(lambda: len(refusals) > 0, what="the flood is at its limit")
        assert pending() > 0
        call = other.call(answer.stub_id).finish()
        assert call.value == 1
        assert pending() > 0, "the flood went on meanwhile"
    finally:
        over.set()
        flooding.join()
        other.close()
    eventually(
        lambda: unended("PENDING", "RUNNING") == 0, what="the flood is worked off", within=60
    )


def test_the_sdk_shows_a_refused_call_as_a_limit(small, tmp_path):
    from harness import App

    api = small.api
    stub = api.stub(WAITING, "app:wait", cpu=10**6)
    waiting = [api.call(stub, "/dev/null", headless=True).task_id for _ in range(CALLS)]
    app = App(tmp_path, small.config)
    done = app(
        """
        from beta9 import function

        @function()
        def hello():
            return 1

        if __name__ == "__main__":
            hello.remote()
        """
    )
    app.close()
    assert done.code == 1
    shown = done.stdout + done.stderr
    assert "Resource limit exceeded" in shown and "max_tasks_per_workspace" in shown, done

    from beta9.clients.gateway import StopTasksRequest

    assert api.gateway.stop_tasks(StopTasksRequest(task_ids=waiting)).ok


def connect(address):
    host, port = address.rsplit(":", 1)
    peer = socket.create_connection((host, int(port)), timeout=25)
    return peer


def closed(peer):
    """True once the other side has ended the connection."""
    try:
        while peer.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def test_a_flood_of_connections_leaves_those_that_are_in_alone(small):
    api = small.api
    assert api.tasks(limit=1) is not None
    flood = [connect(small.http) for _ in range(CONNECTIONS * 2)]
    # Those beyond the limit are closed at once; the rest wait for a request.
    flood[-1].settimeout(5)
    assert closed(flood[-1])
    assert api.tasks(limit=1) is not None, "a connection from before is served"
    for peer in flood:
        peer.close()
    eventually(
        lambda: reachable(small.http), what="there is room again once the flood has gone"
    )


def reachable(http):
    try:
        return requests.get(f"http://{http}/health", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def test_a_connection_that_says_nothing_is_ended(small):
    silent, slow = connect(small.grpc), connect(small.grpc)
    silent_http = connect(small.http)
    slow.sendall(b"PRI * HTTP/2.0\r\n")
    for peer in (silent, slow, silent_http):
        assert closed(peer)


def test_headers_that_do_not_end_are_refused(small):
    with closing(connect(small.http)) as peer:
        peer.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        try:
            for number in range(2000):
                peer.sendall(b"x-%d: %s\r\n" % (number, b"y" * 500))
        except ConnectionError:
            pass
        assert closed(peer)
    answer = requests.get(
        f"http://{small.http}/health", headers={f"x-{n}": "y" for n in range(200)}, timeout=10
    )
    assert answer.status_code == 431


def test_metadata_that_is_too_large_fails_its_call_and_no_other(small):
    ask = small.api.channel.unary_unary("/gateway.GatewayService/ListTokens", bytes, bytes)
    with pytest.raises(grpc.RpcError):
        ask(b"", timeout=10, metadata=(("x-large", "y" * 200_000),))
    assert small.api.tasks(limit=1) is not None


WRITER = {
    "app.py": """
    import sys

    def flood(mebibytes):
        line = "x" * 1023 + "\\n"
        for _ in range(mebibytes):
            sys.stdout.write(line * 1024)
        return mebibytes
    """
}


def test_readers_that_do_not_read_cost_the_gateway_no_memory(small):
    """Fifty streams of one task, and a log that is followed, of which nobody reads a byte."""
    api = small.api
    stub = api.warm(WRITER, "app:flood", timeout=120)
    api.call(stub, 1).finish()
    before = processes.memory(small.gateway.pid)["VmRSS"]
    arguments = cloudpickle.dumps({"args": (200,), "kwargs": {}})
    request = FunctionInvokeRequest(stub_id=stub, args=arguments, headless=True)
    first = api.functions.function_invoke(request)
    task = next(first).task_id
    path = f"/api/v1/task/{api.workspace}/{task}/logs?follow=true"
    stalled = connect(small.http)
    stalled.sendall(
        f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api.token}\r\n\r\n".encode()
    )
    others = [api.attach(stub, task) for _ in range(50)]
    assert api.wait(task, within=90) == "COMPLETE"
    after = processes.memory(small.gateway.pid)["VmRSS"]
    growth = (after - before) // 1024
    assert growth < 96, f"the gateway grew by {growth} MiB"
    for call in others:
        call.leave()
    first.close()
    stalled.close()
    # The task's output was kept for those who come later.
    assert api.task(task)["status"] == "COMPLETE"


def test_malformed_http_is_answered_in_json(small):
    url = f"http://{small.http}"
    token = {"Authorization": f"Bearer {small.facts['token']}"}
    join = f"{url}/api/v1/worker/join-tokens"
    cases = [
        requests.post(join, data="{", headers={**token, "content-type": "application/json"}),
        requests.post(join, json={"pool": 5}, headers=token),
        requests.post(join, json={"elephant": 1}, headers=token),
        requests.post(join, json={"ttl_seconds": -1}, headers=token),
        requests.post(join, data="x" * 3 * MEBIBYTE, headers=token),
        requests.get(f"{url}/health/%ff", headers=token),
        requests.delete(f"{url}/health", headers=token),
        requests.get(f"{url}/api/v1/task/x/y/logs?offset=minus", headers=token),
    ]
    for answer in cases:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["message"], answer.text
