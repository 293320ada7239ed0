"""A gateway whose clock the tests step, by way of Debian's `faketime`."""

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest

from .split import SplitFleet

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Clock:
    """How far the gateway's clock is from the machine's."""

    def __init__(self, file: Path):
        self._file = file
        self.step("+0")

    def step(self, offset: str) -> None:
        """Sets it at once: `+3650d`, or `+90` for seconds."""
        self._file.write_text(f"{offset}\n")


@contextmanager
def stepped(fleet: SplitFleet, file: Path) -> Iterator[Clock]:
    """Restarts the gateway with a clock of its own, and at the end with the machine's.

    What waits for a time to pass is not fooled: only the time of day is.
    """
    if LIBRARY is None:
        pytest.skip("needs Debian's package `faketime`")
    plain = fleet.gateway.env
    fleet.gateway.stop()
    clock = Clock(file)
    fleet.gateway.env = {
        **plain,
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    try:
        fleet.start_gateway()
        fleet.wait_for_workers(1)
        yield clock
    finally:
        fleet.gateway.kill()
        fleet.gateway.env = plain
        fleet.start_gateway()
