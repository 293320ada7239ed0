"""Workers, supervisors and runners that are killed or hang, and what they leave behind."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import Gate, SplitFleet, eventually, processes

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
    with SplitFleet(
        tmp_path_factory.mktemp("pair"),
        workers=2,
        environments=fleet.environments,
        METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="1",
        METAL9_GATEWAY_WORKER_LOST_SECONDS="2",
        METAL9_GATEWAY_CLIENT_GRACE_SECONDS="30",
        METAL9_WORKER_PIDS="96",
    ) as pair:
        yield pair


@pytest.fixture
def pair(pair_fleet, request):
    """The gateway and the two workers, running."""
    pair_fleet.restore()
    return pair_fleet


@pytest.fixture
def gate(tmp_path):
    """Where a function waits."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


def attempt(call, number=1):
    """Waits until the function runs for the nth time; returns its process and its daemon."""
    call.until(" HERE\n", number)
    found = re.findall(r"(\d+) (\d+) HERE", call.output)
    return tuple(int(pid) for pid in found[number - 1])


def gone(*pids):
    eventually(lambda: processes.living(pids), lambda left: not left, what="all are dead")


def test_nothing_of_a_killed_worker_survives_and_its_call_runs_elsewhere(pair, gate):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    job, daemon = attempt(call)
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
    for number in (1, 2):
        job, _ = attempt(call, number)
        pair.worker_of(job).kill()
    call.finish()
    assert call.exit_code == 1
    assert "worker" in call.output.splitlines()[-1], call.output
    assert pair.api.wait(call.task_id) == "ERROR"


@pytest.mark.parametrize("victim", ["supervisor", "runner"])
def test_what_a_job_started_dies_with_its_supervisor_or_runner_alone(pair, gate, victim):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    job, daemon = attempt(call)
    worker = pair.worker_of(job)
    os.kill(processes.parent(job) if victim == "supervisor" else job, signal.SIGKILL)
    gone(job, daemon)
    eventually(gate.try_open, what="the call runs again", within=30)
    assert call.value == "finished"
    assert worker.running


def test_a_worker_finds_what_its_killed_supervisors_could_not_end(pair, gate):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gate))
    job, daemon = attempt(call)
    worker = pair.worker_of(job)
    shims = worker.shims()
    for shim in shims:
        os.kill(shim, signal.SIGSTOP)
    worker.kill()
    for shim in shims:
        os.kill(shim, signal.SIGKILL)
    gone(job, *shims)
    assert processes.alive(daemon), "nobody is left who could know of it"
    cgroups = [Path(path) for path in json.loads((worker.state / "cgroups.json").read_text())]
    log = worker.size()
    worker.start()
    gone(daemon)
    told = eventually(
        lambda: [line for line in worker.text(log).splitlines() if "cleaned up" in line],
        what="the worker says what it found",
    )
    assert re.search(r"processes=[1-9]", told[0]) and re.search(r"containers=[1-9]", told[0]), told
    eventually(gate.try_open, what="the call runs again", within=30)
    assert call.value == "finished"
    pair.wait_for_workers(2)
    assert worker.stop() == 0
    assert cgroups and not [path for path in cgroups if path.exists()]
    assert not list((worker.state / "containers").iterdir())


def test_a_worker_that_hangs_loses_its_calls_and_is_told_so_when_it_wakes(pair, tmp_path):
    first_gate, second_gate = Gate(tmp_path / "first"), Gate(tmp_path / "second")
    gates = tmp_path / "next"
    gates.symlink_to(first_gate.path)
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=1), str(gates))
    first, daemon = attempt(call)
    worker = pair.worker_of(first)
    gates.unlink()
    gates.symlink_to(second_gate.path)
    worker.freeze()
    second, _ = attempt(call, 2)
    assert pair.worker_of(second) is not worker
    # The end of the first attempt waits in the frozen worker's pipes.
    assert processes.alive(first)
    first_gate.open()
    worker.thaw()
    gone(first, daemon)
    pair.wait_for_workers(2)
    assert processes.alive(second), "the end of the lost attempt is not that of the call"
    assert pair.api.status(call.task_id) == "RUNNING"
    second_gate.open()
    assert call.value == "finished"
    assert call.output.count("HERE") == 2


def test_a_worker_wakes_and_kills_what_went_elsewhere(pair, gate):
    call = pair.api.call(pair.api.stub(WAITING, "app:wait", retries=0), str(gate))
    job, daemon = attempt(call)
    worker = pair.worker_of(job)
    worker.freeze()
    call.finish()
    assert "worker" in call.output.splitlines()[-1], call.output
    assert processes.alive(job)
    worker.thaw()
    gone(job, daemon)
    assert pair.api.status(call.task_id) == "ERROR"


BOMB = {
    "app.py": """
    import os, time

    def bomb():
        while True:
            try:
                if os.fork() == 0:
                    while True:
                        try:
                            os.fork()
                        except OSError:
                            time.sleep(0.01)
            except OSError as error:
                return str(error)

    def quick():
        return "quick"
    """
}


def test_a_fork_bomb_is_contained_and_told(pair):
    call = pair.api.call(pair.api.stub(BOMB, "app:bomb")).finish()
    assert "limit of 96 processes and threads" in call.output, call.output
    assert pair.api.call(pair.api.stub(BOMB, "app:quick")).value == "quick"


GREEDY = {
    "app.py": """
    import subprocess, sys

    def hoard():
        hoard = "import signal; x = b'x' * (700 << 20); signal.pause()"
        return subprocess.run([sys.executable, "-c", hoard]).returncode
    """
}


def test_without_cgroups_memory_is_looked_at(pair):
    for worker in pair.workers:
        worker.stop()
    plain = pair.add_worker(METAL9_WORKER_CGROUPS="false")
    call = pair.api.call(pair.api.stub(GREEDY, "app:hoard")).finish()
    assert call.exit_code == 137
    assert re.search(r"asked for 256 MiB and used \d+ MiB", call.output), call.output
    pair.remove_worker(plain)


def test_with_cgroups_an_answer_after_a_kill_for_memory_does_not_count(pair):
    call = pair.api.call(pair.api.stub(GREEDY, "app:hoard")).finish()
    assert call.exit_code == 137
    assert "asked for 256 MiB and needed more" in call.output, call.output


FULL = {
    "app.py": """
    import os, tempfile

    def fill():
        with open(os.path.join(tempfile.gettempdir(), "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(os.urandom(1 << 20))
            except OSError as error:
                # What the function prints is told although nothing can be written any more.
                print("x" * (1 << 20), flush=True)
                return error.errno

    def size():
        return os.path.getsize("large")
    """
}


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system that is full soon."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_fails_what_needs_it_with_the_reason_and_nothing_else(pair, small_disk):
    for worker in pair.workers:
        worker.stop()
    worker = pair.add_worker(state=small_disk)
    api = pair.api
    large = {**FULL, "large": os.urandom(12 << 20)}

    filled = api.call(api.stub(FULL, "app:fill"))
    assert filled.value == errno.ENOSPC
    assert filled.output.count("x") >= 1 << 20
    stub = api.stub(large, "app:size")
    failed = api.call(stub).finish()
    assert failed.exit_code == 1
    assert "No space left on device" in failed.output, failed.output
    assert worker.running

    options = "remount,size=256m"
    subprocess.run(["mount", "-o", options, str(small_disk)], check=True)
    assert api.call(stub).value == 12 << 20, "the worker goes on once there is room"
    pair.remove_worker(worker)


HANGING_UV = """#!/bin/sh
# Installing takes for ever, in a child as a compiler would be.
case "$*" in "pip sync"*) echo $$ > "$0.pid"; sleep 1000; exit 1;; esac
exec {uv} "$@"
"""


def test_a_build_that_a_killed_worker_left_is_ended_and_removed_at_its_next_start(pair, tmp_path):
    stub = pair.api.stub(WAITING, "app:quick")
    for worker in pair.workers:
        worker.stop()
    uv = tmp_path / "uv"
    uv.write_text(HANGING_UV.format(uv=shutil.which("uv", path=pair.env["PATH"])))
    uv.chmod(0o755)
    shared, pair.environments = pair.environments, None
    try:
        worker = pair.add_worker(METAL9_WORKER_UV=str(uv))
    finally:
        pair.environments = shared
    call = pair.api.call(stub, headless=True)
    written = tmp_path / "uv.pid"
    eventually(lambda: written.exists() and written.read_text().strip(), what="the build runs")
    build = int(written.read_text())
    [compiler] = eventually(lambda: processes.children(build), what="it has started a child")
    started = [path for path in (worker.state / "env/envs").iterdir() if path.name[0] != "."]
    assert len(started) == 1
    worker.kill()
    assert processes.alive(build)
    written.unlink()
    worker.start()
    gone(build, compiler)
    eventually(lambda: pair.is_connected(worker), what="the worker is back")
    assert not started[0].exists() or written.exists(), "only a new build may have made it again"
    pair.api.cancel(call.task_id)
    pair.remove_worker(worker)
