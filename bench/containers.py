"""What a container costs: as a process of the machine, under runc and in gVisor, beside the runtimes alone."""

import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

from beta9.clients.function import FunctionInvokeResponse
from beta9.clients.gateway import PoolConfig
from harness import SplitFleet
from measure import RawCaller, summary, wait_until_idle

KINDS = ("native", "runc", "runsc")
NOOP = {"app.py": "def noop(*_):\n    return None\n"}
SHARED = ("/usr", "/bin", "/lib", "/lib64")


def containers(root: Path, count: int) -> Dict[str, Any]:
    """First calls of new stubs, many containers at once, and what the runtime takes for `python3 -c pass`."""
    root.mkdir()
    fleet = SplitFleet(root, workers=0)
    figures: Dict[str, Any] = {}
    try:
        fleet.start()
        for kind in KINDS:
            if kind != "native" and not shutil.which(kind, path="/usr/sbin:/usr/bin"):
                continue
            worker = fleet.add_worker(pool=kind, METAL9_WORKER_RUNTIME=kind)
            fleet.api.call(_stub(fleet, kind)).finish()
            fleet.environments = fleet.environments or worker.state / "env"
            figures[kind] = {
                "spare": _cold(fleet, kind, worker.pid, count, wait=True),
                "no_spare": _cold(fleet, kind, worker.pid, count, wait=False),
                "bare_ms": _bare(root, kind, count) if kind != "native" else _plain(count),
                "at_once": _at_once(fleet, kind, worker.pid, 5 * count),
            }
            fleet.remove_worker(worker)
        return figures
    finally:
        fleet.stop()


def _stub(fleet: SplitFleet, kind: str, **fields: Any) -> str:
    return fleet.api.stub(NOOP, "app:noop", pool=PoolConfig(name=kind), **fields)


def _cold(fleet: SplitFleet, kind: str, worker: int, count: int, wait: bool) -> Dict[str, Any]:
    """First calls; with `wait`, a spare process is there each time."""
    seconds: List[float] = []
    phases: Dict[str, List[float]] = {}
    for _ in range(count):
        caller = RawCaller(fleet.grpc, fleet.api.token, _stub(fleet, kind), False)
        if wait:
            wait_until_idle(worker)
        started = time.perf_counter()
        messages = [FunctionInvokeResponse().parse(data) for data in caller.open()]
        seconds.append(time.perf_counter() - started)
        caller.close()
        assert messages[-1].exit_code == 0, messages[-1]
        for phase in fleet.api.task(messages[0].task_id)["phases"]:
            phases.setdefault(phase["name"], []).append(phase["micros"] / 1000)
    medians = {name: statistics.median(values) for name, values in phases.items()}
    return {**summary(seconds), "phases_p50_ms": medians}


def _at_once(fleet: SplitFleet, kind: str, worker: int, count: int) -> Dict[str, Any]:
    """Calls of as many new stubs at the same moment: each starts a container of its own."""
    wait_until_idle(worker)
    stubs = [_stub(fleet, kind, cpu=10, memory=128) for _ in range(count)]
    started = time.perf_counter()
    calls = [fleet.api.call(stub) for stub in stubs]
    failed = sum(call.finish().exit_code != 0 for call in calls)
    return {"count": count, "failed": failed, "seconds": time.perf_counter() - started}


def _plain(count: int) -> float:
    return _median(["/usr/bin/python3", "-c", "pass"], count)


def _bare(root: Path, kind: str, count: int) -> float:
    """Milliseconds from the runtime's start to its end, for a program that does nothing."""
    bundle = root / f"bare-{kind}"
    (bundle / "rootfs").mkdir(parents=True)
    bind = {"type": "bind", "options": ["rbind", "ro"]}
    mounts = [
        {"destination": path, "source": str(Path(path).resolve()), **bind}
        for path in SHARED
        if Path(path).exists()
    ]
    mounts.insert(0, {"destination": "/proc", "type": "proc", "source": "proc"})
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/usr/bin/python3", "-c", "pass"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")]},
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    flags = ["--ignore-cgroups", "--network=none"] if kind == "runsc" else []
    command = [kind, "--root", str(root / f"state-{kind}"), *flags, "run", "--bundle", str(bundle)]
    return _median(command, count, named=True)


def _median(command: List[str], count: int, named: bool = False) -> float:
    seconds = []
    for number in range(count):
        whole = [*command, f"metal9-bare-{number}"] if named else command
        started = time.perf_counter()
        subprocess.run(whole, check=True, stdin=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000
