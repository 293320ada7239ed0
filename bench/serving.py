"""Requests: what answers HTTP, beside the same function behind uvicorn and FastAPI alone."""

import http.client
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

import websocket
from cases import Bench
from harness import App, Served, eventually, serve
from harness.split import free_port
from measure import memory_mib, summary, wait_until_idle

HERE = Path(__file__).resolve().parent
POST = HERE / "programs" / "post.lua"
CONNECTIONS = 32
PIECE = b"\0" * (1 << 20)

ENDPOINT = """
from beta9 import endpoint, QueueDepthAutoscaler

@endpoint(cpu=0.1, keep_warm_seconds=600, max_pending_tasks=1000,
          autoscaler=QueueDepthAutoscaler(max_containers=2))
def handler(name="nobody"):
    return {"hello": name}
"""

APPLICATION = """
from beta9 import asgi

@asgi(cpu=0.1, keep_warm_seconds=600, concurrent_requests=10)
def handler(context):
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})
            return
        size, more = 0, True
        while more:
            event = await receive()
            size += len(event.get("body", b""))
            more = event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    return app
"""


def served(bench: Bench, source: str) -> Served:
    """A stub that answers requests, which has not been asked anything."""
    fleet = bench.fleet
    facts = {"http": fleet.http, "token": fleet.facts["token"]}
    place = bench.directory / "served"
    place.mkdir(exist_ok=True)
    app = App(place, fleet.config)
    try:
        return serve(app, facts, source)
    finally:
        app.close()


def endpoint(bench: Bench) -> Dict[str, Any]:
    """An endpoint that returns JSON in two containers, and the same function without metal9."""
    ours = served(bench, ENDPOINT)
    answer = ours.post(json={"name": "Ada"})
    assert answer.json() == {"hello": "Ada"}, answer.text
    seconds = bench.count(20)
    # Enough at a time for the second container, and then for both to be warm.
    load(ours.url, ours.token, 3)
    before = bench.seconds()
    figures = {"ours": load(ours.url, ours.token, seconds)}
    after = bench.seconds()
    count = figures["ours"]["requests"]
    figures["processor_ms_per_request"] = {
        name: (after[name] - before[name]) * 1000 / count for name in after
    }
    wait_until_idle(bench.worker)
    for name in ("plain", "unthreaded"):
        with uvicorn(name) as url:
            load(url, "", 2)
            figures[name] = load(url, "", seconds)
    figures["ratio"] = figures["ours"]["per_second"] / figures["plain"]["per_second"]
    return figures


@contextmanager
def uvicorn(name: str) -> Iterator[str]:
    """The application `name` of `programs/fastapi_app.py` in two processes; gives its address."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", f"fastapi_app:{name}", "--port", str(port)),
        *("--workers", "2", "--log-level", "error", "--no-access-log"),
    ]
    running = subprocess.Popen(command, cwd=HERE / "programs")
    try:
        eventually(lambda: _answers(port), what="uvicorn answers", within=30)
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.terminate()
        running.wait(20)


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/", "{}", {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False


def load(url: str, token: str, seconds: int) -> Dict[str, Any]:
    """What `wrk` gets out of an address that takes JSON."""
    wrk = shutil.which("wrk")
    assert wrk, "wrk is needed: apt-get install wrk"
    command = [
        *(wrk, "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"),
        *("--timeout", "20s", "--latency", "--script", str(POST)),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return read_wrk(done.stdout)


def read_wrk(told: str) -> Dict[str, Any]:
    """The figures in what `wrk --latency` prints."""
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}

    def at(share: str) -> float:
        value, unit = re.search(rf"^\s*{share}%\s+([\d.]+)(\w+)", told, re.M).groups()
        return float(value) * units[unit]

    failed = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", told))
    for line in re.findall(r"Socket errors: (.*)", told):
        failed += sum(int(count) for count in re.findall(r"\d+", line))
    return {
        "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", told).group(1)),
        "requests": int(re.search(r"(\d+) requests in", told).group(1)),
        "p50_ms": at("50"),
        "p99_ms": at("99"),
        "failed": failed,
    }


def application(bench: Bench) -> Dict[str, Any]:
    """A web application: WebSocket messages there and back, and an upload that is not kept."""
    app = served(bench, APPLICATION)
    assert app.post(data=b"12345").text == "5"
    return {"echo": _echo(bench, app), "upload": _upload(bench, app)}


def _echo(bench: Bench, app: Served) -> Dict[str, float]:
    socket = websocket.create_connection(
        app.url.replace("http://", "ws://"), header=dict(app.headers), timeout=20
    )
    seconds: List[float] = []
    for number in range(50 + bench.count(2000)):
        started = time.perf_counter()
        socket.send(str(number))
        assert socket.recv() == str(number)
        seconds.append(time.perf_counter() - started)
    socket.close()
    return summary(seconds[50:])


class Watch:
    """The most memory that gateway and worker have while something goes on."""

    def __init__(self, bench: Bench):
        self.pids = {"gateway": bench.fleet.gateway.pid, "worker": bench.worker}
        self.before = self.look()
        self.most = dict(self.before)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def look(self) -> Dict[str, float]:
        return {name: memory_mib(pid)["rss_mib"] for name, pid in self.pids.items()}

    def _run(self) -> None:
        while not self.ended.wait(0.05):
            for name, mib in self.look().items():
                self.most[name] = max(self.most[name], mib)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        self.thread.join()

    def growth(self) -> Dict[str, float]:
        return {name: self.most[name] - self.before[name] for name in self.pids}


def _upload(bench: Bench, app: Served) -> Dict[str, Any]:
    mib = bench.count(1024)
    host, _, port = app.host.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=300)
    with Watch(bench) as watch:
        started = time.perf_counter()
        pieces = (PIECE for _ in range(mib))
        connection.request("POST", app.path, pieces, dict(app.headers), encode_chunked=True)
        said = connection.getresponse().read()
        seconds = time.perf_counter() - started
    assert int(said) == mib << 20, said
    return {
        "mib": mib,
        "mib_per_second": mib / seconds,
        "growth_mib": watch.growth(),
        "most_mib": watch.most,
    }


def first_byte(bench: Bench) -> Dict[str, Any]:
    """The first request of new endpoints; the environment is on disk and nothing else."""
    seconds: List[float] = []
    for number in range(bench.count(20)):
        stub = served(bench, ENDPOINT.replace("nobody", f"nobody {number}"))
        wait_until_idle(bench.worker)
        host, _, port = stub.host.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.connect()
        headers = {**stub.headers, "Content-Type": "application/json"}
        started = time.perf_counter()
        connection.request("POST", stub.path, "{}", headers)
        answer = connection.getresponse()
        seconds.append(time.perf_counter() - started)
        assert answer.status == 200, answer.read()
        connection.close()
    return {**summary(seconds), "mean_ms": statistics.mean(seconds) * 1000}
