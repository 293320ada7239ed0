"""Load for a long time: does anything grow that should not?"""

import csv
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from beta9.clients.function import FunctionInvokeResponse
from cases import Bench
from chart import chart
from measure import descriptors, memory_mib, percentile

# Calls that are open at a time.
CALLERS = 8
# The first part of the time, in which caches fill and allocators settle.
WARM_UP = 0.25
# Growth that is taken for a leak, per hour of this load.
MIB_PER_HOUR = 2.0
DESCRIPTORS_PER_HOUR = 4.0
# A shorter look says too little to judge.
SHORTEST_VERDICT = 240.0

Samples = Dict[str, List[Tuple[float, float]]]


class Callers:
    """Calls at an even rate, from several threads."""

    def __init__(self, bench: Bench, calls: int, seconds: float):
        self.bench, self.calls, self.seconds = bench, calls, seconds
        self.lock = threading.Lock()
        self.started = time.perf_counter()
        self.issued = self.complete = 0
        self.failures: List[str] = []
        self.latencies: List[float] = []
        self.threads = [threading.Thread(target=self._run) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _next(self) -> bool:
        with self.lock:
            if self.issued >= self.calls:
                return False
            due = self.started + self.seconds * self.issued / self.calls
            self.issued += 1
        time.sleep(max(0.0, due - time.perf_counter()))
        return True

    def _run(self) -> None:
        caller = self.bench.caller()
        while self._next():
            started, last = time.perf_counter(), None
            try:
                for last in caller.open():
                    pass
                message = FunctionInvokeResponse().parse(last)
                failure = "" if message.done and message.exit_code == 0 else str(message)
            except Exception as error:
                failure = repr(error)
            with self.lock:
                self.latencies.append(time.perf_counter() - started)
                self.complete += not failure
                if failure:
                    self.failures.append(failure)
        caller.close()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)


def soak(bench: Bench, minutes: float, calls: int, out: Path) -> Dict[str, Any]:
    """Spreads `calls` over `minutes` and samples memory and open files of gateway and worker."""
    out.mkdir(parents=True, exist_ok=True)
    processes = {"gateway": bench.fleet.gateway.pid, "worker": bench.worker}
    samples: Samples = {}
    seconds = minutes * 60
    callers = Callers(bench, calls, seconds)
    pause = max(0.5, min(5.0, seconds / 400))
    while callers.running:
        at = time.perf_counter() - callers.started
        for name, pid in processes.items():
            samples.setdefault(f"{name} MiB", []).append((at, memory_mib(pid)["rss_mib"]))
            samples.setdefault(f"{name} files", []).append((at, float(descriptors(pid))))
        time.sleep(pause)
    took = time.perf_counter() - callers.started
    _write(out / "soak.csv", samples)
    memory = {name: points for name, points in samples.items() if name.endswith("MiB")}
    chart(out / "soak-memory.svg", f"{callers.complete:,} calls: resident memory", "MiB", memory)
    files = {name: points for name, points in samples.items() if name.endswith("files")}
    chart(out / "soak-files.svg", f"{callers.complete:,} calls: open files", "files", files)
    growth = {name: per_hour(points) for name, points in samples.items()}
    return {
        "calls": callers.issued,
        "complete": callers.complete,
        "failures": callers.failures[:5],
        "seconds": took,
        "calls_per_second": callers.complete / took,
        "p50_ms": percentile(callers.latencies, 0.5) * 1000,
        "p99_ms": percentile(callers.latencies, 0.99) * 1000,
        "growth_per_hour": growth,
        "last": {name: points[-1][1] for name, points in samples.items()},
        "grows": grows(growth, took),
        "files": [str(path) for path in sorted(out.glob("soak*"))],
    }


def per_hour(points: List[Tuple[float, float]]) -> float:
    """The slope after the warm-up, by least squares."""
    kept = [point for point in points if point[0] >= points[-1][0] * WARM_UP]
    if len(kept) < 2:
        return 0.0
    middle = sum(at for at, _ in kept) / len(kept)
    mean = sum(value for _, value in kept) / len(kept)
    spread = sum((at - middle) ** 2 for at, _ in kept)
    slope = sum((at - middle) * (value - mean) for at, value in kept) / spread if spread else 0.0
    return slope * 3600


def grows(growth: Dict[str, float], seconds: float) -> List[str]:
    """What grew faster than it may; nothing if the time was too short to tell."""
    if seconds < SHORTEST_VERDICT:
        return []
    limits = {"MiB": MIB_PER_HOUR, "files": DESCRIPTORS_PER_HOUR}
    return [name for name, slope in growth.items() if slope > limits[name.split()[1]]]


def _write(path: Path, samples: Samples) -> None:
    names = list(samples)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", *names])
        for row in zip(*samples.values()):
            writer.writerow([f"{row[0][0]:.1f}", *(f"{value:.2f}" for _, value in row)])
