"""What a user of the SDK measures: run as `python sdk_calls.py OUT REMOTE MAP STEPS`."""

import json
import sys
import time

from beta9 import function

STEP_SECONDS = 0.01


@function(retries=0)
def noop(_=None):
    return None


@function(retries=0)
def step(value):
    until = time.perf_counter() + STEP_SECONDS
    while time.perf_counter() < until:
        pass
    return value + 1


def latencies(call, count):
    """Seconds of each of `count` calls, one after the other."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def mapped(count):
    """Seconds for `count` calls at once."""
    started = time.perf_counter()
    assert sum(1 for _ in noop.map(list(range(count)))) == count
    return time.perf_counter() - started


def stepped(count):
    """Seconds for `count` calls, each of which takes the result of the one before."""
    value, started = 0, time.perf_counter()
    for _ in range(count):
        value = step.remote(value)
    assert value == count
    return time.perf_counter() - started


def main():
    out, remote, maps, steps = sys.argv[1], *map(int, sys.argv[2:])
    latencies(noop.remote, 20)
    step.remote(0)
    report = {"remote": latencies(noop.remote, remote)}
    mapped(64)
    report["map"] = mapped(maps)
    report["steps"] = stepped(steps)
    with open(out, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()
