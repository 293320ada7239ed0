"""A fleet whose workers are restarted one after the other, while it works."""

import os
import shutil
import signal
from pathlib import Path
from typing import Iterator

import pytest

from harness import SplitFleet, eventually
from harness.daemon import binary

# Long enough that each worker is in the middle of calls when it is told to end.
CALL = {
    "app.py": """
    import time

    def work(number):
        time.sleep(0.5)
        return number
    """
}

# Calls under way at any time; more than two workers take, so that some always wait.
UNDER_WAY = 8


@pytest.fixture(params=[["native"] * 3, ["runc", "runc", "runsc"]], ids=["native", "containers"])
def three(request, fleet, tmp_path_factory) -> Iterator[SplitFleet]:
    if request.param[0] != "native" and os.geteuid() != 0:
        pytest.skip("only root can make containers")
    root = tmp_path_factory.mktemp("three")
    with SplitFleet(
        root, workers=0, environments=fleet.environments, METAL9_WORKER_CPU="2"
    ) as three:
        if request.param[0] != "native":
            # Jobs in user namespaces could not enter the directories of the tests.
            three.env.pop("METAL9_WORKER_WRITABLE", None)
        for runtime in request.param:
            three.add_worker(METAL9_WORKER_RUNTIME=runtime)
        yield three


@pytest.fixture
def other_program(tmp_path) -> Path:
    """The same program in another place, as after an upgrade."""
    return Path(shutil.copy2(binary(), tmp_path / "metal9"))


class Load:
    """Calls of one stub, a new one for each that has ended."""

    def __init__(self, fleet: SplitFleet):
        self.api = fleet.api
        self.stub = self.api.stub(CALL, "app:work", cpu=500, retries=0)
        self.begun = 0
        self.under_way = {}
        self.ended = {}

    def go_on(self) -> int:
        """Notes what has ended, and calls as often again; how many have ended so far."""
        for task in self.api.tasks(id=list(self.under_way)) if self.under_way else []:
            if task.status not in ("PENDING", "RUNNING", "RETRY"):
                self.ended[self.under_way.pop(task.id)] = task
        while len(self.under_way) < UNDER_WAY:
            call = self.api.call(self.stub, self.begun, headless=True)
            self.under_way[call.task_id] = self.begun
            self.begun += 1
        return len(self.ended)

    def until(self, done, what: str) -> None:
        """Keeps calling until something is so."""
        eventually(lambda: (self.go_on(), done()), lambda seen: seen[1], what=what, within=60)

    def finish(self) -> None:
        """Waits for the calls under way."""
        for task_id in self.under_way:
            self.api.wait(task_id, within=60)
        for task in self.api.tasks(id=list(self.under_way)):
            self.ended[self.under_way.pop(task.id)] = task


def test_no_call_is_lost_when_workers_are_upgraded_one_after_the_other(three, other_program):
    load = Load(three)
    load.until(lambda: len(load.ended) >= UNDER_WAY, "the calls are under way")
    for worker in list(three.workers):
        at_stop = len(load.ended)
        worker.process.send_signal(signal.SIGTERM)
        load.until(lambda: not worker.running, f"{worker.name} has ended")  # noqa: B023
        assert worker.process.returncode == 0, worker.tail()
        worker.arguments[0] = str(other_program)
        worker.start()
        load.until(lambda: three.is_connected(worker), f"{worker.name} is back")  # noqa: B023
        load.until(lambda: len(load.ended) > at_stop + UNDER_WAY, "work goes on")  # noqa: B023
        assert Path(f"/proc/{worker.pid}/exe").resolve() == other_program
    load.finish()
    assert sorted(load.ended) == list(range(load.begun))
    # They had no retries: whatever was lost would have failed, and what ran twice would show it.
    assert {task.status for task in load.ended.values()} == {"COMPLETE"}
    assert len({task.container_id for task in load.ended.values()}) >= len(three.workers)
