"""Figures: percentiles, memory, and raw calls that cost the client next to nothing."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Dict, List

import cloudpickle
import grpc
from beta9.clients.function import FunctionInvokeRequest
from harness import eventually

INVOKE = "/function.FunctionService/FunctionInvoke"


def percentile(values: List[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(seconds: List[float]) -> Dict[str, float]:
    """Percentiles of a list of times, in milliseconds."""
    return {
        "count": len(seconds),
        "p50_ms": percentile(seconds, 0.50) * 1000,
        "p99_ms": percentile(seconds, 0.99) * 1000,
        "max_ms": max(seconds) * 1000,
    }


def memory_mib(pid: int) -> Dict[str, float]:
    """Resident and proportional memory of one process."""
    figures = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        figures[name.rstrip(":")] = int(value) / 1024
    return {"rss_mib": figures["Rss"], "pss_mib": figures["Pss"]}


def processor_ticks(pid: int) -> int:
    """Processor time of a process and all below it, in the kernel's ticks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat[11]) + int(stat[12]) + sum(processor_ticks(int(child)) for child in below)


def wait_until_idle(pid: int, looks: int = 12) -> None:
    """Waits until a process and all below it have done next to nothing for some looks in a row."""
    last, still = processor_ticks(pid), 0

    def look() -> int:
        nonlocal last, still
        ticks = processor_ticks(pid)
        still = still + 1 if ticks - last <= 1 else 0
        last = ticks
        return still

    eventually(look, lambda still: still >= looks, what="the worker is idle", within=30)


class RawCaller:
    """Calls one stub with a prepared message over a plain channel; answers stay bytes."""

    def __init__(self, address: str, token: str, stub_id: str, headless: bool = False):
        self.metadata = (
            ("authorization", f"Bearer {token}"),
            ("x-beta9-caller", "cli/" + version("beta9")),
            ("x-beta9-task-id", ""),
            ("x-beta9-log-offset", "0"),
        )
        arguments = cloudpickle.dumps({"args": (), "kwargs": {}})
        request = FunctionInvokeRequest(stub_id=stub_id, args=arguments, headless=headless)
        self.message = bytes(request)
        self.channel = grpc.insecure_channel(address)
        self.method = self.channel.unary_stream(INVOKE, _same, _same)

    def open(self):
        """Starts a call; returns its stream."""
        return self.method(self.message, metadata=self.metadata)

    def call(self) -> float:
        """Seconds from request to the end of the answer."""
        started = time.perf_counter()
        for _ in self.open():
            pass
        return time.perf_counter() - started

    def close(self) -> None:
        self.channel.close()


def _same(data: bytes) -> bytes:
    return data
