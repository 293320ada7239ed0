"""Errors of Metal after which this process never computes on the GPU again.

macOS ends a command that takes too long, and from then on ignores what the same process submits. Nothing but another
process helps, so this one ends with the call that found out, and the next call gets a fresh one.
"""

import os
import sys

from . import gpu_memory

_FATAL = ("kIOGPUCommandBufferCallbackErrorTimeout", "kIOGPUCommandBufferCallbackErrorSubmissionsIgnored")

NOTE = "the Mac's GPU takes nothing more from this process, which is therefore ended; the next call gets another"


def is_fatal(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is such an error in a job with an Apple GPU."""
    if not os.environ.get(gpu_memory.VARIABLE):
        return False
    return any(code in text for text in _texts(error) for code in _FATAL)


def _texts(error):
    seen, left = set(), [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
        try:
            yield str(one)
        except BaseException:
            pass


class Watch:
    """Looks at what requests fail with, and has this process ended at the first such error."""

    def __init__(self) -> None:
        self.seen = False
        self._end = None

    def then(self, end) -> None:
        """What to do at the first."""
        self._end = end

    def look(self, error: BaseException) -> bool:
        """Whether `error` is one."""
        if not is_fatal(error):
            return False
        if not self.seen:
            self.seen = True
            print(NOTE, file=sys.stderr, flush=True)
            self._end()
        return True
