"""A gateway and a worker in one process: `metal9 dev`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import processes
from .api import Api
from .daemon import Daemon, binary
from .program import client_environment
from .waiting import eventually


# Directories that jobs may write beside their own, as the operator of a worker allows it.
_writable: List[Path] = []


def let_jobs_write(directory: Path) -> None:
    """Lets the jobs of workers that are started from now on write a directory of the tests."""
    _writable.append(directory)


def system_environment() -> Dict[str, str]:
    """The environment of the system's processes: this one's, without what would steer them."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BETA9_", "METAL9_", "PYTHON", "GRPC_"))
        and name not in ("CONFIG_PATH", "CONTAINER_ID")
    }
    # uv is installed beside the Python that runs the tests.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    if _writable:
        env["METAL9_WORKER_WRITABLE"] = ":".join(map(str, _writable))
    env["METAL9_LOG"] = os.environ.get("METAL9_LOG", "info")
    return env


def nothing_left_of(state: Path, within: float = 10.0) -> None:
    """Fails if processes that were started below a state directory are still there."""

    def left() -> List[processes.Seen]:
        return processes.mentioning(state)

    eventually(left, lambda found: not found, what=f"no process of {state} is left", within=within)


def run_as_user(
    command: List[str],
    config: Path,
    home: Path,
    code: Optional[int] = 0,
    env: Optional[Dict[str, str]] = None,
) -> subprocess.CompletedProcess:
    """Runs a command to its end as somebody who has been given `config`; it must end with `code`."""
    done = subprocess.run(
        command,
        cwd=home,
        env={**client_environment(config, home), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert code is None or done.returncode == code, (
        f"{' '.join(command[1:])} ended with {done.returncode}, not {code}\n"
        f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    )
    return done


class DevFleet:
    """The whole system on this machine, as `metal9 dev` starts it."""

    def __init__(
        self, state: Path, *arguments: str, account: Optional[str] = None, **settings: str
    ):
        """`arguments` are further ones of `metal9 dev`, `account` is whom it runs as, and
        `settings` are environment variables of its processes."""
        self.state = state
        self.home = state.parent / "home"
        self.daemon = Daemon(
            "metal9 dev",
            [
                *("dev", "--state", str(state), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
                *arguments,
            ],
            state.parent / "dev.log",
            {**system_environment(), **settings},
            account,
        )
        self.facts: Dict[str, Any] = {}
        self.api: Optional[Api] = None

    def start(self) -> "DevFleet":
        """Starts it and waits until it says where it listens."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        ready = self.state / "dev.json"
        self.daemon.start().wait_for_file(ready)
        self.facts = json.loads(ready.read_text())
        self.api = Api(self.facts["grpc"], self.facts["http"], self.facts["token"])
        return self

    @property
    def config(self) -> Path:
        """The SDK configuration that reaches this fleet."""
        return Path(self.facts["config"])

    @property
    def environments(self) -> Path:
        """Where its worker keeps environments."""
        return self.state / "worker" / "env"

    @property
    def pid(self) -> int:
        return self.daemon.pid

    @property
    def worker_pid(self) -> int:
        """The worker's process, which `metal9 dev` starts."""
        [pid] = [pid for pid in processes.children(self.pid) if b"worker" in _command(pid)]
        return pid

    def stop(self) -> None:
        """Ends it, and checks that nothing of it stays behind."""
        if self.api is not None:
            self.api.close()
        running = self.daemon.running
        code = self.daemon.stop()
        assert running, f"metal9 dev had ended by itself with {code}:\n{self.daemon.tail()}"
        assert code == 0, f"metal9 dev ended with {code} after SIGTERM:\n{self.daemon.tail()}"
        nothing_left_of(self.state)

    # ---- command lines ----

    def beta9(self, *arguments: str, code: Optional[int] = 0) -> subprocess.CompletedProcess:
        """Runs the SDK's command line."""
        return self._run([sys.executable, "-m", "beta9", *arguments], code)

    def metal9(
        self, *arguments: str, code: Optional[int] = 0, **env: str
    ) -> subprocess.CompletedProcess:
        """Runs metal9's own command line, with `env` in its environment."""
        return self._run([str(binary()), *arguments], code, env)

    def _run(
        self, command: List[str], code: Optional[int], env: Optional[Dict[str, str]] = None
    ) -> subprocess.CompletedProcess:
        return run_as_user(command, self.config, self.home, code, env)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
