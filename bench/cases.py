"""What is measured with one gateway and one worker."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

from beta9.clients.function import FunctionInvokeResponse
from harness import App, SplitFleet
from measure import (
    RawCaller,
    memory_mib,
    own_seconds,
    processor_seconds,
    summary,
    wait_until_idle,
)

HERE = Path(__file__).resolve().parent
NOOP = {"app.py": "def noop(*_):\n    return None\n"}


class Bench:
    """A fleet to be measured, and how much of everything is to be done."""

    def __init__(self, fleet: SplitFleet, directory: Path, quick: bool):
        self.fleet = fleet
        self.directory = directory
        self.quick = quick
        self.stub = fleet.api.stub(NOOP, "app:noop", timeout=60)
        fleet.api.call(self.stub).finish()

    def count(self, full: int) -> int:
        return max(1, full // 10) if self.quick else full

    @property
    def worker(self) -> int:
        return self.fleet.workers[0].pid

    def caller(self, stub: str = "", headless: bool = False) -> RawCaller:
        fleet = self.fleet
        return RawCaller(fleet.grpc, fleet.api.token, stub or self.stub, headless)

    def seconds(self) -> Dict[str, float]:
        """Processor time so far, by part of the system."""
        worker = own_seconds(self.worker)
        return {
            "gateway": own_seconds(self.fleet.gateway.pid),
            "worker": worker,
            "jobs": processor_seconds(self.worker) - worker,
        }

    def memory(self) -> Dict[str, Any]:
        return {
            "gateway": memory_mib(self.fleet.gateway.pid),
            "worker": memory_mib(self.worker),
        }


def per_call(before: Dict[str, float], after: Dict[str, float], calls: int) -> Dict[str, float]:
    """Milliseconds of processor time per call."""
    return {name: (after[name] - before[name]) * 1000 / calls for name in after}


def api(bench: Bench) -> Dict[str, Any]:
    """Warm calls of the API, one after the other. Several rounds: the best one was disturbed least."""
    caller = bench.caller()
    wait_until_idle(bench.worker)
    for _ in range(50):
        caller.call()
    rounds, before, client = [], bench.seconds(), time.process_time()
    count = bench.count(1000)
    for _ in range(5):
        rounds.append(summary([caller.call() for _ in range(count)]))
    used = per_call(before, bench.seconds(), 5 * count)
    used["client"] = (time.process_time() - client) * 1000 / (5 * count)
    caller.close()
    rounds.sort(key=lambda figures: figures["p50_ms"])
    middle = rounds[len(rounds) // 2]
    return {
        "best": rounds[0],
        "median": middle,
        "rounds": rounds,
        "processor_ms_per_call": used,
        "floor": {"client": _client_alone(bench, count), "disk": _disk_alone(bench, count)},
    }


@contextmanager
def null_functions() -> Iterator[str]:
    """A server that answers every call at once and does nothing else; gives its address."""
    null = subprocess.Popen(
        [str(example("null_functions"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield null.stdout.readline().strip()
    finally:
        null.stdin.close()
        null.wait(10)


def _client_alone(bench: Bench, count: int) -> Dict[str, float]:
    """The same calls of a server that does nothing: what client, gRPC and loopback take."""
    with null_functions() as address:
        caller = RawCaller(address, bench.fleet.api.token, bench.stub)
        try:
            return summary([caller.call() for _ in range(50 + count)][50:])
        finally:
            caller.close()


def _disk_alone(bench: Bench, count: int) -> Dict[str, float]:
    """One wait for the disk with about as many pages as a commit has, where the state is kept."""
    seconds = []
    with tempfile.TemporaryFile(dir=bench.directory) as file:
        for _ in range(count):
            os.write(file.fileno(), bytes(9 * 4120))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return summary(seconds)


def cold(bench: Bench) -> Dict[str, Any]:
    """Calls of stubs that nobody has called, with the environment and nothing else in place."""
    return {
        "spare": _cold_calls(bench, bench.count(20), wait=True),
        "in_a_row": _cold_calls(bench, bench.count(20), wait=False),
        "bursts": [_burst(bench, 4) for _ in range(3)],
    }


def _cold_calls(bench: Bench, count: int, wait: bool) -> Dict[str, Any]:
    """With `wait`, the worker has the time before each call to start the process it keeps ready."""
    seconds: List[float] = []
    phases: Dict[str, List[float]] = {}
    api = bench.fleet.api
    for _ in range(count):
        caller = bench.caller(api.stub(NOOP, "app:noop"))
        if wait:
            wait_until_idle(bench.worker)
        started = time.perf_counter()
        messages = [FunctionInvokeResponse().parse(data) for data in caller.open()]
        seconds.append(time.perf_counter() - started)
        caller.close()
        told = {
            phase["name"]: phase["micros"] / 1000
            for phase in api.task(messages[0].task_id)["phases"]
        }
        told["in no phase"] = seconds[-1] * 1000 - sum(told.values())
        for name, millis in told.items():
            phases.setdefault(name, []).append(millis)
    medians = {name: statistics.median(values) for name, values in phases.items()}
    return {**summary(seconds), "phases_p50_ms": medians}


def _burst(bench: Bench, count: int) -> Dict[str, float]:
    """First calls of several stubs at the same moment."""
    callers = [bench.caller(bench.fleet.api.stub(NOOP, "app:noop")) for _ in range(count)]
    wait_until_idle(bench.worker)
    seconds = [0.0] * count

    def call(number: int) -> None:
        seconds[number] = callers[number].call()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for caller in callers:
        caller.close()
    return summary(seconds)


def spawn(bench: Bench) -> Dict[str, Any]:
    """Starts calls without waiting; how fast they are accepted and done, and whether all are."""
    count = bench.count(1000)
    caller = bench.caller(headless=True)
    before = bench.seconds()
    started = time.perf_counter()
    streams = [caller.open() for _ in range(count)]
    registered = [FunctionInvokeResponse().parse(next(stream)).task_id for stream in streams]
    accepted = time.perf_counter() - started
    complete = 0
    for stream in streams:
        last = None
        for last in stream:
            pass
        message = FunctionInvokeResponse().parse(last) if last else FunctionInvokeResponse()
        complete += message.done and message.exit_code == 0
    done = time.perf_counter() - started
    used = per_call(before, bench.seconds(), count)
    caller.close()
    return {
        "count": count,
        "ids": len(set(registered)),
        "complete": complete,
        "accepted_per_second": count / accepted,
        "done_per_second": count / done,
        "processor_ms_per_call": used,
    }


def sdk(bench: Bench) -> Dict[str, Any]:
    """What a program that uses the SDK sees, and what the SDK costs by itself."""
    root = bench.directory / "programs"
    root.mkdir(exist_ok=True)
    app, out = App(root, bench.fleet.config), bench.directory / "sdk.json"
    project = app.directory()
    shutil.copy(HERE / "programs" / "sdk_calls.py", project)
    counts = {"remote": bench.count(500), "map": bench.count(1000), "steps": bench.count(40)}
    with null_functions() as address:
        command = [sys.executable, "sdk_calls.py", str(out), *map(str, counts.values()), address]
        before = bench.seconds()
        done = app.launch(command, project).finish(within=600)
        assert done.code == 0, done
        used = bench.seconds()
    raw = json.loads(out.read_text())
    calls = sum(raw["calls"].values())
    figures = digest(raw, counts)
    figures["processor_ms_per_call"] = {
        **per_call(before, used, calls),
        "client": raw["map_processor"] * 1000 / counts["map"],
    }
    figures["alone"] = {
        "per_second": counts["map"] / raw["null_map"],
        "processor_ms_per_call": raw["null_map_processor"] * 1000 / counts["map"],
    }
    return figures


def digest(raw: Dict[str, Any], counts: Dict[str, int]) -> Dict[str, Any]:
    """Figures of a program's raw times."""
    return {
        "remote": summary(raw["remote"]),
        "map": {"count": counts["map"], "per_second": counts["map"] / raw["map"]},
        "steps": {"count": counts["steps"], "seconds": raw["steps"]},
    }


def example(name: str) -> Path:
    """A program of the workspace that is built beside the binary."""
    path = Path(os.environ["METAL9_BIN"]).resolve().parent / "examples" / name
    assert path.exists(), f"{path} is missing: cargo build --release -p metal9-testkit --examples"
    return path
