"""What a worker with a GPU costs, and how soon it is of use. The GPU is simulated."""

import statistics
import time
from pathlib import Path
from typing import Any, Dict, List

from beta9.clients.function import FunctionInvokeResponse
from harness import SplitFleet
from measure import RawCaller, memory_mib, summary, wait_until_idle

NOOP = {"app.py": "def noop(*_):\n    return None\n"}
GPU = {"gpu": "MPS", "gpu_count": 1}
DEVICE = ["--simulate-device", "M3-Max"]


def devices(root: Path, count: int) -> Dict[str, Any]:
    """A worker joins while a call waits for its GPU; then calls of stubs that nobody has called."""
    # The default environment is made by a worker that is gone when it counts.
    root.mkdir()
    fleet = SplitFleet(root, METAL9_GATEWAY_ALLOW_SIMULATED_DEVICES="true")
    try:
        fleet.start()
        [plain] = fleet.workers
        waiting = [fleet.api.stub(NOOP, "app:noop", **GPU) for _ in range(3)]
        fleet.api.call(fleet.api.stub(NOOP, "app:noop")).finish()
        fleet.environments = plain.state / "env"
        fleet.remove_worker(plain)
        joins = [_join(fleet, stub) for stub in waiting]
        worker = fleet.add_worker(arguments=DEVICE)
        wait_until_idle(worker.pid)
        idle = memory_mib(worker.pid)
        return {"idle": idle, "joins": joins, "cold": _cold(fleet, worker.pid, count)}
    finally:
        fleet.stop()


def _join(fleet: SplitFleet, stub: str) -> Dict[str, float]:
    """Seconds from the start of `metal9 worker join`, and of `metal9 worker run`, until a call that
    waited for a GPU is accepted."""
    call = fleet.api.call(stub).until("waiting: ")
    begun = time.perf_counter()
    worker = fleet.join_worker(arguments=DEVICE)
    joined = time.perf_counter()
    worker.start()
    fleet.api.wait(call.task_id, "RUNNING", "COMPLETE")
    accepted = time.perf_counter()
    call.finish()
    ended = time.perf_counter()
    fleet.remove_worker(worker)
    return {
        "join_seconds": joined - begun,
        "accepted_seconds": accepted - begun,
        "returned_seconds": ended - begun,
    }


def _cold(fleet: SplitFleet, worker: int, count: int) -> Dict[str, Any]:
    """First calls of stubs that ask for the GPU, without the time that their imports take."""
    api = fleet.api
    overheads: List[float] = []
    imports: List[float] = []
    for _ in range(count):
        caller = RawCaller(fleet.grpc, api.token, api.stub(NOOP, "app:noop", **GPU), False)
        wait_until_idle(worker)
        started = time.perf_counter()
        messages = [FunctionInvokeResponse().parse(data) for data in caller.open()]
        seconds = time.perf_counter() - started
        caller.close()
        phases = api.task(messages[0].task_id)["phases"]
        imported = sum(phase["micros"] for phase in phases if phase["name"] == "import") / 1e6
        imports.append(imported)
        overheads.append(seconds - imported)
    return {**summary(overheads), "import_p50_ms": statistics.median(imports) * 1000}
