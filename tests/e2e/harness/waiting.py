"""Waiting for a state. The only place in the tests that lets time pass."""

import time
from typing import Callable, TypeVar

T = TypeVar("T")

LONGEST_PAUSE = 0.1


def eventually(
    observe: Callable[[], T],
    satisfied: Callable[[T], bool] = bool,
    *,
    what: str,
    within: float = 20.0,
) -> T:
    """Observes until the observation satisfies; returns it.

    Fails after `within` seconds with what was waited for and the last observation.
    """
    deadline = time.monotonic() + within
    pause = 0.005
    while True:
        seen = observe()
        if satisfied(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:g} s; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def last(seconds: float) -> None:
    """Lets time pass, for a fault whose length is what the test is about."""
    time.sleep(seconds)
