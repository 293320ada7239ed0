"""`beta9 serve` and `beta9 container attach`: code that is tried out while it changes."""

import sys
import threading

import pytest
import requests
from beta9.clients.endpoint import EndpointServiceStub, StartEndpointServeRequest
from beta9.clients.gateway import (
    AttachToContainerRequest,
    AttachToContainerResponse,
    ContainerStreamMessage,
    StopContainerRequest,
    SyncContainerWorkspaceOperation,
    SyncContainerWorkspaceRequest,
)
from harness import eventually, start_serving
from harness.code import WAITING
from websockets.exceptions import WebSocketException

ENDPOINT = """
from beta9 import endpoint

@endpoint(cpu=0.1)
def handler(name="you"):
    print("asked by", name, flush=True)
    return "one"
"""


def stub_of(api, source, stub_type="endpoint/serve"):
    """A stub of this type, without the SDK's command line."""
    return api.stub(
        {"app.py": source}, "app:handler", stub_type=stub_type, name=f"{stub_type}/app:handler", cpu=100
    )


def begin(api, stub, timeout=0):
    """What `beta9 serve` does first; the container's name."""
    request = StartEndpointServeRequest(stub_id=stub, timeout=timeout)
    started = EndpointServiceStub(api.channel).start_endpoint_serve(request)
    assert started.ok, started.error_msg
    return started.container_id


class Attached:
    """A client that is attached to a container."""

    def __init__(self, api, container):
        self.output = ""
        self.last = None
        self._changes = []
        self._wake = threading.Condition()
        self._over = False
        # Below the SDK's own client, whose stream cannot be ended from another thread.
        attach = api.channel.stream_stream(
            "/gateway.GatewayService/AttachToContainer",
            ContainerStreamMessage.SerializeToString,
            AttachToContainerResponse.FromString,
        )
        self._call = attach(self._messages(container))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _messages(self, container):
        yield ContainerStreamMessage(attach_request=AttachToContainerRequest(container_id=container))
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._changes or self._over, timeout=0.1)
                if self._over:
                    return
                change = self._changes.pop(0) if self._changes else None
            if change is None:
                yield ContainerStreamMessage()
            else:
                yield ContainerStreamMessage(sync_container_workspace=change)

    def _read(self):
        try:
            for message in self._call:
                self.output += message.output
                self.last = message
        except Exception as error:
            self.output += f"\n{error}"

    def change(self, op, path, data=b"", **fields):
        with self._wake:
            self._changes.append(
                SyncContainerWorkspaceRequest(
                    path=path, data=data, op=getattr(SyncContainerWorkspaceOperation, op), **fields
                )
            )
            self._wake.notify()

    def until(self, text):
        eventually(lambda: self.output, lambda seen: text in seen, what=f"{text!r} is shown", within=40)

    def leave(self):
        with self._wake:
            self._over = True
            self._wake.notify()
        # The last of its messages is said; what the gateway still says ends with the stream.
        self._call.cancel()
        self._thread.join()

    def finish(self):
        """Reads to the end; the last message."""
        self._thread.join(60)
        assert not self._thread.is_alive() and self.last.done, (self.last, self.output)
        return self.last


@pytest.fixture
def serving(app, fleet):
    """Starts `beta9 serve`."""
    return lambda *arguments, **options: start_serving(app, fleet.facts, *arguments, **options)


def test_a_change_is_answered_from_and_what_is_broken_is_told_and_mended(serving, api):
    it = serving(ENDPOINT)
    it.answers("one", json={"name": "ann"})
    it.program.wait_for("asked by ann")
    [before] = it.containers(api)
    assert before.container_id.startswith("endpoint-")

    it.write("app.py", ENDPOINT.replace('"one"', '"two"'))
    it.answers("two")
    it.write("app.py", ENDPOINT.replace("return", "retrun"))
    it.program.wait_for("SyntaxError")
    refused = eventually(
        it.served.post, lambda answer: answer.status_code == 500, what="it is told to who asks"
    )
    assert "SyntaxError" in refused.json()["error"]
    it.write("app.py", ENDPOINT.replace('"one"', '"three"'))
    it.answers("three")

    [after] = it.containers(api)
    assert after.container_id == before.container_id


def test_files_come_move_and_go(serving):
    source = """
    import pathlib
    from beta9 import endpoint

    @endpoint(cpu=0.1)
    def handler():
        here = pathlib.Path(__file__).parent
        return {
            "module": (here / "lib" / "words.py").exists(),
            "files": sorted(p.name for p in here.glob("data/*")),
        }
    """
    it = serving(source, files={"data/a.txt": "a"})
    it.answers({"module": False, "files": ["a.txt"]})
    it.write("data/b.txt", "b")
    it.answers({"module": False, "files": ["a.txt", "b.txt"]})
    it.write("lib/words.py", "WORDS = []")
    it.answers({"module": True, "files": ["a.txt", "b.txt"]})
    (it.directory / "data" / "a.txt").rename(it.directory / "data" / "c.txt")
    it.answers({"module": True, "files": ["b.txt", "c.txt"]})
    (it.directory / "data" / "b.txt").unlink()
    (it.directory / "lib").rename(it.directory / "other")
    it.answers({"module": False, "files": ["c.txt"]})
    (it.directory / "new.txt").write_text("saved as editors do")
    (it.directory / "new.txt").replace(it.directory / "data" / "c.txt")
    it.answers({"module": False, "files": ["c.txt"]})


def test_what_does_not_import_at_first_is_mended_too(serving):
    it = serving(
        """
        from beta9 import endpoint, env

        if env.is_remote():
            raise ImportError("not yet")

        @endpoint(cpu=0.1)
        def handler():
            return 1
        """
    )
    it.program.wait_for("not yet")
    it.write("app.py", ENDPOINT)
    it.answers("one")


def test_a_process_that_ends_is_told_and_the_next_change_starts_another(serving):
    it = serving("import os\n" + ENDPOINT.replace('return "one"', "os._exit(3)"))
    assert it.served.post().status_code == 502
    it.program.wait_for("tried again when it changes", within=40)
    it.write("app.py", ENDPOINT)
    it.answers("one")


def test_a_web_application_is_served_so_too(serving):
    source = """
    from beta9 import asgi

    @asgi(cpu=0.1)
    def handler(context):
        async def app(scope, receive, send):
            if scope["type"] != "http":
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'"one"'})
        return app
    """
    it = serving(source)
    it.answers("one")
    it.write("app.py", source.replace('"one"', '"two"'))
    it.answers("two")


def test_a_websocket_is_served_so_too(serving):
    source = """
    from beta9 import realtime

    @realtime(cpu=0.1)
    def handler(message):
        return "one " + message
    """
    it = serving(source)

    def answer():
        try:
            with it.served.socket() as ws:
                ws.send("hello")
                return next(said for said in ws if "ping" not in said)
        except (WebSocketException, TimeoutError, StopIteration) as error:
            return error

    eventually(answer, lambda said: said == "one hello", what="it answers", within=40)
    it.write("app.py", source.replace("one", "two"))
    eventually(answer, lambda said: said == "two hello", what="the new code answers", within=40)


def test_the_tasks_of_a_queue_run_with_the_code_of_now(serving, api):
    source = """
    from beta9 import task_queue

    @task_queue(cpu=0.1)
    def handler(number):
        print("doubling", number, flush=True)
        if number < 0:
            raise ValueError("too little")
        if number > 99:
            return "much" * (4 << 20)
        return number * 2
    """
    it = serving(source)

    def put(number):
        answer = it.served.post(json={"number": number})
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    task = put(4)
    assert api.wait(task) == "COMPLETE"
    assert api.task(task)["result"] == 8
    it.program.wait_for("doubling 4")
    assert api.wait(put(-1)) == "ERROR"
    it.program.wait_for("too little")
    assert api.wait(much := put(100)) == "ERROR"
    it.program.wait_for("the result of app:handler is 16.00 MiB")
    assert not api.task(much)["result"]
    it.write("app.py", source.replace("number * 2", "number * 3"))
    eventually(
        lambda: (task := put(5)) and api.wait(task) and api.task(task)["result"],
        lambda result: result == 15,
        what="the new code runs",
    )
    [container] = it.containers(api)
    assert container.container_id.startswith("taskqueue-")


def test_who_leaves_takes_the_container_along(serving, api):
    it = serving(ENDPOINT)
    it.answers("one")
    it.program.interrupt()
    assert it.program.finish().code == 0
    eventually(lambda: it.containers(api), lambda left: not left, what="the container is gone")
    refused = it.served.post()
    assert refused.status_code == 503 and "beta9 serve" in refused.json()["error"]


def test_a_timeout_ends_it_and_says_so(serving, api):
    it = serving(ENDPOINT, arguments=["--timeout", "3"])
    done = it.program.finish()
    assert done.code == 0 and "nothing was changed or asked for in 3 s" in done.stdout
    eventually(lambda: it.containers(api), lambda left: not left, what="the container is gone")


def test_a_container_that_is_stopped_ends_it(serving, api):
    it = serving(ENDPOINT)
    it.answers("one")
    [container] = it.containers(api)
    assert api.gateway.stop_container(StopContainerRequest(container_id=container.container_id)).ok
    assert it.program.finish().code == 0


def test_nothing_outside_the_code_is_reached_by_a_change(api, fleet):
    container = begin(api, stub_of(api, ENDPOINT))
    client = Attached(api, container)
    client.until("serving")
    for path in ("../escaped", "a/../../escaped", "/tmp/escaped"):
        client.change("WRITE", path, b"out")
        client.until(f"`{path}` was not taken over")
    client.change("MOVED", "app.py", new_path="../escaped.py")
    client.until("contains `..`")
    client.change("DELETE", ".")
    client.until("as a whole cannot be removed")
    client.change("MOVED", "never.tmp", new_path="never.py")
    client.until("save `never.py` once more")
    client.change("DELETE", "nothing.py")
    client.change("WRITE", ".", is_dir=True)
    assert not list(fleet.state.rglob("escaped*"))
    client.leave()


def test_several_may_look_on_and_the_last_one_ends_it(api):
    stub = stub_of(api, ENDPOINT)
    container = begin(api, stub)
    assert begin(api, stub) == container
    first, second = Attached(api, container), Attached(api, container)
    for client in (first, second):
        client.until("serving")
    first.leave()
    second.change("WRITE", "app.py", ENDPOINT.encode() + b"\n")
    second.until("starting again")
    second.leave()
    gone = eventually(
        lambda: Attached(api, container).finish(), lambda last: last.done, what="it has ended"
    )
    assert gone.exit_code == 0


def test_what_cannot_be_attached_to_is_said(api, app, fleet):
    for name in ("nonsense", "endpoint-00000000-0000-0000-0000-000000000000-0000000100000001"):
        last = Attached(api, name).finish()
        assert last.exit_code == 1 and "Container not found" in last.output
    shown = fleet.beta9("container", "attach", "nonsense", code=1)
    assert "Container not found" in shown.stdout


def test_only_stubs_made_for_it_are_served(api):
    stub = stub_of(api, ENDPOINT, "endpoint")
    service = EndpointServiceStub(api.channel)
    refused = service.start_endpoint_serve(StartEndpointServeRequest(stub_id=stub))
    assert not refused.ok and "beta9 serve" in refused.error_msg
    refused = service.start_endpoint_serve(StartEndpointServeRequest(stub_id="nothing"))
    assert not refused.ok and "does not exist" in refused.error_msg
    refused = api.try_stub(api.upload({"app.py": "x=1"}), "app:handler", stub_type="function/serve")
    assert not refused.ok and "functions are not served" in refused.err_msg
    with pytest.raises(Exception, match="cannot be called as a function"):
        api.call(stub)


def test_attaching_shows_what_a_running_call_writes(api, app):
    gate = app.gate()
    call = api.call(api.stub(WAITING, "app:wait"), str(gate), headless=True).until("in")
    [task] = api.tasks(id=[call.task_id])
    attached = app.launch(
        [sys.executable, "-m", "beta9", "container", "attach", task.container_id], app.directory()
    )
    attached.wait_for("in")
    gate.open()
    done = attached.finish()
    assert done.code == 0 and "the container has ended" in done.stdout


def test_what_is_written_is_found_by_container_and_by_request(serving, api, fleet):
    it = serving(ENDPOINT)
    answers = [it.served.post(json={"name": name}) for name in ("ann", "bob")]
    [container] = it.containers(api)

    def lines(*arguments):
        return [line for line in fleet.beta9("logs", *arguments).stdout.splitlines() if "asked" in line]

    found = eventually(
        lambda: lines("--container-id", container.container_id),
        lambda seen: len(seen) == 2,
        what="the container's output is found",
    )
    assert found == ["asked by ann", "asked by bob"]
    assert lines("--stub-id", it.stub) == found
    for answer, line in zip(answers, found):
        task = answer.headers["X-Task-Id"]
        eventually(
            lambda: lines("--task-id", task), lambda seen: seen == [line], what="and the request's"
        )


def test_a_gateway_that_restarts_ends_it(split, split_app):
    it = start_serving(split_app, split.facts, ENDPOINT)
    it.answers("one")
    split.restart_gateway()
    done = it.program.finish()
    assert done.code == 1 and "gateway" in (done.stdout + done.stderr).lower()
    eventually(lambda: it.containers(split.api), lambda left: not left, what="nothing is left of it")


def test_a_worker_that_is_lost_ends_it_and_says_so(split, split_app):
    it = start_serving(split_app, split.facts, ENDPOINT)
    it.answers("one")
    [worker] = split.workers
    worker.kill()
    done = it.program.finish()
    assert done.code == 1 and "worker" in done.stdout
    assert requests.post(it.served.url, headers=it.served.headers, timeout=30).status_code == 503
