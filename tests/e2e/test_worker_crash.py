"""Workers, supervisors and runners that are killed or hang, and what they leave behind."""

import os
import re
import signal

import pytest

from harness import SplitFleet, eventually, processes

WAITING = {
    "app.py": """
    import os, subprocess

    DAEMON = ["sleep", "1000"]

    def wait(gate):
        # In a session of its own, with nothing of ours in its environment, and no parent.
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                os.closerange(0, 64)
                os.execve("/bin/sleep", DAEMON, {})
            os._exit(0)
        os.wait()
        print(os.getpid(), int(os.read(reader, 32)), "HERE", flush=True)
        open(gate).read()
        return "finished"

    def quick():
        return os.getpid()
    """
}


@pytest.fixture(scope="module")
def pair_fleet(fleet, tmp_path_factory):
    """A gateway and two workers that these tests may kill."""
    pair = SplitFleet(
        tmp_path_factory.mktemp("pair"),
        workers=2,
        environments=fleet.environments,
        METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="1",
        METAL9_GATEWAY_WORKER_LOST_SECONDS="2",
        METAL9_GATEWAY_CLIENT_GRACE_SECONDS="30",
        METAL9_WORKER_PIDS="96",
    )
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()


@pytest.fixture
def pair(pair_fleet, request):
    """The gateway and the two workers, running."""
    pair_fleet.restore()
    return pair_fleet


@pytest.fixture
def gate(tmp_path):
    from harness import Gate

    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


def running(call, times=1):
    """Waits until the function runs for the nth time; returns its process and its daemon."""
    found = []
    while len(found) < times:
        call.until(" HERE\n" if not found else "HERE\n" * 1)
        found = re.findall(r"(\d+) (\d+) HERE", call.output)
    return tuple(int(pid) for pid in found[times - 1])


def gone(*pids, within=15.0):
    eventually(
        lambda: processes.living(pids), lambda left: not left, what="all are dead", within=within
    )


def test_nothing_of_a_killed_worker_survives_and_its_call_runs_elsewhere(pair, gate):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    job, daemon = running(call)
    worker = pair.worker_of(job)
    shims = worker.shims()
    assert shims
    worker.kill()
    gone(job, daemon, *shims)
    eventually(gate.try_open, what="the call runs again", within=30)
    assert call.value == "finished"
    assert call.output.count("HERE") == 2


def test_a_call_that_loses_every_worker_ends_with_the_reason(pair, gate):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    first, _ = running(call)
    pair.worker_of(first).kill()
    [other] = [worker for worker in pair.workers if worker.running]
    other_jobs = eventually(
        lambda: [p for s in other.shims() for p in processes.children(s)],
        lambda _: call.until(" HERE\n") and len(re.findall("HERE", call.output)) == 2,
        what="the second attempt runs",
        within=30,
    )
    assert other_jobs
    other.kill()
    call.finish()
    assert call.exit_code == 1
    assert "worker" in call.output.splitlines()[-1], call.output
    assert pair.api.wait(call.task_id) == "ERROR"


@pytest.mark.parametrize("victim", ["supervisor", "runner"])
def test_a_killed(pair, gate, victim):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    job, daemon = running(call)
    worker = pair.worker_of(job)
    os.kill(processes.parent(job) if victim == "supervisor" else job, signal.SIGKILL)
    gone(job, daemon)
    eventually(gate.try_open, what="the call runs again", within=30)
    assert call.value == "finished"
    assert worker.running
