"""`metal9 selftest` and `metal9 doctor` on this very machine."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.daemon import binary
from harness.fleet import nothing_left_of, system_environment


def metal9(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs the command line with a home of its own."""
    env = {**system_environment(), "HOME": str(home), **variables}
    env.pop("METAL9_WORKER_WRITABLE", None)
    return subprocess.run(
        [str(binary()), *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def home():
    """A home with a file that is nobody else's business, outside of what is each job's own."""
    home = Path(tempfile.mkdtemp(prefix=".e2e-selftest-", dir=Path.home()))
    (home / "diary.txt").write_text("private")
    yield home
    shutil.rmtree(home, ignore_errors=True)


def checks(done: subprocess.CompletedProcess) -> dict:
    """The checks of a report by name."""
    report = json.loads(done.stdout)
    return {check["name"]: check for check in report["report"]["checks"]}


@pytest.fixture(scope="module")
def kept(home):
    """Where the environments of one run wait for the next; what is in `/tmp` is no job's, though each has its own."""
    kept = Path(tempfile.mkdtemp(prefix="metal9-selftest-", dir="/tmp"))
    yield kept
    shutil.rmtree(kept, ignore_errors=True)


def test_this_machine_passes_its_self_test(home, kept):
    done = metal9(home, "--json", "selftest", "--state", str(kept))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = checks(done)
    assert {name: check["status"] for name, check in found.items()} == {
        "gateway": "ok",
        "worker": "ok",
        "environment": "ok",
        "call": "ok",
        "output": "ok",
        "files": "ok",
        "network": "ok",
        "memory": "ok",
        "cancellation": "ok",
        "detached": "ok",
        "gauges": "ok",
        "mlx environment": "ok",
        "mlx": "ok",
        "mlx memory": "ok",
        "pytorch": "skipped",
        "end": "ok",
        "gateway-only": "ok",
    }
    for name in ["memory", "mlx memory"]:
        assert ", by the " in found[name]["found"], "who has ended the job"
    assert "another port" in found["gateway-only"]["found"]
    assert "UDP" in found["gateway-only"]["found"]
    assert "there is no Apple GPU" in found["mlx"]["found"]
    assert "landlock" in json.loads(done.stdout)["report"]["isolation"]
    nothing_left_of(home)


def test_a_job_that_is_not_isolated_fails_the_self_test(home, kept):
    done = metal9(home, "selftest", "--state", str(kept), METAL9_WORKER_ISOLATION="off")
    assert done.returncode == 1, done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert line.split()[1] == "files"
    assert f"read {home}/diary.txt" in line and "own.txt" in line
    assert f"write into {home}" in line and f"write into {kept}" in line
    assert list(home.glob("*was-here")) == list(kept.rglob("*was-here")) == [], "it cleans up"
    assert "warn" in done.stdout and "`block_network` are refused" in done.stdout
    assert "a worker whose jobs reach the gateway only cannot be had here" in done.stdout
    assert "does not pass its self-test" in done.stderr


def test_a_gpu_that_is_not_there_fails_where_one_is_asked_for(home, kept):
    done = metal9(home, "--json", "selftest", "--gpu", "--state", str(kept))
    assert done.returncode == 1
    failed = [name for name, check in checks(done).items() if check["status"] == "fail"]
    assert failed == ["gpu"]


def test_without_a_place_of_its_own_nothing_is_left(home):
    done = metal9(home, "--json", "selftest", METAL9_WORKER_UV="/bin/false")
    assert done.returncode == 1
    found = checks(done)
    assert found["worker"]["status"] == "fail" and "/bin/false" in found["worker"]["found"]
    assert list((home / ".metal9/selftest").iterdir()) == []


def test_the_doctor_finds_this_machine_fit(home):
    done = metal9(home, "--json", "doctor")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], done.stdout
    found = {check["name"]: check for check in report["checks"]}
    assert found["isolation"]["status"] == "ok" and found["uv"]["status"] == "ok"
    assert found["kinds of jobs"]["status"] == "ok"
    assert "all 3 can be started" in found["kinds of jobs"]["found"]
    assert found["joined"]["status"] == "warn" and "token join" in found["joined"]["fix"]
    assert not (home / ".metal9/worker").exists(), "looking changes nothing"


def test_the_doctor_knows_what_has_joined_and_whether_the_gateway_knows_it(split):
    worker = split.workers[0]
    place = ["--state", str(worker.state), "--gateway-state", str(split.root / "gateway")]
    done = metal9(Path.home(), "--json", "doctor", *place)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for name in ["joined", "gateway", "credential", "clock", "gateway state", "gateway runs"]:
        assert found[name]["status"] == "ok", found[name]
    assert f"process {worker.pid} runs the worker" in found["service"]["found"]
    identity = worker.state / "worker.json"
    before = identity.read_text()
    identity.write_text(json.dumps({**json.loads(before), "credential": "not.it"}))
    try:
        done = metal9(Path.home(), "doctor", *place)
        assert done.returncode == 1
        assert "FAIL    credential" in done.stdout and "join again" in done.stdout, done.stdout
    finally:
        identity.write_text(before)
