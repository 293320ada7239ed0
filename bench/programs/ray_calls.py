"""The same for Ray, in Ray's own environment: `python ray_calls.py OUT REMOTE MAP STEPS CPUS`."""

import json
import os
import sys
import tempfile
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"

import ray

STEP_SECONDS = 0.01


@ray.remote
def noop(_=None):
    return None


@ray.remote
def step(value):
    until = time.perf_counter() + STEP_SECONDS
    while time.perf_counter() < until:
        pass
    return value + 1


def main():
    out, remote, maps, steps, cpus = sys.argv[1], *map(int, sys.argv[2:])
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory:
        ray.init(
            num_cpus=cpus, include_dashboard=False, log_to_driver=False, _temp_dir=directory
        )
        report = measure(remote, maps, steps)
        ray.shutdown()
    with open(out, "w") as file:
        json.dump(report, file)


def measure(remote, maps, steps):
    ray.get([noop.remote(n) for n in range(64)])
    report = {"version": ray.__version__, "remote": []}
    for _ in range(remote):
        started = time.perf_counter()
        ray.get(noop.remote())
        report["remote"].append(time.perf_counter() - started)
    report["map_rounds"] = []
    for _ in range(3):
        started = time.perf_counter()
        ray.get([noop.remote(n) for n in range(maps)])
        report["map_rounds"].append(time.perf_counter() - started)
    report["map"] = min(report["map_rounds"])
    value, started = 0, time.perf_counter()
    for _ in range(steps):
        value = ray.get(step.remote(value))
    assert value == steps
    report["steps"] = time.perf_counter() - started
    return report


if __name__ == "__main__":
    main()
