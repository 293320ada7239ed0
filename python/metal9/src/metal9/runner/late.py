"""Files that others see only once they are written: gVisor keeps a file open on the machine after programs have closed
it, and some file systems show to other machines what is closed."""

import os
import sys


class Late:
    """Directories whose files are like that."""

    def __init__(self, directories=()) -> None:
        # Open from the start: a file system that has died must not fail a call that does nothing with it.
        self._open = [(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY)) for path in directories or ()]

    def write(self) -> None:
        """Has everything written that programs have; `OSError` if it cannot be."""
        if not self._open:
            return
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        for path, descriptor in self._open:
            if libc.syncfs(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)

    def try_to_write(self) -> None:
        """The same for a call that has failed already: what went wrong is told beside that."""
        try:
            self.write()
        except OSError as error:
            print("what the call has written may be lost: %s" % error, file=sys.stderr)
