"""Jobs that run as an account of their own, which a worker that is root can be told to have them do."""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest
import requests
from beta9.clients.gateway import PoolConfig

from harness import Daemon, eventually
from harness.fleet import system_environment

USER = "nobody"

APP = {
    "helper.py": "WORD = 'found'",
    "app.py": """
    import os, subprocess, sys, tempfile

    def who():
        from helper import WORD
        with open("own.txt", "w") as file:
            file.write("x")
        with open("app.py", "a") as file:
            file.write("# its own file")
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        child = subprocess.run([sys.executable, "-c", "import os; print(os.getuid())"], capture_output=True, text=True)
        return {
            "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
            "groups": os.getgroups(),
            "child": child.stdout.strip(),
            "owner": os.stat("app.py").st_uid,
            "home": os.access(os.environ["HOME"], os.W_OK),
            "word": WORD,
        }

    def become_root():
        try:
            os.setuid(0)
        except OSError as error:
            return type(error).__name__
    """,
}


def worker(fleet, root, **settings):
    """Starts a worker in a pool of its own, which has joined already."""
    answer = requests.post(
        f"http://{fleet.facts['http']}/api/v1/worker/join-tokens",
        json={"pool": USER, "ttl_seconds": 60, "single_use": True},
        headers={"Authorization": f"Bearer {fleet.facts['token']}"},
        timeout=10,
    )
    env = {**system_environment(), **settings}
    state, log = root / "state", root / "log"
    state.mkdir()
    arguments = [fleet.facts["grpc"], "--token", answer.json()["token"], "--state", str(state)]
    join = Daemon("join", ["worker", "join", *arguments], log, env).start()
    assert join.process.wait(30) == 0, join.tail()
    # Environments are built once.
    (state / "env").symlink_to(fleet.state / "worker" / "env")
    daemon = Daemon("worker", ["worker", "run", "--state", str(state)], log, env)
    # As under the service that `metal9 worker install` makes.
    daemon.umask = 0o077
    return daemon.start()


@pytest.fixture(scope="module")
def pool(fleet):
    """The pool of a worker whose jobs run as nobody, or nothing if that cannot be."""
    # Where that user can pass: the directories of tests are closed to everybody else.
    root = Path(tempfile.mkdtemp(prefix="metal9-accounts-", dir="/var/tmp"))
    root.chmod(0o755)
    daemon = worker(fleet, root, METAL9_WORKER_JOB_USER=USER)
    if os.geteuid() != 0:
        assert daemon.process.wait(30) != 0
        assert "only a worker that is root" in daemon.tail()
        yield None
        shutil.rmtree(root)
        return
    workers = lambda: fleet.api.get("/api/v1/status").json()["workers"]
    eventually(workers, lambda all: any(w["pool"] == USER and w["connected"] for w in all), what="it is there", within=30)
    yield PoolConfig(name=USER)
    daemon.stop()
    shutil.rmtree(root)


def test_a_job_is_another_user_and_its_files_are_that_users(api, pool):
    if pool is None:
        return
    nobody = pwd.getpwnam(USER)
    stub = api.stub(APP, "app:who", pool=pool)
    # The second call takes a process that was made before anybody asked for it.
    for _ in range(2):
        value = api.call(stub).value
        assert value["ids"] == [nobody.pw_uid] * 2 + [nobody.pw_gid] * 2
        assert value["groups"] == [nobody.pw_gid]
        assert value["child"] == str(nobody.pw_uid)
        assert value["owner"] == nobody.pw_uid and value["home"] and value["word"] == "found"
    assert api.call(api.stub(APP, "app:become_root", pool=pool)).value == "PermissionError"


@pytest.mark.parametrize(
    "user, words",
    [("root", "jobs never run as root"), ("metal9-no-such-user", "no user of that name")],
)
def test_an_account_that_will_not_do_is_refused_at_the_start(fleet, tmp_path, user, words):
    daemon = worker(fleet, tmp_path, METAL9_WORKER_JOB_USER=user)
    assert daemon.process.wait(30) != 0
    assert words in daemon.tail() and f'job_user = "{user}"' in daemon.tail()
