"""Web applications: `@asgi`."""

import json
import threading

import pytest
import requests

from harness import eventually, serve

APPLICATION = """
import asyncio, hashlib, os
from beta9 import asgi

@asgi(concurrent_requests=32, keep_warm_seconds=30)
def handler(context):
    from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
    from starlette.responses import StreamingResponse

    state = {"started": False, "cancelled": 0}

    async def lifespan(app):
        state["started"] = True
        yield

    import contextlib
    app = FastAPI(lifespan=contextlib.asynccontextmanager(lifespan))

    @app.api_route("/echo/{rest:path}", methods=["GET", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request, rest: str):
        return {
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.url.query,
            "headers": dict(request.headers),
            "client": request.client.host,
            "scheme": request.url.scheme,
            "started": state["started"],
            "pid": os.getpid(),
        }

    @app.get("/page")
    async def page():
        return Response("<h1>gone</h1>", status_code=404, media_type="text/html")

    @app.post("/upload")
    async def upload(request: Request):
        digest, size = hashlib.sha256(), 0
        async for piece in request.stream():
            digest.update(piece)
            size += len(piece)
        return {"size": size, "sha256": digest.hexdigest()}

    @app.get("/download")
    async def download(size: int):
        async def pieces():
            left = size
            while left > 0:
                piece = b"x" * min(left, 65536)
                left -= len(piece)
                yield piece
        return StreamingResponse(pieces(), media_type="application/octet-stream")

    @app.get("/events")
    async def events(gate: str):
        async def lines():
            yield "data: one\\n\\n"
            await asyncio.to_thread(lambda: open(gate).read())
            yield "data: two\\n\\n"
        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/hang")
    async def hang(sign: str):
        open(sign + ".begun", "w").close()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            open(sign + ".cancelled", "w").close()
            raise

    @app.get("/raise")
    async def fail():
        raise RuntimeError("broken")

    @app.get("/die")
    async def die():
        os._exit(3)

    @app.get("/cookies")
    async def cookies():
        response = Response("ok")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.websocket("/ws/{room}")
    async def chat(socket: WebSocket, room: str):
        await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
        await socket.send_json({"room": room, "task": socket.headers.get("x-task-id")})
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                if message.get("text") == "die":
                    os._exit(3)
                if message.get("text") == "leave":
                    await socket.close(4001, "bye")
                    break
                if message.get("bytes") is not None:
                    await socket.send_bytes(message["bytes"])
                else:
                    await socket.send_text(message["text"])
        except WebSocketDisconnect:
            pass

    return app
"""


@pytest.fixture(scope="module")
def web(fleet, shared_app):
    """A web application that is called in most of these tests."""
    return serve(shared_app, fleet.facts, APPLICATION)


def test_method_path_and_query_arrive_as_they_were_written(web):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        seen = web.request(method, "/echo/a%2Fb/c?x=1&x=2&y=%20").json()
        assert (seen["method"], seen["path"]) == (method, "/echo/a%2Fb/c")
        assert seen["query"] == "x=1&x=2&y=%20"
        assert seen["started"] is True


def test_the_container_learns_who_asked_and_not_the_token(web):
    answer = web.get("/echo/", headers={**web.headers, "X-Mine": "1", "X-Forwarded-For": "6.6.6.6"})
    headers = answer.json()["headers"]
    assert headers["x-task-id"] == answer.headers["X-Task-Id"]
    assert headers["x-mine"] == "1" and headers["x-forwarded-for"] == "127.0.0.1"
    assert answer.json()["client"] == "127.0.0.1" and answer.json()["scheme"] == "http"
    assert "authorization" not in headers


def test_an_answer_passes_as_it_is(web):
    page = web.get("/page")
    assert (page.status_code, page.text) == (404, "<h1>gone</h1>")
    assert page.headers["content-type"].startswith("text/html")
    cookies = web.get("/cookies")
    assert {c.name: c.value for c in cookies.cookies} == {"a": "1", "b": "2"}
    assert web.request("HEAD", "/download?size=5").status_code == 405
    assert web.get("/health").status_code == 200


def test_an_exception_is_a_500_and_the_task_an_error(web, api):
    answer = web.get("/raise")
    assert answer.status_code == 500
    eventually(
        lambda: api.tasks(id=[answer.headers["X-Task-Id"]]),
        lambda tasks: tasks and tasks[0].status == "ERROR",
        what="the task is an error",
    )


def test_large_bodies_go_both_ways(web):
    def pieces():
        for _ in range(64):
            yield b"y" * (1 << 20)

    answer = web.post("/upload", data=pieces())
    assert answer.json()["size"] == 64 << 20
    whole = web.get("/download?size=50000000")
    assert len(whole.content) == 50_000_000


def test_events_arrive_as_they_are_sent(web, app):
    gate = app.gate()
    with web.get("/events", params={"gate": str(gate)}, stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"data: one"
        gate.open()
        assert [line for line in lines if line] == [b"data: two"]


def test_a_client_that_leaves_cancels_its_request(web, api, tmp_path):
    sign = tmp_path / "sign"
    session = requests.Session()
    answer = {}

    def ask():
        try:
            session.get(web.url + "/hang", params={"sign": str(sign)}, headers=web.headers, timeout=(10, 2))
        except requests.exceptions.ReadTimeout as error:
            answer["error"] = error

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: (tmp_path / "sign.begun").exists(), what="the request has begun", within=60)
    thread.join()
    assert answer["error"]
    eventually(lambda: (tmp_path / "sign.cancelled").exists(), what="it is cancelled")
    eventually(
        lambda: api.tasks(**{"stub-id": [web.stub], "status": ["CANCELLED"]}),
        what="the task is cancelled",
    )
    assert web.get("/echo/").status_code == 200


def test_websockets_carry_texts_and_bytes_and_how_they_were_closed(web):
    with web.socket("/ws/lobby", subprotocols=["chat"]) as ws:
        first = json.loads(ws.recv())
        assert first["room"] == "lobby" and first["task"] == ws.response.headers["X-Task-Id"]
        assert ws.subprotocol == "chat"
        ws.send("hello")
        assert ws.recv() == "hello"
        ws.send(b"\x00" * 300_000)
        assert ws.recv() == b"\x00" * 300_000
        ws.send("leave")
        with pytest.raises(Exception) as closed:
            ws.recv()
        assert closed.value.rcvd.code == 4001


def test_a_websocket_is_one_task_as_long_as_it_lasts(web, api):
    with web.socket("/ws/x") as ws:
        task = json.loads(ws.recv())["task"]
        eventually(
            lambda: api.tasks(id=[task]),
            lambda tasks: tasks and tasks[0].status == "RUNNING",
            what="the task runs",
        )
    eventually(
        lambda: api.tasks(id=[task]),
        lambda tasks: tasks[0].status == "COMPLETE",
        what="the task is complete",
    )


def test_a_websocket_whose_container_dies_is_no_success(web, api):
    with web.socket("/ws/x") as ws:
        task = json.loads(ws.recv())["task"]
        ws.send("die")
        with pytest.raises(Exception):
            ws.recv()
    eventually(
        lambda: api.tasks(id=[task]),
        lambda tasks: tasks[0].status == "ERROR",
        what="the task is an error",
    )
    assert "the container ended: " in api.task(task)["failure_reason"]


def test_a_websocket_without_a_token_is_refused(web):
    with pytest.raises(Exception) as refused:
        web.socket("/ws/x", additional_headers={})
    assert refused.value.response.status_code == 401


def test_a_request_whose_container_dies_is_a_502_and_the_next_gets_another(web):
    before = web.get("/echo/").json()["pid"]
    # Made twice, since nothing says that it changed something.
    died = web.get("/die")
    assert died.status_code == 502 and "the container ended: " in died.json()["error"]
    after = web.get("/echo/").json()["pid"]
    assert after != before


def test_a_task_of_a_request_can_be_stopped(web, api, fleet, tmp_path):
    sign = tmp_path / "stopped"
    before = {task.id for task in api.tasks(**{"stub-id": [web.stub]})}
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(web.get("/hang", params={"sign": str(sign)}))
    )
    thread.start()
    # A request counts as running from when it has a place, which may be a container that has just died.
    eventually(lambda: (tmp_path / "stopped.begun").exists(), what="the request has begun", within=60)
    [task] = eventually(
        lambda: [
            task
            for task in api.tasks(**{"stub-id": [web.stub], "status": ["RUNNING"]})
            if task.id not in before
        ],
        what="the request runs",
    )
    fleet.beta9("task", "stop", task.id)
    thread.join()
    assert answers[0].status_code == 503 and "cancelled" in answers[0].json()["error"]
    eventually(lambda: (tmp_path / "stopped.cancelled").exists(), what="it is cancelled")


def test_realtime_answers_every_message(app, fleet):
    served = serve(
        app,
        fleet.facts,
        """
        from beta9 import realtime

        @realtime()
        def handler(message):
            yield "heard " + message
            yield {"length": len(message)}
        """,
    )
    with served.socket("") as ws:
        assert json.loads(ws.recv()) == {"type": "ping"}
        ws.send("hello")
        assert ws.recv() == "heard hello"
        assert json.loads(ws.recv()) == {"length": 5}


def test_what_is_no_application_is_told(app, fleet):
    served = serve(
        app,
        fleet.facts,
        """
        from beta9 import asgi

        @asgi()
        def handler():
            return 7
        """,
    )
    answer = served.get("/")
    assert answer.status_code == 500 and "ASGI application" in answer.json()["error"]
