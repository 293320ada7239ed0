"""Processes whose clock the tests step, by way of Debian's `faketime`."""

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator

import pytest

from .daemon import Daemon
from .split import SplitFleet, Worker

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Clock:
    """How far the clock of a process is from the machine's."""

    def __init__(self, file: Path):
        self._file = file
        self.step("+0")

    def step(self, offset: str) -> None:
        """Sets it at once: `+3650d`, or `+90` for seconds."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(f"{offset}\n")
        fresh.rename(self._file)

    @property
    def environment(self) -> Dict[str, str]:
        """What makes a process follow this clock."""
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@contextmanager
def stepped(fleet: SplitFleet, file: Path) -> Iterator[Clock]:
    """Restarts the gateway with a clock of its own, and at the end with the machine's."""
    with _fooled(fleet.gateway, file) as clock:
        fleet.start_gateway()
        fleet.wait_for_workers(1)
        yield clock
    fleet.start_gateway()


@contextmanager
def stepped_worker(fleet: SplitFleet, worker: Worker, file: Path) -> Iterator[Clock]:
    """The same for a worker, which is not started again at the end."""
    with _fooled(worker, file) as clock:
        worker.start()
        fleet.wait_for_workers(len(fleet.workers))
        yield clock


@contextmanager
def _fooled(daemon: Daemon, file: Path) -> Iterator[Clock]:
    """Ends a process; until it is killed at the end it can be started with a clock of its own.

    What waits for a time to pass is not fooled: only the time of day is.
    """
    if LIBRARY is None:
        pytest.skip("needs Debian's package `faketime`")
    plain = daemon.env
    daemon.stop()
    clock = Clock(file)
    daemon.env = {**plain, **clock.environment}
    try:
        yield clock
    finally:
        daemon.kill()
        daemon.env = plain
