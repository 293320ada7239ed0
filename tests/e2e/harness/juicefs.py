"""What a JuiceFS file system needs: a server for its metadata, and a look at who has it mounted."""

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import List, Optional

from . import processes
from .fleet import system_environment
from .waiting import eventually


def obstacle() -> Optional[str]:
    """Why no JuiceFS file system can be mounted here; nothing if one can."""
    path = system_environment()["PATH"]
    for program in ("juicefs", "redis-server", "fusermount3"):
        if shutil.which(program, path=path) is None:
            return f"there is no {program}"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be used"
    if os.geteuid() != 0:
        return "only root may mount a disk"
    return None


def juicefs(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Runs the program."""
    return subprocess.run(
        ["juicefs", "--no-agent", *arguments],
        env={**system_environment(), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def mount_process(daemon_pid: int) -> Optional[int]:
    """The process that keeps a gateway's or worker's file system mounted."""
    for pid in processes.children(daemon_pid):
        # It writes its own command line anew, with blanks.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").split()
        if words and words[0].endswith(b"juicefs") and b"mount" in words:
            return pid
    return None


def mounted_at(point: Path) -> List[str]:
    """The kinds of what is mounted at a place."""
    lines = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [line[line.index("-") + 1] for line in lines if line[4] == str(point)]


class Redis:
    """A server for metadata, which wants a password and forgets everything when it ends."""

    def __init__(self, directory: Path, password: str):
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        eventually(self._answers, what="redis answers")
        assert b"OK" in self._ask(f"CONFIG SET requirepass {password}")

    def url(self, database: int) -> str:
        """The address of a database, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def open_url(self, database: int) -> str:
        """The same without."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _ask(self, words: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(words.encode() + b"\r\n")
            return connection.recv(1000)

    def _answers(self) -> bool:
        try:
            return b"PONG" in self._ask("PING")
        except OSError:
            return False
