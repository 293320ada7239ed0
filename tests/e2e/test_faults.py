"""Faults on purpose: a gateway killed where it hurts, cut and silent connections, frozen processes,
a full disk, damaged files. Every accepted call ends once, with the right value and whole output."""

import os
import re
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import cloudpickle
import grpc
import pytest
from beta9.channel import rpc_timeout
from beta9.clients.function import FunctionInvokeRequest

from harness import Proxy, SplitFleet, disk, eventually, processes
from harness.api import headers
from harness.clock import stepped
from harness.waiting import last

WORK = {
    "app.py": """
    import os, sys

    def square(number, trace, lines=3, gate=None):
        with open(trace, "a") as log:
            log.write(f"{os.getpid()}\\n")
        for line in range(lines):
            print("line", line, flush=True)
        if gate:
            open(gate).read()
        print("done", flush=True)
        return number * number

    def big_after(size, gate):
        print("HERE", flush=True)
        open(gate).read()
        return b"x" * size

    def flood(lines, trace, gate):
        print("HERE", flush=True)
        open(gate).read()
        for line in range(lines):
            print(f"line {line:07d} " + "." * 100)
        with open(trace, "w") as log:
            log.write("over")
        return lines
    """
}
LINES = "line 0\nline 1\nline 2\ndone\n"


class FaultyFleet(SplitFleet):
    """A gateway that dies where it is told to, its worker behind a bad network."""

    def __init__(self, root: Path):
        self.faults = root / "faults"
        self.disk = root / "disk"
        super().__init__(
            root,
            workers=0,
            METAL9_FAULTS=str(self.faults),
            # Its disk is to be filled to the last byte.
            METAL9_GATEWAY_MIN_FREE_DISK_MIB="0",
            METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="0.7",
            METAL9_GATEWAY_WORKER_LOST_SECONDS="2",
        )
        self.proxy = Proxy(self.grpc)

    def start(self) -> "FaultyFleet":
        self.start_gateway()
        self.add_worker(gateway=self.proxy.address)
        return self

    def fault(self, text: str) -> None:
        """From now on this is what happens at which point."""
        written = self.faults.with_suffix(".new")
        written.write_text(text)
        written.rename(self.faults)

    def well(self) -> None:
        self.fault("")
        self.proxy.heal()
        self.restore()

    def gateway_died(self) -> bool:
        return not self.gateway.running

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            self.proxy.close()


@pytest.fixture(scope="module")
def faulty_fleet(tmp_path_factory):
    fleet = FaultyFleet(tmp_path_factory.mktemp("faulty"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def faulty(faulty_fleet, request):
    from conftest import LOGS

    request.node.stash[LOGS] = faulty_fleet.logs
    faulty_fleet.well()
    yield faulty_fleet
    faulty_fleet.well()


@pytest.fixture(scope="module")
def stub(faulty_fleet):
    """A stub whose environment is ready."""
    stub = faulty_fleet.api.stub(WORK, "app:square", retries=3)
    assert faulty_fleet.api.call(stub, 2, os.devnull).value == 4
    return stub


class Caller:
    """A client that does what the SDK does: it comes back until its call has ended."""

    def __init__(self, fleet, stub, *arguments, **options):
        self.fleet = fleet
        self.request = {"x-beta9-request-id": str(uuid.uuid4()), "x-beta9-task-id": ""}
        self.stub, self.arguments, self.options = stub, arguments, options
        self.output, self.task, self.end = "", "", None

    def try_once(self):
        """One stream; false if it broke."""
        try:
            if self.task:
                headers = {
                    "x-beta9-task-id": self.task,
                    "x-beta9-log-offset": str(len(self.output.encode())),
                }
                call = self.fleet.api.invoke(self.stub, pairs=headers)
            else:
                call = self.fleet.api.invoke(
                    self.stub, *self.arguments, pairs=self.request, **self.options
                )
        except grpc.RpcError:
            return False
        assert self.task in ("", call.task_id), "the same call is the same task"
        self.task = call.task_id
        try:
            call.finish()
        except grpc.RpcError:
            pass
        self.output += call.output
        self.end = call if call.exit_code is not None else None
        return self.end is not None

    @property
    def value(self):
        assert self.end.exit_code == 0, self.end
        return cloudpickle.loads(self.end.result)


def own_lines(output):
    """The job's own output, without what metal9 says about the steps before it."""
    return "".join(
        line for line in output.splitlines(keepends=True) if line.startswith(("line", "done"))
    )


def check(caller, trace, value, runs=1):
    assert caller.value == value
    assert own_lines(caller.output) == LINES * (1 if runs == 1 else caller.output.count("line 0"))
    assert len(trace.read_text().splitlines()) <= runs
    assert caller.fleet.api.status(caller.task) == "COMPLETE"
    again = caller.fleet.api.attach(caller.stub, caller.task)
    assert again.value == value and again.output == caller.output


@pytest.mark.parametrize(
    "point",
    [
        "commit",
        "committed",
        "accepted",
        "assigning",
        "output",
        "output-kept",
        "end-reported",
        "end-committed",
    ],
)
def test_a_gateway_killed_at_any_point_of_a_call_loses_nothing(faulty, stub, tmp_path, point):
    trace = tmp_path / "trace"
    faulty.fault(f"{point} kill")
    caller = Caller(faulty, stub, 7, str(trace))
    assert not caller.try_once(), "the gateway dies during the call"
    eventually(faulty.gateway_died, what=f"the gateway died at {point}")
    faulty.fault("")
    faulty.start_gateway()
    eventually(caller.try_once, what="the call ends", within=60)
    check(caller, trace, 49)


@pytest.mark.parametrize("point", ["recovering", "hello"])
def test_a_gateway_killed_again_while_it_recovers_loses_nothing(faulty, stub, tmp_path, point):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    caller = Caller(faulty, stub, 9, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    pid = int(trace.read_text())
    faulty.gateway.kill()
    waiting.join()
    faulty.fault(f"{point} kill")
    faulty.gateway.start()
    eventually(faulty.gateway_died, what=f"the gateway died at {point}")
    faulty.fault("")
    faulty.start_gateway()
    faulty.wait_for_workers(1)
    assert processes.alive(pid), "the job went on through all of it"
    gate.write_text("go")
    eventually(caller.try_once, what="the call ends", within=60)
    check(caller, trace, 81)


# ---- the disk ----


def test_calls_are_right_on_a_slow_disk(faulty, stub, tmp_path):
    faulty.fault("commit delay 300")
    traces = [tmp_path / f"trace-{number}" for number in range(6)]
    callers = [Caller(faulty, stub, n, str(trace)) for n, trace in enumerate(traces)]
    threads = [threading.Thread(target=caller.try_once) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faulty.fault("")
    for number, (caller, trace) in enumerate(zip(callers, traces)):
        check(caller, trace, number * number)


def test_a_client_that_leaves_while_its_call_is_accepted_finds_it_again(faulty, stub, tmp_path):
    trace = tmp_path / "trace"
    faulty.fault("commit delay 1000")
    caller = Caller(faulty, stub, 5, str(trace))
    arguments = cloudpickle.dumps({"args": caller.arguments, "kwargs": {}})
    request = FunctionInvokeRequest(stub_id=stub, args=arguments)
    with headers(caller.request), rpc_timeout(0.4), pytest.raises(grpc.RpcError):
        next(faulty.api.functions.function_invoke(request))
    faulty.fault("")
    eventually(caller.try_once, what="the call ends", within=30)
    check(caller, trace, 25)


# ---- the network ----


def test_a_cut_while_a_large_result_is_on_its_way_costs_no_result(faulty, stub, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    big = faulty.api.stub(WORK, "app:big_after", retries=0)
    call = faulty.api.call(big, 6 << 20, str(gate)).until("HERE")
    faulty.proxy.throttle(8 << 20)
    gate.write_text("go")
    for _ in range(2):
        before = faulty.gateway.text().count("session ended")
        faulty.proxy.cut()
        eventually(
            lambda seen=before: faulty.gateway.text().count("session ended") > seen,
            what="the session was cut",
        )
        faulty.wait_for_workers(1)
    faulty.proxy.heal()
    assert call.value == b"x" * (6 << 20)


def test_an_end_on_its_way_to_the_disk_is_kept_by_a_worker_that_comes_back(faulty, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    once = faulty.api.stub(WORK, "app:square", retries=0)
    caller = Caller(faulty, once, 5, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    assert faulty.api.wait(caller.task, "RUNNING")
    faulty.fault("commit delay 20000")
    gate.write_text("go")
    eventually(lambda: b"done" in written(faulty, caller.task), what="the job is done")
    # The end follows the output on the same session.
    last(0.5)
    before = faulty.gateway.text().count("worker connected")
    faulty.proxy.cut()
    eventually(
        lambda: faulty.gateway.text().count("worker connected") > before,
        what="the worker connected again",
    )
    last(0.5)
    faulty.gateway.kill()
    waiting.join()
    faulty.fault("")
    faulty.start_gateway()
    eventually(caller.try_once, what="the call ends", within=30)
    check(caller, trace, 25)


MEBIBYTE = 1 << 20
# 22 MiB of output, of which a worker keeps 8 for a gateway that is not there.
FLOOD = 200_000


def test_output_while_the_gateway_is_down_waits_at_the_worker_in_bounded_room(faulty, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    flood = faulty.api.stub(WORK, "app:flood", retries=0)
    caller = Caller(faulty, flood, FLOOD, str(trace), str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: caller.task and faulty.api.status(caller.task) == "RUNNING", what="it runs")
    eventually(lambda: b"HERE" in written(faulty, caller.task), what="it is about to write")
    [worker] = faulty.workers
    before = processes.memory(worker.pid)["VmRSS"]
    faulty.gateway.kill()
    waiting.join()
    gate.write_text("go")

    def kept():
        files = [path for path in (worker.state / "outbox").rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)

    # The rest of its 8 MiB was on its way when the session ended.
    eventually(kept, lambda size: size > 4 * MEBIBYTE, what="the outbox fills up", within=60)
    # Time in which it would all be written, if nothing held it up.
    last(3)
    assert not trace.exists(), "the job waits, as nobody takes its output"
    assert kept() < 12 * MEBIBYTE
    growth = (processes.memory(worker.pid)["VmRSS"] - before) // 1024
    assert growth < 32, f"the worker grew by {growth} MiB"

    faulty.start_gateway()
    eventually(caller.try_once, what="the call ends", within=120)
    assert caller.value == FLOOD and trace.read_text() == "over"
    numbers = [line[5:12] for line in own_lines(caller.output).splitlines()]
    assert numbers == [f"{number:07d}" for number in range(FLOOD)]
    assert kept() == 0


def test_a_half_closed_session_is_opened_again(faulty, stub):
    before = faulty.gateway.text().count("worker connected")
    faulty.proxy.half_close()
    eventually(
        lambda: faulty.gateway.text().count("worker connected") > before,
        what="the worker connected again",
    )
    assert faulty.api.call(stub, 3, os.devnull).value == 9


def test_a_worker_nobody_heard_for_too_long_is_given_work_again(faulty, stub):
    def lost():
        return faulty.gateway.text().count("worker lost")

    before = lost()
    faulty.proxy.blackhole()
    eventually(lambda: lost() > before, what="the worker is lost")
    faulty.proxy.heal()
    assert faulty.api.call(stub, 3, os.devnull).value == 9


# ---- frozen processes ----


def test_a_frozen_gateway_does_not_take_its_workers_for_lost(faulty, stub, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    once = faulty.api.stub(WORK, "app:square", retries=0)
    caller = Caller(faulty, once, 6, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    lost = faulty.gateway.text().count("worker lost")
    faulty.gateway.freeze()
    last(2.5 * 2)
    faulty.gateway.thaw()
    faulty.wait_for_workers(1)
    gate.write_text("go")
    waiting.join(60)
    assert caller.end or eventually(caller.try_once, what="the call ends", within=30)
    check(caller, trace, 36)
    assert faulty.gateway.text().count("worker lost") == lost


def test_a_worker_that_was_frozen_for_too_long_keeps_a_job_nobody_else_took(faulty, stub, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    caller = Caller(faulty, stub, 8, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    [worker] = faulty.workers
    lost = faulty.gateway.text().count("worker lost")
    worker.freeze()
    eventually(
        lambda: faulty.gateway.text().count("worker lost") > lost, what="the worker is lost"
    )
    assert faulty.api.wait(caller.task, "RETRY", within=5)
    worker.thaw()
    assert faulty.api.wait(caller.task, "RUNNING")
    gate.write_text("go")
    waiting.join(60)
    check(caller, trace, 64)


# ---- damaged files ----


def log_of(fleet, task):
    """The file that holds a task's output."""
    return fleet.root / "gateway/logs" / task[-2:] / f"{task}.log"


def written(fleet, task):
    """What it holds; the first output of a task makes it."""
    log = log_of(fleet, task)
    return log.read_bytes() if log.exists() else b""


def test_a_damaged_log_costs_its_damaged_end_and_nothing_else(faulty, stub, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    ended = faulty.api.call(stub, 3, os.devnull).finish()
    going_on = Caller(faulty, stub, 4, str(trace), gate=str(gate))
    waiting = threading.Thread(target=going_on.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    eventually(
        lambda: going_on.task and b"line 2" in written(faulty, going_on.task),
        what="its output is there",
    )
    faulty.gateway.kill()
    waiting.join()
    torn = log_of(faulty, ended.task_id)
    os.truncate(torn, torn.stat().st_size - 3)
    with log_of(faulty, going_on.task).open("ab") as log:
        log.write(b"m9l1" + b"\0" * 20)
    faulty.start_gateway()
    faulty.wait_for_workers(1)
    again = faulty.api.attach(stub, ended.task_id)
    assert again.value == 9
    assert ended.output.startswith(again.output) and again.output != ended.output
    gate.write_text("go")
    eventually(going_on.try_once, what="the call ends", within=30)
    check(going_on, trace, 16)


@pytest.fixture
def small_disk(faulty):
    """The gateway's state on a disk of its own of 32 MiB."""
    state = faulty.root / "gateway"
    kept = faulty.root / "kept"
    faulty.gateway.stop()
    shutil.copytree(state, kept)
    try:
        with disk.small_disk(state, 32):
            shutil.copytree(kept, state, dirs_exist_ok=True)
            faulty.start_gateway()
            faulty.wait_for_workers(1)
            yield state
            faulty.gateway.stop()
    finally:
        faulty.start_gateway()
        shutil.rmtree(kept)


def test_a_full_disk_refuses_new_calls_and_loses_none_it_has(faulty, stub, small_disk, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    # What it prints and returns needs room on the disk, and there is none when it does.
    caller = Caller(faulty, stub, 6, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    eventually(
        lambda: caller.task and faulty.api.status(caller.task) == "RUNNING",
        what="that it runs is stored",
    )
    ballast = disk.fill(small_disk)

    def refused():
        try:
            faulty.api.call(stub, 3, "x" * 100_000).finish()
        except grpc.RpcError as error:
            return error
        return None

    error = eventually(refused, what="a call is refused")
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "no space left" in error.details() and "hint:" in error.details(), error.details()
    gate.write_text("go")
    eventually(
        lambda: re.search("the end of a task cannot be stored|waits for the disk", faulty.gateway.text()),
        what="the gateway says what it waits for",
    )
    assert faulty.api.status(caller.task) == "RUNNING", "an end that is not on disk is not told"
    assert caller.end is None
    # Not even the end of the gateway makes it forget.
    faulty.gateway.kill()
    ballast.unlink()
    faulty.start_gateway()
    waiting.join(20)
    eventually(caller.try_once, what="the call ends", within=30)
    check(caller, trace, 36)
    assert faulty.api.call(stub, 3, os.devnull).value == 9, "calls are taken again"


def test_room_on_a_full_disk_is_noticed_without_a_restart(faulty, stub, small_disk, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    caller = Caller(faulty, stub, 6, str(trace), gate=str(gate))
    waiting = threading.Thread(target=caller.try_once)
    waiting.start()
    eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
    ballast = disk.fill(small_disk)
    gate.write_text("go")
    seen = faulty.gateway.text()
    eventually(
        lambda: len(faulty.gateway.text()) > len(seen), what="the gateway meets the full disk"
    )
    ballast.unlink()
    waiting.join(30)
    check(caller, trace, 36)


def test_a_state_directory_that_cannot_be_written_is_named_at_the_start(faulty, small_disk):
    faulty.gateway.stop()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        faulty.gateway.start().process.wait(20)
        said = faulty.gateway.tail(8)
        assert faulty.gateway.process.returncode not in (0, None), said
        assert str(small_disk) in said and "Read-only file system" in said, said
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    faulty.start_gateway()


# ---- the clock ----

def test_steps_of_the_clock_neither_end_nor_lose_calls(faulty, stub, tmp_path):
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    os.mkfifo(gate)
    with stepped(faulty, tmp_path / "clock") as clock:
        caller = Caller(faulty, stub, 7, str(trace), gate=str(gate))
        waiting = threading.Thread(target=caller.try_once)
        waiting.start()
        eventually(lambda: trace.exists() and trace.read_text(), what="the job runs")
        lost = faulty.gateway.text().count("worker lost")
        years = []
        for step in ("+3650d", "-3650d"):
            clock.step(step)
            call = faulty.api.call(stub, 3, os.devnull)
            assert call.value == 9
            years.append(int(faulty.api.task(call.task_id)["created_at"][:4]))
            # Unfinished work is taken over under a clock that jumped while nobody looked.
            faulty.gateway.kill()
            faulty.start_gateway()
            faulty.wait_for_workers(1)
        assert years[0] - years[1] in (19, 20), f"the clock was stepped: {years}"
        waiting.join()
        gate.write_text("go")
        eventually(caller.try_once, what="the call ends", within=30)
        check(caller, trace, 49)
        assert faulty.gateway.text().count("worker lost") == lost
