"""Ten thousand workers on one gateway: simulated ones, each with a real connection and session."""

import json
import resource
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

import requests
from cases import NOOP, example
from harness import SplitFleet
from measure import RawCaller, descriptors, memory_mib, own_seconds, summary

# Each process of the load and the gateway needs a descriptor per worker and some for itself.
SPARE_DESCRIPTORS = 500


class Load:
    """The program that plays the workers."""

    def __init__(self, fleet: SplitFleet, workers: int):
        self.process = subprocess.Popen(
            [str(example("fleet")), fleet.grpc, _join_token(fleet), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> Dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, "the load program has ended"
        return json.loads(line)

    def ask(self) -> Dict[str, Any]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def _join_token(fleet: SplitFleet) -> str:
    answer = requests.post(
        f"http://{fleet.http}/api/v1/worker/join-tokens",
        json={"pool": "default", "ttl_seconds": 3600, "single_use": False},
        headers={"Authorization": f"Bearer {fleet.facts['token']}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["token"]


def allow_descriptors() -> int:
    """Raises this process's limit, which what it starts inherits; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def scale(root: Path, workers: int, calls: int) -> Dict[str, Any]:
    """Connects the workers, looks at the gateway while they are idle, and calls through them."""
    workers = min(workers, allow_descriptors() - SPARE_DESCRIPTORS)
    fleet = SplitFleet(root)
    fleet.root.mkdir()
    try:
        fleet.start_gateway()
        return _measure(fleet, workers, calls)
    finally:
        fleet.stop()


def _measure(fleet: SplitFleet, workers: int, calls: int) -> Dict[str, Any]:
    gateway = fleet.gateway.pid
    before = memory_mib(gateway)["rss_mib"]
    used = own_seconds(gateway)
    load = Load(fleet, workers)
    try:
        connected = load.answer()
        connecting = own_seconds(gateway) - used
        idle = _idle(gateway, seconds=15)
        resident = memory_mib(gateway)["rss_mib"]
        stub = fleet.api.stub(NOOP, "app:noop", timeout=60)
        latencies = _calls(fleet, stub, calls)
        at_once = _at_once(fleet, stub, calls)
        after = load.ask()
        files = descriptors(gateway)
    finally:
        load.stop()
    return {
        "workers": workers,
        "connected": connected["connected"],
        "connect_seconds": connected["seconds"],
        "connect_processor_ms_per_worker": connecting * 1000 / workers,
        "idle_processor_percent": idle * 100,
        "rss_mib_before": before,
        "rss_mib": resident,
        "kib_per_session": (resident - before) * 1024 / workers,
        "descriptors": files,
        "calls": summary(latencies),
        "calls_at_once_per_second": at_once,
        "still_connected": after["connected"],
        "lost": after["lost"],
    }


def _idle(gateway: int, seconds: float) -> float:
    """The share of one core that the gateway needs for heartbeats."""
    started, used = time.perf_counter(), own_seconds(gateway)
    time.sleep(seconds)
    return (own_seconds(gateway) - used) / (time.perf_counter() - started)


def _calls(fleet: SplitFleet, stub: str, count: int) -> List[float]:
    caller = RawCaller(fleet.grpc, fleet.api.token, stub)
    seconds = [caller.call() for _ in range(count)]
    caller.close()
    return seconds


def _at_once(fleet: SplitFleet, stub: str, count: int) -> float:
    caller = RawCaller(fleet.grpc, fleet.api.token, stub, headless=True)
    started = time.perf_counter()
    streams = [caller.open() for _ in range(count)]
    for stream in streams:
        for _ in stream:
            pass
    rate = count / (time.perf_counter() - started)
    caller.close()
    return rate
