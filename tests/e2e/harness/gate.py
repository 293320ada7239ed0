"""A place where a remote function waits until the test lets it through."""

import errno
import os
from pathlib import Path

from .waiting import eventually


class Gate:
    """A named pipe. A function waits with `open(path).read()` until the test calls `open`."""

    def __init__(self, path: Path):
        self.path = path
        os.mkfifo(path)

    def __str__(self) -> str:
        return str(self.path)

    def open(self, within: float = 20.0) -> None:
        """Waits until a function stands at the gate, and lets it through."""
        eventually(self.try_open, what=f"somebody waits at {self.path.name}", within=within)

    def try_open(self) -> bool:
        """Lets through who stands at the gate; false if nobody does."""
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise
        return True
