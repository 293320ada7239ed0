"""Gateway and worker as an ordinary user: no cgroups to make, no mounts without a user namespace."""

import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from harness import App, DevFleet, eventually, processes
from harness.daemon import binary
from test_isolation import (
    ATTACKER,
    WORKED,
    attack_in_vain,
    listener,  # noqa: F401
    outside,
    prey,
    refused,
)

# Not `nobody`, as which a user namespace shows everything that is root's.
ACCOUNT = "games"
# What docs/security.md says is not kept from an ordinary user's jobs.
KNOWN = {"see other processes"}


@pytest.fixture(scope="module")
def ordinary():
    """`metal9 dev` as an ordinary user, with nothing of root's within reach."""
    if os.geteuid() != 0:
        pytest.skip("only root can run it as somebody else; all other tests run as this user")
    # Root's home, where the other tests are at home, is closed to others.
    place = Path(tempfile.mkdtemp(prefix=".e2e-ordinary-", dir="/home"))
    place.chmod(0o755)
    programs = place / "bin"
    programs.mkdir()
    shutil.copy(Path(sys.executable).parent / "uv", programs)
    for directory in ["state", "home", "gates"]:
        (place / directory).mkdir()
        shutil.chown(place / directory, ACCOUNT, pwd.getpwnam(ACCOUNT).pw_gid)
    fleet = DevFleet(
        place / "state",
        account=ACCOUNT,
        HOME=str(place / "home"),
        USER=ACCOUNT,
        PATH=f"{programs}:/usr/bin:/bin",
        METAL9_WORKER_WRITABLE=str(place / "gates"),
    )
    try:
        fleet.start()
        yield fleet
        fleet.stop()
    finally:
        if fleet.daemon.running:
            fleet.daemon.kill()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def stubs(ordinary):
    """The attacker's functions, whose environment is ready."""
    stubs = {name: ordinary.api.stub(ATTACKER, f"app:{name}") for name in ["escape", "leave"]}
    work = ordinary.api.stub(ATTACKER, "app:work")
    assert ordinary.api.call(work).value == WORKED, "a job can do what programs do"
    return stubs


def test_it_runs_as_who_it_is_and_says_what_it_has(ordinary):
    account = pwd.getpwnam(ACCOUNT).pw_uid
    for pid in (ordinary.pid, ordinary.worker_pid):
        assert Path(f"/proc/{pid}").stat().st_uid == account
    [worker] = ordinary.api.get("/api/v1/status").json()["workers"]
    for part in ["landlock", "seccomp", "own file system view", "own network", "user namespace"]:
        assert part in worker["isolation"], worker["isolation"]


def test_a_program_of_the_sdk_runs_on_it(ordinary, stubs, tmp_path):
    app = App(tmp_path, ordinary.config)
    done = app(
        """
        import json, os
        from beta9 import function

        @function()
        def who(number):
            print("in the job")
            return [os.getuid(), number * 2]

        if __name__ == "__main__":
            print(json.dumps(who.remote(21)))
        """
    )
    assert done.code == 0, done
    assert done.json == [pwd.getpwnam(ACCOUNT).pw_uid, 42]
    app.close()


def test_its_jobs_get_at_nothing_that_is_not_their_own(ordinary, stubs):
    with prey(ordinary, ordinary.state.parent / "gates") as targets:
        attack_in_vain(ordinary.api, stubs["escape"], targets, KNOWN)


def test_what_its_jobs_leave_behind_is_gone(ordinary, stubs):
    _, daemon = ordinary.api.call(stubs["leave"]).value
    eventually(lambda: processes.living([daemon]), lambda left: not left, what="the daemon is gone")


def test_its_jobs_can_be_kept_from_the_network(ordinary, stubs, listener):  # noqa: F811
    targets = outside(ordinary, listener)
    blocked = ordinary.api.stub(ATTACKER, "app:reach", block_network=True)
    outcomes, _, _ = ordinary.api.call(blocked, targets).value
    assert outcomes["interfaces"] == ["lo"]
    assert refused(outcomes) == list(targets)
    assert outcomes["own loopback"] == "connected"


def test_its_jobs_are_held_to_their_memory_without_cgroups(ordinary):
    code = {
        "app.py": """
        def allocate(mib):
            print("allocating", flush=True)
            held = bytearray(mib << 20)
            for at in range(0, len(held), 4096):
                held[at] = 1
            return len(held)
        """
    }
    stub = ordinary.api.stub(code, "app:allocate", memory=256, retries=0)
    assert ordinary.api.call(stub, 50).value == 50 << 20
    call = ordinary.api.call(stub, 1500).finish()
    assert call.exit_code != 0 and "memory" in call.output, call
