"""Figures: percentiles, memory, processor time, and raw calls that cost the client next to nothing."""

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Dict, Iterator, List

import cloudpickle
import grpc
from beta9.clients.function import FunctionInvokeRequest
from harness import eventually

INVOKE = "/function.FunctionService/FunctionInvoke"
TICKS = os.sysconf("SC_CLK_TCK")


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


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def own_seconds(pid: int) -> float:
    """Processor time of one process, in seconds; does not depend on what else runs."""
    return _seconds(pid, 11)


def _seconds(pid: int, first: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(stat[first]) + int(stat[first + 1])) / TICKS


def below(pid: int) -> Iterator[int]:
    """Every process below one."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{thread}/children").read_text() for thread in threads]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in [int(word) for text in texts for word in text.split()]:
        yield child
        yield from below(child)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and of all that is or was below it, in seconds."""
    # The second pair of numbers is that of children that have ended.
    pids = [pid, *below(pid)]
    return sum(_seconds(each, 11) + _seconds(each, 13) for each in pids)


def wait_until_idle(pid: int, looks: int = 12) -> None:
    """Waits until a process and all below it have done next to nothing for some looks in a row."""
    last, still = processor_seconds(pid), 0

    def look() -> int:
        nonlocal last, still
        used = processor_seconds(pid)
        still = still + 1 if used - last <= 1.5 / TICKS else 0
        last = used
        return still

    eventually(look, lambda still: still >= looks, what="the worker is idle", within=60)


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
