"""What the system's processes are and what they use, from /proc."""

import os
from pathlib import Path
from typing import Dict, List, NamedTuple


class Seen(NamedTuple):
    """A process that was found."""

    pid: int
    command: str


def state(pid: int) -> str:
    """The kernel's letter for what the process does (`R`, `S`, `T`, `Z`); `X` once it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    """True while the process runs; a zombie that nobody has waited for does not."""
    return state(pid) not in ("Z", "X")


def is_shim(pid: int) -> bool:
    """True for the supervisor between a worker and a runner."""
    return _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")[1:2] == [b"exec-shim"]


def living(pids: List[int]) -> List[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if alive(pid)]


def parent(pid: int) -> int:
    """The process's parent."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def children(pid: int) -> List[int]:
    """The process's own children."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in _read(path).split()]


def memory(pid: int) -> Dict[str, int]:
    """Memory figures of one process in KiB, by the kernel's names (`VmRSS`, `VmHWM`)."""
    figures = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.startswith("Vm"):
            figures[name] = int(value.split()[0])
    return figures


def mentioning(path: Path) -> List[Seen]:
    """Live processes whose command line, environment, directory or program lies in `path`."""
    needle = str(path).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        if needle in _traces(entry) and alive(pid):
            command = _read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace")
            found.append(Seen(pid, command.strip()))
    return found


def _traces(entry: Path) -> bytes:
    links = [_link(entry / name) for name in ("cwd", "exe")]
    return b"\0".join([_read(entry / "cmdline"), _read(entry / "environ"), *links])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _link(path: Path) -> bytes:
    try:
        return os.readlink(path).encode()
    except OSError:
        return b""
