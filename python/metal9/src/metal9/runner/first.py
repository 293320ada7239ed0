"""The first process of a container: the kernel makes it the parent of every orphan, and gives it no signal that it has
not asked for. The runner is its child."""

import os
import signal

# As a shell tells it.
_BY_SIGNAL = 128
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def fork() -> None:
    """Returns in the runner, and never here."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        return
    try:
        code = _watch(child)
    except BaseException:
        code = 70
    # With it every process of the container ends.
    os._exit(code)


def _watch(child: int) -> int:
    """Passes signals on and collects orphans until the runner ends; its exit code."""
    _let_go()

    def forward(signum, frame) -> None:
        try:
            os.kill(child, signum)
        except ProcessLookupError:
            pass

    for signum in _FORWARDED:
        signal.signal(signum, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid != child:
            continue
        if os.WIFSIGNALED(status):
            return _BY_SIGNAL + os.WTERMSIG(status)
        return os.WEXITSTATUS(status)


def _let_go() -> None:
    """Closes everything: whoever reads the other ends is to see when the runner closes its own."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, 256)
