"""Volumes on a JuiceFS file system that the gateway and each worker mount for themselves."""

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest
from beta9.clients.gateway import Volume as VolumeOfStub

from harness import Gate, SplitFleet, Volume, eventually, processes
from harness import juicefs as jfs
from harness.daemon import Daemon


@pytest.fixture(scope="module", autouse=True)
def able():
    """A machine that can mount."""
    if why := jfs.obstacle():
        pytest.skip(why)


CODE = {
    "app.py": """
    import os, pathlib

    data = pathlib.Path("data")

    def write(name, text):
        (data / name).write_text(text)
        return os.readlink("data"), os.getpid()

    def read(name):
        return (data / name).read_text(), os.readlink("data")

    def hold(gate, mine, theirs):
        print("HOLDING", os.readlink("data"), flush=True)
        open(gate).read()
        (data / mine).write_text("from the one that held")
        return (data / theirs).read_text(), os.readlink("data")

    def fill(name, mib):
        block = os.urandom(1 << 20)
        with open(data / name, "wb") as file:
            for _ in range(mib):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def control():
        (data / "below").mkdir(exist_ok=True)
        answers = []
        for place in (data, data / "below", data / "."):
            for mode in ("rb", "r+b", "wb"):
                try:
                    open(place / ".control", mode).close()
                    answers.append("opened")
                except OSError as error:
                    answers.append(type(error).__name__)
        return answers, os.listdir(data)

    def many(count):
        for _ in range(count):
            (data / os.urandom(8).hex()).write_text("x")

    def search(backwards, roots):
        secret = backwards[::-1].encode()
        places = [pathlib.Path("/proc/self/environ"), pathlib.Path("/proc/self/mountinfo")]
        found, seen = [], 0
        for root in roots:
            for directory, _, names in os.walk(root):
                places.extend(pathlib.Path(directory) / name for name in names)
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            places.extend(process / name for name in ("environ", "cmdline"))
        for place in places:
            try:
                size, holds = scan(place, secret) if place.is_file() else (0, False)
            except OSError:
                continue
            seen += size > 0
            if holds:
                found.append(str(place))
        return found, seen

    def scan(place, secret):
        # In pieces: a file may be larger than the job's memory.
        size, holds, rest = 0, False, b""
        with open(place, "rb") as file:
            while piece := file.read(1 << 20):
                size, piece = size + len(piece), rest + piece
                holds, rest = holds or secret in piece, piece[-len(secret):]
        return size, holds
    """
}


@pytest.fixture(scope="module")
def password():
    return secrets.token_hex(16)


@pytest.fixture(scope="module")
def redis(tmp_path_factory, password):
    redis = jfs.Redis(tmp_path_factory.mktemp("redis"), password)
    yield redis
    redis.stop()


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A small disk for the contents of files."""
    place = tmp_path_factory.mktemp("disk")
    image, point = place / "image", place / "mnt"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    made = subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True)
    if made.returncode:
        pytest.skip(f"a disk cannot be mounted: {made.stderr.decode()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture(scope="module")
def far(fleet, redis, disk, tmp_path_factory):
    """A gateway and two workers that mount the file system as on machines of their own."""
    with SplitFleet(
        tmp_path_factory.mktemp("juicefs"),
        workers=2,
        environments=fleet.environments,
        METAL9_JUICEFS_METADATA=redis.url(1),
        METAL9_JUICEFS_FORMAT="true",
        METAL9_JUICEFS_BUCKET=f"{disk}/",
        METAL9_JUICEFS_OWN_MOUNT="true",
        METAL9_WORKER_CPU="1",
        METAL9_GATEWAY_CLIENT_GRACE_SECONDS="1",
    ) as far:
        yield far
    left = [str(place) for place in far.root.glob("*/juicefs/mnt") if jfs.mounted_at(place)]
    assert not left


@pytest.fixture
def api(far):
    far.restore()
    return far.api


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


def stub(api, volume, handler, code=CODE, **settings):
    mounts = [VolumeOfStub(id=volume.id, mount_path="./data")]
    return api.stub(code, f"app:{handler}", volumes=mounts, **settings)


def own_mount(worker):
    return str(worker.state / "juicefs/mnt")


def lose_mount(daemon):
    """Kills what keeps the file system mounted; returns once something else does."""
    old = jfs.mount_process(daemon.pid)
    assert old is not None
    os.kill(old, signal.SIGKILL)
    now = eventually(
        lambda: jfs.mount_process(daemon.pid),
        lambda pid: pid not in (None, old),
        what="juicefs runs again",
    )
    return old, now


def test_two_workers_with_a_mount_each_see_each_others_files(api, far, gate):
    volume = Volume(api, "both")
    volume.write("before", b"from a client")
    holding = api.call(stub(api, volume, "hold", cpu=1000), str(gate.path), "mine", "theirs")
    holding.until("HOLDING")
    there, _ = api.call(stub(api, volume, "write", cpu=1000), "theirs", "from the other").value
    gate.open()
    seen, here = holding.value
    assert seen == "from the other"
    mounts = {own_mount(worker) + f"/{volume.id}" for worker in far.workers}
    assert {here, there} == mounts
    assert volume.read("mine") == b"from the one that held"
    assert api.call(stub(api, volume, "read"), "before").value[0] == "from a client"
    assert all(jfs.mounted_at(Path(own_mount(worker))) == ["fuse.juicefs"] for worker in far.workers)


def test_a_killed_mount_is_made_again_and_the_next_call_works(api, far, gate):
    volume = Volume(api, "killed")
    write = stub(api, volume, "write")
    first, before = api.call(write, "a", "1").value
    [worker] = [it for it in far.workers if first.startswith(own_mount(it))]
    hold = stub(api, volume, "hold")
    far.remove_worker(next(it for it in far.workers if it is not worker))
    try:
        lose_mount(worker)
        # The container that saw the old one is warm yet, or was.
        again, after = api.call(write, "b", "2").value
        assert (again, after != before) == (first, True)
        holding = api.call(hold, str(gate.path), "c", "a").until("HOLDING")
        lose_mount(worker)
        gate.open()
        began = time.monotonic()
        holding.finish()
        assert holding.exit_code != 0 and "OSError" in holding.output, holding
        assert time.monotonic() - began < 10
        assert api.call(write, "d", "4").value[0] == first
        assert volume.names() == ["a", "b", "d"]
    finally:
        far.add_worker()


def test_the_gateway_mounts_again_what_was_killed(api, far):
    volume = Volume(api, "gateway")
    volume.write("a", b"1")
    lose_mount(far.gateway)
    assert volume.read("a") == b"1"
    volume.write("b", b"2")
    assert volume.names() == ["a", "b"]


def test_what_a_killed_gateway_left_mounted_is_replaced(api, far):
    volume = Volume(api, "left")
    volume.write("a", b"1")
    old = jfs.mount_process(far.gateway.pid)
    point = far.root / "gateway/juicefs/mnt"
    far.gateway.kill()
    assert processes.alive(old) and jfs.mounted_at(point)
    far.restart_gateway()
    eventually(lambda: processes.alive(old), lambda there: not there, what="the old one is gone")
    assert jfs.mounted_at(point) == ["fuse.juicefs"]
    volume = Volume(far.api, "left")
    assert volume.read("a") == b"1"
    assert far.api.call(stub(far.api, volume, "read"), "a").value[0] == "1"


def test_a_job_finds_no_credentials(api, far, password):
    volume = Volume(api, "secret")
    # A job sees in /tmp what other tests left; they leave whole binaries.
    with (far.root / "large").open("wb") as file:
        file.truncate(300 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"needle")
    roots = [str(far.root), "/tmp", "/run", "/root/.juicefs", "data", "."]
    search = stub(api, volume, "search")
    found, seen = api.call(search, password[::-1], roots).value
    assert (found, seen > 0) == ([], True)
    found, _ = api.call(search, "eldeen", [str(far.root)]).value
    assert str(far.root / "large") in found
    (far.root / "large").unlink()
    # Nor does anybody in a list of processes.
    for pid in [jfs.mount_process(it.pid) for it in (far.gateway, *far.workers)]:
        if pid is not None:
            assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    logs = far.logs() + "".join(it.read_text() for it in far.root.glob("*/juicefs/mount.log"))
    assert password not in logs


def test_a_job_cannot_tell_the_file_system_what_to_do(api):
    # Whoever opens that file gets at everybody's files.
    control = stub(api, Volume(api, "control"), "control")
    for _ in range(2):
        assert api.call(control).value == (["PermissionError"] * 9, ["below"])


def test_a_worker_that_cannot_mount_works_on_copies(api, far):
    volume = Volume(api, "copied")
    volume.write("a", b"1")
    others = list(far.workers)
    for worker in others:
        far.remove_worker(worker)
    poor = far.add_worker(METAL9_JUICEFS_PROGRAM="/nowhere/juicefs")
    try:
        text, place = api.call(stub(api, volume, "read"), "a").value
        assert text == "1" and "/juicefs/" not in place
        api.call(stub(api, volume, "write"), "b", "2").finish()
        assert volume.read("b") == b"2"
    finally:
        far.remove_worker(poor)
        for _ in others:
            far.add_worker()


def test_a_full_quota_is_an_error(api, redis, password):
    volume = Volume(api, "quota")
    many = stub(api, volume, "many")
    api.call(many, 1).finish()
    words = ("quota", "set", redis.open_url(1), "--path", f"/{volume.id}", "--inodes", "3")
    set_ = jfs.juicefs(*words, META_PASSWORD=password)
    assert set_.returncode == 0, set_.stderr

    def refused():
        call = api.call(many, 100).finish()
        return call.exit_code, "quota exceeded" in call.output

    # Those who have it mounted read it once in a while.
    eventually(refused, lambda it: it == (1, True), what="the quota counts", within=60)


def test_a_full_disk_is_an_error_and_no_hang(api):
    volume = Volume(api, "full")
    fill = stub(api, volume, "fill")
    assert api.call(fill, "small", 1).finish().exit_code == 0
    began = time.monotonic()
    call = api.call(fill, "large", 100).finish()
    assert call.exit_code == 1 and "OSError" in call.output, call
    assert time.monotonic() - began < 60
    assert api.call(stub(api, volume, "write"), "large", "").finish().exit_code == 0


def test_no_server_for_metadata_is_an_error_within_bounds(api, far, redis):
    volume = Volume(api, "down")
    write = stub(api, volume, "write")
    assert api.call(write, "a", "1").finish().exit_code == 0
    redis.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        # It may begin: what was asked a moment ago is known yet.
        warm = api.call(write, "b", "2").finish()
        assert warm.exit_code == 1, warm
        assert "OSError" in warm.output or "file system of the volumes" in warm.output, warm
        cold = api.call(stub(api, volume, "read"), "a").finish()
        assert cold.exit_code == 1 and "file system of the volumes" in cold.output, cold
        assert time.monotonic() - began < 60
    finally:
        redis.process.send_signal(signal.SIGCONT)
    eventually(lambda: api.call(write, "c", "3").finish().exit_code, lambda code: code == 0, what="it is back")


def test_without_a_file_system_the_gateway_says_how_to_make_one(redis, tmp_path, far):
    gateway = Daemon(
        "gateway",
        ["gateway", "--state", str(tmp_path / "state"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        tmp_path / "log",
        {**far.env, "METAL9_JUICEFS_METADATA": redis.url(2), "METAL9_JUICEFS_FORMAT": "false"},
    ).start()
    assert gateway.process.wait(30) == 2, gateway.tail()
    assert "there is no JuiceFS file system" in gateway.text()
    assert f"{redis.open_url(2)} metal9" in " ".join(gateway.text().split())
    assert redis.password not in gateway.text()


def test_on_one_machine_jobs_use_the_gateways_mount(fleet, tmp_path):
    near = SplitFleet(
        tmp_path,
        environments=fleet.environments,
        METAL9_JUICEFS_METADATA=f"sqlite3://{tmp_path}/meta.db",
        METAL9_JUICEFS_FORMAT="true",
    )
    try:
        near.start()
        volume = Volume(near.api, "near")
        write = stub(near.api, volume, "write")
        place, before = near.api.call(write, "a", "1").value
        assert place == f"{tmp_path}/gateway/juicefs/mnt/{volume.id}"
        assert jfs.mount_process(near.workers[0].pid) is None
        lose_mount(near.gateway)
        again, after = near.api.call(write, "b", "2").value
        assert (again, after != before) == (place, True)
        assert volume.names() == ["a", "b"]
        control = stub(near.api, Volume(near.api, "control"), "control")
        assert near.api.call(control).value == (["PermissionError"] * 9, ["below"])
    finally:
        near.stop()
    assert not jfs.mounted_at(tmp_path / "gateway/juicefs/mnt")
