"""Measures metal9 on this machine. See README.md.

    python bench/run.py [--only NAME]... [--quick] [--json FILE]
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Callable, Dict

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
# What the end-to-end tests start the system with serves here as well.
sys.path[:0] = [str(HERE), str(REPOSITORY / "tests" / "e2e")]
os.environ.setdefault("METAL9_BIN", str(REPOSITORY / "target" / "release" / "metal9"))
os.environ.setdefault("METAL9_LOG", "warn")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Inherited, it would make what is measured compile its modules again and again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import cases
import queues
import serving
from cases import Bench, digest
from containers import containers
from decisions import decisions
from devices import devices
from harness import SplitFleet
from measure import memory_mib
from scale import scale
from soak import soak
from table import show
from volumes import volumes

RAY = "ray==2.60.0"
FLEET_CASES: Dict[str, Callable[[Bench], Dict[str, Any]]] = {
    "cold": cases.cold,
    "api": cases.api,
    "spawn": cases.spawn,
    "sdk": cases.sdk,
    "endpoint": serving.endpoint,
    "application": serving.application,
    "first_byte": serving.first_byte,
}
APART = ("queues", "devices", "containers", "volumes", "ray", "celery", "scale", "soak")
CASES = ("core", *FLEET_CASES, *APART)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=CASES, help="measure this; all but soak by default"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "target" / "bench" / "bench.json")
    parser.add_argument("--ray-venv", type=Path, default=REPOSITORY / "target" / "bench" / "ray")
    parser.add_argument(
        "--celery-venv", type=Path, default=REPOSITORY / "target" / "bench" / "celery"
    )
    parser.add_argument("--workers", type=int, default=10_000, help="of scale")
    parser.add_argument("--minutes", type=float, default=30, help="of soak")
    parser.add_argument("--calls", type=int, default=100_000, help="of soak")
    return parser.parse_args()


def main() -> None:
    asked = options()
    wanted = set(asked.only or CASES) - (set() if asked.only else {"soak"})
    report: Dict[str, Any] = {"machine": machine(), "failed": {}}
    with tempfile.TemporaryDirectory(prefix="metal9-bench-") as directory:
        root = Path(directory)
        if "core" in wanted:
            say("the scheduler alone")
            attempt(report, "core", lambda: report.update(core=decisions(asked.quick)))
        if wanted & {*FLEET_CASES, "soak"}:
            attempt(report, "fleet", lambda: with_fleet(report, wanted, asked, root))
        calls = 1_000 if asked.quick else 10_000
        if "queues" in wanted:
            say(f"a queue of {calls} calls, and again with workers that are killed")
            run = lambda: report.update(queues=queues.queues(root / "queues", calls))
            attempt(report, "queues", run)
        if "celery" in wanted:
            say("celery")
            run = lambda: report.update(
                celery=queues.celery(asked.celery_venv, root / "celery", calls, find_uv())
            )
            attempt(report, "celery", run)
        if "devices" in wanted:
            say("a worker with a simulated GPU")
            count = 5 if asked.quick else 20
            run = lambda: report.update(devices=devices(root / "devices", count))
            attempt(report, "devices", run)
        if "containers" in wanted:
            say("containers of each kind")
            count = 5 if asked.quick else 20
            run = lambda: report.update(containers=containers(root / "containers", count))
            attempt(report, "containers", run)
        if "volumes" in wanted:
            say("a volume on JuiceFS")
            mib, files = (64, 1_000) if asked.quick else (512, 10_000)
            run = lambda: report.update(volumes=volumes(root / "volumes", mib, files))
            attempt(report, "volumes", run)
        if "ray" in wanted:
            attempt(report, "ray", lambda: report.update(ray=ray(asked, root)))
        if "scale" in wanted:
            workers = asked.workers // 10 if asked.quick else asked.workers
            calls = 100 if asked.quick else 500
            say(f"{workers} workers")
            run = lambda: report.update(scale=scale(root / "scale", workers, calls))
            attempt(report, "scale", run)
    show(report)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(report, indent=2) + "\n")
    say(f"all figures are in {asked.json}")


def attempt(report: Dict[str, Any], name: str, work: Callable[[], Any]) -> None:
    """What cannot be measured does not keep the rest from being measured."""
    try:
        work()
    except Exception as error:
        traceback.print_exc()
        report["failed"][name] = repr(error)


def machine() -> Dict[str, Any]:
    """What the figures were taken on."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "binary": os.environ["METAL9_BIN"],
        "load": os.getloadavg()[0],
    }


def say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


def with_fleet(
    report: Dict[str, Any], wanted: set, asked: argparse.Namespace, root: Path
) -> None:
    """Everything that needs a gateway and a worker, in an order in which none disturbs the next."""
    fleet = SplitFleet(root / "fleet")
    fleet.root.mkdir()
    say("starting a gateway and a worker, building the default environment")
    try:
        fleet.start()
        report["memory_idle"] = {
            "gateway": memory_mib(fleet.gateway.pid),
            "worker": memory_mib(fleet.workers[0].pid),
        }
        bench = Bench(fleet, root, asked.quick)
        for name, case in FLEET_CASES.items():
            if name in wanted:
                say(name)
                attempt(report, name, lambda: report.update({name: case(bench)}))
        report["memory_after"] = bench.memory()
        if "soak" in wanted:
            say(f"soak: {asked.calls} calls in {asked.minutes} minutes")
            out = asked.json.parent
            run = lambda: soak(bench, asked.minutes, asked.calls, out)
            attempt(report, "soak", lambda: report.update(soak=run()))
    finally:
        fleet.stop()


def find_uv() -> str:
    """What installs others' software beside ours."""
    beside = Path(sys.executable).parent
    uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is needed to install what is compared with"
    return uv


def ray(asked: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """The same calls with Ray, which is installed into an environment of its own."""
    venv = asked.ray_venv
    python = venv / "bin" / "python"
    if not python.exists():
        say(f"installing {RAY}")
        uv = find_uv()
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), RAY], check=True)
    say("ray")
    out = directory / "ray.json"
    counts = {"remote": 500, "map": 1000, "steps": 40}
    program = HERE / "programs" / "ray_calls.py"
    subprocess.run(
        [str(python), str(program), str(out), *map(str, counts.values()), str(os.cpu_count())],
        check=True,
        timeout=600,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    raw = json.loads(out.read_text())
    return {"version": raw["version"], **digest(raw, counts)}


if __name__ == "__main__":
    main()
