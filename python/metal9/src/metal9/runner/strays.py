"""Processes that a call leaves behind, where only the container itself sees them: in gVisor."""

import os
import signal

VARIABLE = "METAL9_ENDS_STRAYS"
# A program that starts others as fast as they are killed is left to the end of the container.
_LOOKS = 20


def _processes():
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


class Strays:
    """Does nothing unless the worker has asked for it."""

    def __init__(self) -> None:
        self._wanted = VARIABLE in os.environ
        self._spared = set()

    def mark(self) -> None:
        """Processes that exist now belong to the container."""
        if self._wanted:
            self._spared = _processes()

    def end(self) -> None:
        """Kills those that were started since."""
        if not self._wanted:
            return
        for _ in range(_LOOKS):
            found = _processes() - self._spared - {1, os.getpid()}
            if not found:
                return
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                    # A child of this process stays until somebody asks how it ended.
                    os.waitpid(pid, 0)
                except OSError:
                    pass
