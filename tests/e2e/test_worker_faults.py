"""Faults of a worker's machine: its clock steps, its disk is slow."""

import json
import os
import threading
import uuid

from harness import eventually
from harness.clock import stepped_worker
from test_faults import Caller, check, faulty, faulty_fleet, stub  # noqa: F401

DAY = 24 * 3600

FLOOD = """
def flood(lines, trace):
    for line in range(lines):
        print(f"line {line:07d} " + "." * 100)
    return lines
"""


def identity(worker):
    return json.loads((worker.state / "worker.json").read_text())


def test_steps_of_a_workers_clock_harm_no_call_and_no_credential(faulty, stub, tmp_path):  # noqa: F811
    [worker] = faulty.workers
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    lost = faulty.gateway.text().count("worker lost")
    with stepped_worker(faulty, worker, tmp_path / "clock") as clock:
        caller = Caller(faulty, stub, 7, str(trace), gate=str(gate))
        waiting = threading.Thread(target=caller.try_once)
        waiting.start()
        eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
        years = []
        for step in ("+3650d", "-3650d"):
            clock.step(step)
            # It shows its credential again, and what it runs, under a clock that jumped meanwhile.
            start = worker.size()
            faulty.proxy.cut()
            line = eventually(
                lambda: [it for it in worker.text(start).splitlines() if "connected to the gateway" in it],
                what="the worker is back",
            )[0]
            years.append(int(line.split()[0][:4]))
            assert faulty.api.call(stub, 3, os.devnull).value == 9
        assert years[0] - years[1] in (19, 20), f"the clock was stepped: {years}"
        gate.write_text("go")
        waiting.join(60)
        check(caller, trace, 49)

        # A credential that seems ten years old is replaced, one from the future is not.
        before = identity(worker)
        worker.stop()
        clock.step("+3650d")
        worker.start()
        after = eventually(
            lambda: identity(worker),
            lambda now: now["credential"] != before["credential"] and "previous" not in now,
            what="the credential is replaced",
        )
        assert after["issued_at"] - before["issued_at"] > 3600 * DAY
        worker.stop()
        clock.step("-3650d")
        worker.start()
        faulty.wait_for_workers(1)
        assert faulty.api.call(stub, 4, os.devnull).value == 16
        assert identity(worker) == after
    faulty.restore()
    assert faulty.api.call(stub, 5, os.devnull).value == 25
    assert identity(worker) == after
    assert faulty.gateway.text().count("worker lost") == lost


def test_a_workers_slow_disk_makes_calls_late_and_nothing_else(faulty, stub):  # noqa: F811
    [worker] = faulty.workers
    sessions = faulty.gateway.text().count("worker connected")
    slow = "worker-disk delay 100"
    # The gateway is slow to take output, so that it piles up on the worker's disk.
    faulty.fault(f"{slow}\noutput delay 500")
    # Code that no worker has seen is fetched, unpacked and copied.
    flood = faulty.api.stub({"app.py": FLOOD, "fresh.py": f"# {uuid.uuid4()}"}, "app:flood", retries=0)
    caller = Caller(faulty, flood, 30_000, os.devnull)
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    outbox = worker.state / "outbox"
    eventually(lambda: any(outbox.iterdir()), what="output is on the worker's disk")
    faulty.fault(slow)
    # Another call is not held up until that is done.
    assert faulty.api.call(stub, 6, os.devnull).value == 36
    waiting.join(120)
    faulty.fault("")
    assert caller.value == 30_000
    lines = [line for line in caller.output.splitlines() if line.startswith("line ")]
    assert lines == [f"line {line:07d} " + "." * 100 for line in range(30_000)]
    assert faulty.gateway.text().count("worker connected") == sessions, "no session was cut"
    assert not any(outbox.iterdir())
