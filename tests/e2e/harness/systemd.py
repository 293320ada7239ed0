#!/usr/bin/env python3
"""As much of systemd as one service needs, for machines that another init runs.

Called as `systemctl`, `journalctl` or `loginctl`. It reads the unit that was written and does what that says:
starts its command in its directory with its environment and nothing else, and stops it as `KillMode=mixed` does.
State is kept beside the program: `loaded` is the unit at the last `daemon-reload`, `pid` the running process, `log`
what it wrote. Every call is noted in `calls`.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).parent
UNIT = "metal9-worker.service"


def unit_file() -> Path:
    if os.geteuid() == 0:
        return Path("/etc/systemd/system") / UNIT
    return Path.home() / ".config/systemd/user" / UNIT


def settings() -> dict:
    """The unit's settings, each with all its values."""
    found: dict = {}
    for line in (HERE / "loaded").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def words(text: str) -> list:
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(text)]


def running() -> int:
    """The process of the service; 0 if there is none."""
    try:
        pid = int((HERE / "pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state == "Z" else pid


def start() -> None:
    if running():
        return
    unit = settings()
    env = dict(word.split("=", 1) for line in unit["Environment"] for word in words(line))
    env["HOME"] = os.environ["HOME"]
    with (HERE / "log").open("ab") as log:
        child = subprocess.Popen(
            words(unit["ExecStart"][0]),
            cwd=unit["WorkingDirectory"][0].replace("%%", "%"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=int(unit["UMask"][0], 8),
        )
    (HERE / "pid").write_text(str(child.pid))


def stop() -> None:
    pid = running()
    if not pid:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + float(settings()["TimeoutStopSec"][0])
    # Not the child of this process, so there is nothing to wait for but its absence.
    while running() and time.monotonic() < deadline:
        os.sched_yield()
    if running():
        os.kill(pid, signal.SIGKILL)


def show() -> None:
    loaded, pid = (HERE / "loaded").exists(), running()
    print("LoadState=" + ("loaded" if loaded else "not-found"))
    print("ActiveState=" + ("active" if pid else "inactive"))
    print("SubState=" + ("running" if pid else "dead"))
    print(f"MainPID={pid}\nExecMainStatus=0\nNRestarts=0")
    print("UnitFileState=" + ("enabled" if (HERE / "enabled").exists() else "disabled"))


def systemctl(arguments: list) -> int:
    verb = next(word for word in arguments if not word.startswith("--"))
    if verb == "daemon-reload":
        if unit_file().exists():
            (HERE / "loaded").write_text(unit_file().read_text())
        else:
            (HERE / "loaded").unlink(missing_ok=True)
    elif verb == "show":
        show()
    elif not (HERE / "loaded").exists():
        print(f"Unit {UNIT} could not be found.", file=sys.stderr)
        return 5
    elif verb == "enable":
        (HERE / "enabled").touch()
    elif verb == "disable":
        (HERE / "enabled").unlink(missing_ok=True)
        stop()
    if verb in ("stop", "restart"):
        stop()
    if verb in ("start", "restart"):
        start()
    return 0


def main() -> int:
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join([name, *arguments]) + "\n")
    if name == "loginctl":
        print("Linger=no")
        return 0
    if name == "journalctl":
        lines = int(arguments[arguments.index("--lines") + 1])
        print("\n".join((HERE / "log").read_text().splitlines()[-lines:]))
        return 0
    return systemctl(arguments)


if __name__ == "__main__":
    sys.exit(main())
