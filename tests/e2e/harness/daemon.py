"""One long-running metal9 process."""

import os
import pwd
import re
import signal
import subprocess
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from . import processes
from .waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PANIC = re.compile(r"panicked at|stack backtrace:")
ERROR = re.compile(r"^\s*\S*\s*ERROR\b")


def binary() -> Path:
    """The metal9 program under test: `METAL9_BIN`, else the debug build."""
    path = Path(os.environ.get("METAL9_BIN") or REPOSITORY / "target/debug/metal9")
    assert path.is_file(), f"{path} is not there: run `cargo build` or set METAL9_BIN"
    return path.resolve()


class Daemon:
    """A metal9 process in its own process group, with what it writes in a file."""

    def __init__(
        self,
        name: str,
        arguments: List[str],
        log: Path,
        env: Dict[str, str],
        account: Optional[str] = None,
        entrance: Sequence[str] = (),
    ):
        """`account` is whose process it is, if not this one's user's, and `entrance` what the
        command is put behind."""
        self.name = name
        self.account = account
        self.arguments = [*entrance, str(binary()), *arguments]
        self.log = log
        self.env = env
        # What is taken away from the modes of what it makes; nothing for what is usual here.
        self.umask = -1
        self.process: Optional[subprocess.Popen] = None

    def start(self) -> "Daemon":
        """Starts it. What it wrote in an earlier life stays in the log."""
        user = pwd.getpwnam(self.account) if self.account else None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                process_group=0,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
                umask=self.umask,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_for_file(self, path: Path, within: float = 60.0) -> None:
        """Waits until it has written `path`; fails at once if it ends before that."""

        def seen() -> str:
            if path.is_file() and path.stat().st_size > 0:
                return "written"
            return "starting" if self.running else "ended"

        state = eventually(
            seen,
            lambda state: state != "starting",
            what=f"{self.name} writes {path.name}",
            within=within,
        )
        assert state == "written", f"{self.name} ended before it was ready:\n{self.tail()}"

    def kill(self) -> None:
        """Kills it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stops it in its tracks, as a machine that hangs would; returns once it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        eventually(
            lambda: processes.state(self.pid), lambda state: state == "T", what=f"{self.name} froze"
        )

    def thaw(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, within: float = 20.0) -> int:
        """Asks it to end; returns its exit code."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not end within {within:g} s of SIGTERM:\n{self.tail()}"
                ) from None
        return self.process.returncode

    def text(self, start: int = 0) -> str:
        """What it wrote after the first `start` bytes, without colours."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(start)
            return ANSI.sub("", log.read().decode(errors="replace"))

    def size(self) -> int:
        """How many bytes it has written."""
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 60) -> str:
        """The end of what it wrote."""
        return "\n".join(self.text().splitlines()[-lines:])

    def complaints(self, start: int = 0, allowed: str = "") -> List[str]:
        """Panics and ERROR lines since `start`, but for ERROR lines that match `allowed`."""
        found = []
        for line in self.text(start).splitlines():
            known = bool(allowed) and re.search(allowed, line)
            if PANIC.search(line) or (ERROR.match(line) and not known):
                found.append(line)
        return found
