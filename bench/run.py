"""Measures metal9 on this machine. See README.md.

    python bench/run.py [--ray] [--json FILE]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
# What the end-to-end tests start the system with serves here as well.
sys.path[:0] = [str(HERE), str(REPOSITORY / "tests" / "e2e")]
os.environ.setdefault("METAL9_BIN", str(REPOSITORY / "target" / "release" / "metal9"))
os.environ.setdefault("METAL9_LOG", "warn")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from harness import App, SplitFleet
from measure import RawCaller, memory_mib, summary, wait_until_idle

NOOP = {"app.py": "def noop(*_):\n    return None\n"}
RAY = "ray==2.60.0"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--ray", action="store_true", help="measure Ray for the same, too")
    parser.add_argument("--ray-venv", type=Path, help="where Ray is or will be installed")
    parser.add_argument("--raw-calls", type=int, default=2000)
    parser.add_argument("--remote-calls", type=int, default=500)
    parser.add_argument("--map-calls", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--cold-calls", type=int, default=10)
    parser.add_argument("--spawn", type=int, default=500)
    return parser.parse_args()


def main() -> None:
    asked = options()
    report: Dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="metal9-bench-") as directory:
        fleet = SplitFleet(Path(directory) / "fleet")
        fleet.root.mkdir()
        try:
            say("starting a gateway and a worker")
            fleet.start()
            report["metal9"] = measure_metal9(fleet, asked, Path(directory))
        finally:
            fleet.stop()
        if asked.ray:
            report["ray"] = measure_ray(asked, Path(directory))
    show(report)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


def machine() -> Dict[str, Any]:
    """What the figures were taken on."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "binary": os.environ["METAL9_BIN"],
    }


def say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


def measure_metal9(fleet: SplitFleet, asked: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """Every figure of metal9, in an order in which none disturbs the next."""
    figures: Dict[str, Any] = {"memory_idle": memory(fleet)}
    say("building the default environment")
    api = fleet.api
    stub = api.stub(NOOP, "app:noop", timeout=60)
    api.call(stub).finish()

    say(f"twice {asked.cold_calls} cold calls")
    figures["cold"] = cold_calls(fleet, asked.cold_calls, spare=True)
    figures["cold_in_a_row"] = cold_calls(fleet, asked.cold_calls, spare=False)

    say(f"{asked.raw_calls} warm calls of the API")
    caller = RawCaller(fleet.grpc, api.token, stub)
    for _ in range(50):
        caller.call()
    figures["raw"] = summary([caller.call() for _ in range(asked.raw_calls)])
    caller.close()

    say(f"{asked.spawn} calls at once")
    figures["spawn"] = spawn(fleet, stub, asked.spawn)

    say("calls of the SDK")
    figures.update(sdk_calls(fleet, asked, directory))
    figures["memory_after"] = memory(fleet)
    return figures


def memory(fleet: SplitFleet) -> Dict[str, Any]:
    return {
        "gateway": memory_mib(fleet.gateway.pid),
        "worker": memory_mib(fleet.workers[0].pid),
    }


def cold_calls(fleet: SplitFleet, count: int, spare: bool) -> Dict[str, Any]:
    """Calls of stubs that nobody has called, with the environment and nothing else in place.

    With `spare`, the worker has the time before each call to start the process it keeps ready.
    """
    seconds: List[float] = []
    phases: Dict[str, List[float]] = {}
    for _ in range(count):
        stub = fleet.api.stub(NOOP, "app:noop")
        caller = RawCaller(fleet.grpc, fleet.api.token, stub)
        known = {task.id for task in fleet.api.tasks()}
        if spare:
            wait_until_idle(fleet.workers[0].pid)
        seconds.append(caller.call())
        caller.close()
        [task] = [task for task in fleet.api.tasks() if task.id not in known]
        fleet.api.wait(task.id)
        told = {p["name"]: p["micros"] / 1000 for p in fleet.api.task(task.id)["phases"]}
        told["in no phase"] = seconds[-1] * 1000 - sum(told.values())
        for name, millis in told.items():
            phases.setdefault(name, []).append(millis)
    medians = {name: statistics.median(values) for name, values in phases.items()}
    return {**summary(seconds), "phases_p50_ms": medians}


def spawn(fleet: SplitFleet, stub: str, count: int) -> Dict[str, float]:
    """Starts `count` calls without waiting; how fast they are accepted, and how fast done."""
    caller = RawCaller(fleet.grpc, fleet.api.token, stub, headless=True)
    started = time.perf_counter()
    streams = [caller.open() for _ in range(count)]
    for stream in streams:
        next(stream)
    accepted = time.perf_counter() - started
    for stream in streams:
        for _ in stream:
            pass
    done = time.perf_counter() - started
    caller.close()
    return {
        "count": count,
        "accepted_per_second": count / accepted,
        "done_per_second": count / done,
    }


def sdk_calls(fleet: SplitFleet, asked: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """What a program that uses the SDK sees."""
    root = directory / "programs"
    root.mkdir()
    app, out = App(root, fleet.config), directory / "sdk.json"
    project = app.directory()
    shutil.copy(HERE / "programs" / "sdk_calls.py", project)
    counts = [asked.remote_calls, asked.map_calls, asked.steps]
    command = [sys.executable, "sdk_calls.py", str(out), *map(str, counts)]
    done = app.launch(command, project).finish(within=600)
    assert done.code == 0, done
    return digest(json.loads(out.read_text()), asked)


def measure_ray(asked: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """The same calls with Ray, which is installed into an environment of its own."""
    venv = asked.ray_venv or directory / "ray"
    python = venv / "bin" / "python"
    if not python.exists():
        say(f"installing {RAY}")
        beside = Path(sys.executable).parent
        uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
        assert uv, "uv is needed to install Ray"
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), RAY], check=True)
    say("calls of Ray")
    out = directory / "ray.json"
    counts = [asked.remote_calls, asked.map_calls, asked.steps, os.cpu_count()]
    program = HERE / "programs" / "ray_calls.py"
    subprocess.run(
        [str(python), str(program), str(out), *map(str, counts)],
        check=True,
        timeout=600,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    raw = json.loads(out.read_text())
    return {"version": raw["version"], **digest(raw, asked)}


def digest(raw: Dict[str, Any], asked: argparse.Namespace) -> Dict[str, Any]:
    """Figures of a program's raw times."""
    return {
        "remote": summary(raw["remote"]),
        "map": {"count": asked.map_calls, "per_second": asked.map_calls / raw["map"]},
        "steps": {"count": asked.steps, "seconds": raw["steps"]},
    }


def show(report: Dict[str, Any]) -> None:
    """Prints the figures as a table."""
    own, ray = report["metal9"], report.get("ray")
    print(f"\n{report['machine']['system']}, {report['machine']['cores']} cores\n")
    heads = ("", "metal9", f"ray {ray['version']}" if ray else "")
    print(f"{heads[0]:62}{heads[1]:>16}{heads[2]:>16}".rstrip())

    def row(title: str, read: Callable[[Dict[str, Any]], str], peer: bool = False) -> None:
        other = read(ray) if ray and peer else ""
        print(f"{title:62}{read(own):>16}{other:>16}".rstrip())

    def times(key: str, name: str) -> Callable[[Dict[str, Any]], str]:
        return lambda figures: f"{figures[key][name]:.2f} ms"

    calls = f"({own['raw']['count']} calls, one after the other)"
    row(f"warm no-op, gRPC API, p50  {calls}", times("raw", "p50_ms"))
    row("warm no-op, gRPC API, p99", times("raw", "p99_ms"))
    row("warm no-op, f.remote(), p50", times("remote", "p50_ms"), peer=True)
    row("warm no-op, f.remote(), p99", times("remote", "p99_ms"), peer=True)
    row(
        f"f.map of {own['map']['count']} no-ops",
        lambda figures: f"{figures['map']['per_second']:.0f} calls/s",
        peer=True,
    )
    row(
        f"{own['steps']['count']} steps of 10 ms in a row",
        lambda figures: f"{figures['steps']['seconds']:.3f} s",
        peer=True,
    )
    row("calls started at once: accepted", lambda f: f"{f['spawn']['accepted_per_second']:.0f} /s")
    row("calls started at once: done", lambda f: f"{f['spawn']['done_per_second']:.0f} /s")
    for key, title in {
        "cold": "cold call, environment and spare process there, p50",
        "cold_in_a_row": "cold calls without a pause, p50",
    }.items():
        row(title, times(key, "p50_ms"))
        for name, value in own[key]["phases_p50_ms"].items():
            print(f"{'    ' + name:62}{value:>13.2f} ms")
    for when in ("memory_idle", "memory_after"):
        for who, figures in own[when].items():
            title = f"{who}, {'idle at start' if when == 'memory_idle' else 'after all of this'}"
            print(f"{title + ', resident (own share)':62}", end="")
            print(f"{figures['rss_mib']:>8.1f} ({figures['pss_mib']:.1f}) MiB")


if __name__ == "__main__":
    main()
