"""`metal9 worker install` and what belongs to it, under a service manager that does what the unit says, and under
systemd itself where the machine runs it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from harness import eventually, processes
from harness.daemon import binary
from harness.fleet import nothing_left_of, system_environment

HELLO = """
import json
from beta9 import function

@function()
def hello():
    return "hello"

if __name__ == "__main__":
    print(json.dumps(hello.remote()))
"""

SYSTEMD = Path(__file__).parent / "harness" / "systemd.py"

# Root's unit goes where the machine's own are: there, and only for these processes, is a directory of the test's.
APART = 'mkdir -p /etc/systemd/system && mount --bind "$0" /etc/systemd/system && exec "$@"'


def run(command: List[str], env: Dict[str, str], code: int) -> subprocess.CompletedProcess:
    """Runs the command line, which must end with this code."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


class Machine:
    """A home, and a service manager of its own."""

    def __init__(self, root: Path):
        self.home = root / "home"
        self.manager = root / "manager"
        self.units = root / "units"
        for directory in (self.home, self.manager, self.units):
            directory.mkdir()
        for name in ("systemctl", "journalctl", "loginctl"):
            program = self.manager / name
            program.write_text(f"#!{sys.executable}\n" + SYSTEMD.read_text())
            program.chmod(0o755)

    def metal9(self, *arguments: str, code: int = 0, **variables: str):
        """Runs the command line."""
        env = {**system_environment(), "HOME": str(self.home), **variables}
        env["PATH"] = f"{self.manager}{os.pathsep}{env['PATH']}"
        env.pop("SUDO_USER", None)
        command: List[str] = [str(binary()), *arguments]
        if os.geteuid() == 0:
            command = ["unshare", "--mount", "sh", "-c", APART, str(self.units), *command]
        return run(command, env, code)

    @property
    def state(self) -> Path:
        return self.home / ".metal9/worker"

    def status(self) -> Dict:
        return json.loads(self.metal9("--json", "worker", "status").stdout)

    def calls(self) -> List[str]:
        return (self.manager / "calls").read_text().splitlines()


class Real(Machine):
    """This machine and its own systemd: the unit of root, or of the user who runs the tests."""

    def __init__(self, root: Path):
        self.place = root / "state"

    def metal9(self, *arguments: str, code: int = 0, **variables: str):
        env = {**system_environment(), "METAL9_WORKER_STATE_DIR": str(self.place), **variables}
        env.pop("SUDO_USER", None)
        return run([str(binary()), *arguments], env, code)

    @property
    def state(self) -> Path:
        return self.place


def no_systemd() -> str:
    """Why nothing can be installed under this machine's own systemd; empty if it can."""
    if not Path("/run/systemd/system").exists():
        return "this machine is not run by systemd"
    scope = [] if os.geteuid() == 0 else ["--user"]
    listed = ["systemctl", *scope, "list-unit-files", "--no-legend", "metal9-worker.service"]
    done = subprocess.run(listed, capture_output=True, text=True)
    if "metal9-worker.service" in done.stdout:
        return "this machine has a worker of its own, which a test must not touch"
    if scope and subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True).returncode:
        return "this user's systemd does not answer"
    return ""


@pytest.fixture
def machine(tmp_path, split):
    machine = Machine(tmp_path)
    machine.state.mkdir(parents=True)
    (machine.state / "env").symlink_to(split.environments)
    yield machine
    if machine.status()["installed"]:
        # Only a test that has failed leaves it there.
        machine.metal9("worker", "uninstall")


def test_a_worker_that_has_not_joined_is_not_installed(machine):
    shutil.rmtree(machine.state)
    done = machine.metal9("worker", "install", code=2)
    assert "has not joined" in done.stderr and "--gateway" in done.stderr
    assert not (machine.manager / "calls").exists()


def test_a_dry_run_prints_what_it_would_do_and_does_nothing(machine):
    done = machine.metal9("worker", "install", "--dry-run", METAL9_WORKER_DRAIN_SECONDS="40")
    assert "metal9-worker.service:" in done.stdout and "daemon-reload" in done.stdout
    assert "    TimeoutStopSec=60" in done.stdout
    assert not (machine.manager / "calls").exists() and not any(machine.units.iterdir())


WHERE = """
import os

def where():
    return os.uname().nodename
"""

OF_CONTAINERS = {
    "METAL9_WORKER_RUNTIME": "runc",
    "METAL9_IMAGES_INSECURE_REGISTRIES": "registry.lan:5000",
    "METAL9_JUICEFS_CACHE_MIB": "100",
    "METAL9_JUICEFS_METADATA": "redis://:secret@meta.lan/1",
    # Jobs in user namespaces could not enter the directories of the tests.
    "METAL9_WORKER_WRITABLE": "",
}


def test_a_worker_of_containers_is_roots_and_is_given_what_it_reads_and_no_secret(machine, split):
    if os.geteuid() != 0:
        pytest.skip("only root's service makes containers")
    shown = machine.metal9("worker", "install", "--dry-run", **OF_CONTAINERS).stdout
    for line in ("Delegate=yes", "User=root", 'Environment="METAL9_WORKER_RUNTIME=runc"'):
        assert f"    {line}\n" in shown
    assert "METAL9_IMAGES_INSECURE_REGISTRIES" in shown and "METAL9_JUICEFS_CACHE_MIB" in shown
    for kept_out in ("secret", "NoNewPrivileges", "RestrictSUIDSGID"):
        assert kept_out not in shown
    done = machine.metal9("worker", "install", "--dry-run", "--user", "nobody", code=2, **OF_CONTAINERS)
    assert 'runtime = "runc" takes a worker of root\'s' in done.stderr and "--user root" in done.stderr
    # What the unit says starts such a worker.
    gateway = ["--gateway", split.grpc, "--token", split._join_token()]
    machine.metal9("worker", "install", *gateway, **OF_CONTAINERS)
    eventually(split.connected, lambda count: count == 2, what="it is connected", within=60)
    isolations = [worker["isolation"] for worker in split.api.get("/api/v1/status").json()["workers"]]
    assert any(it.startswith("runc ") and "own network" in it for it in isolations), isolations
    stub = split.api.stub({"app.py": WHERE}, "app:where", env=["METAL9_RUNTIME=runc"])
    assert split.api.call(stub).value.startswith("metal9-")
    assert machine.state.stat().st_mode & 0o777 == 0o700
    lines = {check["name"]: check for check in doctor(machine, **OF_CONTAINERS)}
    for name in ("containers", "networks", "cgroups", "service"):
        assert lines[name]["status"] == "ok", lines[name]
    assert lines["containers"]["found"].startswith("runc 1") and "unit" not in lines
    assert lines["images"]["status"] in ("ok", "skipped"), lines["images"]
    machine.metal9("worker", "uninstall")
    nothing_left_of(machine.state)


def doctor(machine, code=0, **variables):
    return json.loads(machine.metal9("--json", "doctor", code=code, **variables).stdout)["checks"]


def test_commands_without_a_service_say_how_to_get_one(machine):
    for command in ("start", "stop", "uninstall", "logs"):
        done = machine.metal9("worker", command, code=1)
        assert "metal9 worker install" in done.stderr, command
    assert machine.status()["installed"] is False


@pytest.fixture
def real(tmp_path, split):
    reason = no_systemd()
    if reason:
        pytest.skip(reason)
    real = Real(tmp_path)
    real.state.mkdir(parents=True)
    (real.state / "env").symlink_to(split.environments)
    yield real
    if real.status()["installed"]:
        # Only a test that has failed leaves it there.
        real.metal9("worker", "uninstall")


def test_a_worker_is_installed_runs_calls_stops_starts_and_is_removed(machine, split, split_app):
    lives(machine, split, split_app)
    assert machine.calls().count("systemctl daemon-reload") + machine.calls().count(
        "systemctl --user daemon-reload"
    ) == 3


def test_a_worker_lives_under_systemd_itself(real, split, split_app):
    lives(real, split, split_app)


def lives(machine, split, split_app):
    # Only this worker is there to run anything.
    other = split.workers[0]
    other.stop()
    gateway = ["--gateway", split.grpc, "--token", split._join_token()]
    done = machine.metal9("worker", "install", *gateway, METAL9_WORKER_LABELS="zone=attic")
    assert "joined pool default" in done.stderr and "the worker runs (pid" in done.stdout
    split.wait_for_workers(1)
    first = machine.status()["standing"]["pid"]
    assert split_app(HELLO).json == "hello"

    # The same again replaces the running one.
    machine.metal9("worker", "install")
    split.wait_for_workers(1)
    second = machine.status()["standing"]["pid"]
    assert second != first and not processes.alive(first)

    assert "stopped" in machine.metal9("worker", "stop").stdout
    assert not processes.alive(second) and machine.status()["standing"]["running"] is False
    assert "does not run" in machine.metal9("worker", "stop", code=1).stderr
    machine.metal9("worker", "start")
    split.wait_for_workers(1)
    assert "the worker is ready" in machine.metal9("worker", "logs", "-n", "100").stdout

    found = {check["name"]: check for check in doctor(machine)}
    assert found["service"]["status"] == "ok" and found["credential"]["status"] == "ok"

    machine.metal9("worker", "uninstall")
    assert machine.status()["installed"] is False and (machine.state / "worker.json").exists()
    nothing_left_of(machine.state)
