"""What a user of the SDK measures: run as `python sdk_calls.py OUT REMOTE MAP STEPS NULL`.

NULL is the address of a server that answers every call at once: what is left is the SDK's own work.
"""

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
    """Seconds for `count` calls at once, and this process's own processor time."""
    started, used = time.perf_counter(), time.process_time()
    assert sum(1 for _ in noop.map(list(range(count)))) == count
    return time.perf_counter() - started, time.process_time() - used


def stepped(count):
    """Seconds for `count` calls, each of which takes the result of the one before."""
    value, started = 0, time.perf_counter()
    for _ in range(count):
        value = step.remote(value)
    assert value == count
    return time.perf_counter() - started


def with_null(address, work):
    """Does work with calls that go to another server."""
    from beta9.channel import Channel
    from beta9.clients.function import FunctionServiceStub

    before = noop.parent.function_stub
    channel = Channel(addr=address, token="none")
    noop.parent.function_stub = FunctionServiceStub(channel)
    try:
        return work()
    finally:
        noop.parent.function_stub = before
        channel.close()


def main():
    out, (remote, maps, steps) = sys.argv[1], map(int, sys.argv[2:5])
    latencies(noop.remote, 20)
    step.remote(0)
    report = {"remote": latencies(noop.remote, remote)}
    mapped(64)
    rounds = [mapped(maps) for _ in range(3)]
    report["map"], report["map_processor"] = min(rounds)
    report["map_rounds"] = [seconds for seconds, _ in rounds]
    report["steps"] = stepped(steps)
    report["calls"] = {"warm": 85, "remote": remote, "map": 3 * maps, "steps": steps}
    if len(sys.argv) > 5:
        alone = lambda: min(mapped(maps) for _ in range(3))
        report["null_map"], report["null_map_processor"] = with_null(sys.argv[5], alone)
    with open(out, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()
