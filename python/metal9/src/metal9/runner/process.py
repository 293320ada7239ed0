"""This process: what it inherits from the worker and how it ends."""

import atexit
import faulthandler
import os
import signal
import socket
import sys
import threading
import time

FD_VARIABLE = "METAL9_RUNNER_FD"
# Seconds that atexit handlers may take.
ATEXIT_SECONDS = 1.0

EXIT_CANCELLED = 0
EXIT_PROTOCOL = 70
EXIT_GPU_FAULT = 71
EXIT_UNUSABLE_SDK = 78
EXIT_TERMINATED = 128 + int(signal.SIGTERM)


class StartError(Exception):
    """The process was not started the way a worker starts it."""


def take_socket() -> socket.socket:
    """The worker's socket, from the environment; neither the variable nor the descriptor reach child processes."""
    text = os.environ.pop(FD_VARIABLE, "")
    try:
        # Where it is standard input, that is needed for something else.
        sock = socket.socket(fileno=int(text) or os.dup(0))
    except (ValueError, OSError) as error:
        raise StartError(
            "%s must be the number of an open socket, not %r (this program is started by a worker)"
            % (FD_VARIABLE, text)
        ) from error
    sock.set_inheritable(False)
    sock.setblocking(True)
    return sock


# Where an image with a Python of its own has the SDK.
PACKAGES_VARIABLE = "METAL9_PACKAGES"
_PACKAGES = os.environ.get(PACKAGES_VARIABLE)


def environment() -> dict:
    """The environment of another process of this runner's."""
    own = {PACKAGES_VARIABLE: _PACKAGES} if _PACKAGES else {}
    return {**os.environ, **own}


def clean_environment() -> None:
    """Drops what is meant for this process only."""
    for name in [name for name in os.environ if name.startswith("METAL9_")]:
        del os.environ[name]
    # Inherited, it would make every import of the user's modules compile them again.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        sys.dont_write_bytecode = False


def close_stdin() -> None:
    """Makes standard input /dev/null."""
    null = os.open(os.devnull, os.O_RDONLY)
    if null == 0:
        os.set_inheritable(0, True)
    else:
        os.dup2(null, 0)
        os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)


def report_crashes() -> None:
    """A segmentation fault leaves Python's stack on the real standard error."""
    faulthandler.enable(file=2)


class Interrupts:
    """Turns SIGTERM into SystemExit in the main thread, but only where that is safe.

    Outside `with interrupts.allow()` the signal is only remembered, so a frame is never cut in half.
    """

    def __init__(self) -> None:
        self.requested = False
        self._open = False
        self._masks = threading.local()

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        os.register_at_fork(
            before=self._block, after_in_parent=self._unblock, after_in_child=self._become_child
        )

    def _become_child(self) -> None:
        # To be terminated is a child's default, and `multiprocessing` relies on it. The signal is blocked meanwhile,
        # since one that reached this handler just after the fork would be lost.
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._unblock()

    def _block(self) -> None:
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def allow(self) -> "_Allowed":
        """A context in which SIGTERM raises. Raises on entry if it has come before."""
        return _Allowed(self)

    def raise_in_main_thread(self) -> None:
        """Sends SIGTERM to the main thread: to the process would do on Linux, Darwin may pick any thread."""
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    def _on_signal(self, signum, frame) -> None:
        self.requested = True
        if self._open:
            # Once only: a second signal must not interrupt the `finally` blocks that the first one started.
            self._open = False
            raise SystemExit(EXIT_TERMINATED)


class _Allowed:
    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts._open = True
        if self._interrupts.requested:
            self._interrupts._open = False
            raise SystemExit(EXIT_TERMINATED)

    def __exit__(self, *_) -> None:
        self._interrupts._open = False


def leave(code: int, flush) -> None:
    """Runs atexit handlers, flushes, and ends the process without waiting for anything else."""
    try:
        after(ATEXIT_SECONDS, lambda: os._exit(code))
        atexit._run_exitfuncs()
    except BaseException:
        pass
    flush()
    os._exit(code)


def after(seconds: float, action) -> None:
    """Runs `action` on a daemon thread after `seconds`."""

    def wait() -> None:
        time.sleep(seconds)
        action()

    threading.Thread(target=wait, name="metal9-deadline", daemon=True).start()
