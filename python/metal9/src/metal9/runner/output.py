"""Standard output and error: plain descriptors, every write passed on at once."""

import io
import sys

_ENCODING = "utf-8"
# `_IOLBF` in <stdio.h> of glibc, musl and Darwin.
_LINE_BUFFERED = 1


class _Immediate(io.BufferedWriter):
    """Passes every write on, yet, unlike a raw file, never loses the rest of a partial one."""

    def write(self, data):
        count = super().write(data)
        self.flush()
        return count


def _open(fd: int, name: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = name
    # backslashreplace: printing an odd file name must not fail a call.
    stream = io.TextIOWrapper(
        _Immediate(raw), encoding=_ENCODING, errors="backslashreplace", write_through=True
    )
    stream.mode = "w"
    return stream


class Output:
    """The two streams of this process."""

    def __init__(self) -> None:
        self._c_flush = None
        self._open_both()

    def _open_both(self) -> None:
        self._stdout = sys.stdout = sys.__stdout__ = _open(1, "<stdout>")
        self._stderr = sys.stderr = sys.__stderr__ = _open(2, "<stderr>")

    def settle_c_library(self) -> None:
        """Makes the C library's stdout line buffered too: into a pipe it keeps text back, for ever after `_exit`."""
        try:
            import ctypes

            libc = ctypes.CDLL(None)
            symbol = "__stdoutp" if sys.platform == "darwin" else "stdout"
            stdout = ctypes.c_void_p.in_dll(libc, symbol)
            libc.setvbuf(stdout, None, ctypes.c_int(_LINE_BUFFERED), ctypes.c_size_t(0))
            self._c_flush = lambda: libc.fflush(stdout)
        except (ImportError, OSError, ValueError, AttributeError):
            self._c_flush = None

    def flush(self) -> None:
        """Flushes everything this process may have kept back. Never raises: the reader may be gone."""
        for stream in (sys.stdout, sys.stderr, self._stdout, self._stderr):
            try:
                stream.flush()
            except Exception:
                pass
        if self._c_flush is not None:
            self._c_flush()

    def snapshot(self):
        """What `restore` should bring back."""
        return sys.stdout, sys.stderr

    def restore(self, snapshot) -> None:
        """Undoes what a call did to `sys.stdout` and `sys.stderr`."""
        if self._stdout.closed or self._stderr.closed:
            self._open_both()
        stdout, stderr = snapshot
        sys.stdout = self._stdout if _closed(stdout) else stdout
        sys.stderr = self._stderr if _closed(stderr) else stderr


def _closed(stream) -> bool:
    return stream is None or getattr(stream, "closed", False)
