"""Volumes on a JuiceFS file system, in containers: of gVisor, which get the worker's mount, and of runc, whose root is
nobody outside and works on copies."""

import secrets
from pathlib import Path

import pytest
from beta9.clients.gateway import PoolConfig

from harness import SplitFleet, Volume
from harness import juicefs as jfs
from test_juicefs import CODE, able, lose_mount, own_mount, stub  # noqa: F401

KINDS = ["runc", "runsc"]

MORE = {
    "app.py": CODE["app.py"]
    + """
    def work():
        os.umask(0o022)
        (data / "below").mkdir()
        (data / "below/a").write_text("a")
        (data / "below/a").chmod(0o640)
        os.utime(data / "below/a", (1, 2))
        os.link(data / "below/a", data / "b")
        os.rename(data / "b", data / "below/b")
        os.symlink("a", data / "below/c")
        with open(data / "below/b", "r+") as file:
            file.truncate(0)
            file.write("changed")
        facts = (data / "below/c").stat()
        seen = oct(facts.st_mode & 0o777), facts.st_mtime > 2, facts.st_nlink, (data / "below/c").read_text()
        for name in "bc":
            (data / "below" / name).unlink()
        return seen, sorted(os.listdir(data / "below"))
    """
}


@pytest.fixture(scope="module")
def password():
    return secrets.token_hex(16)


@pytest.fixture(scope="module")
def far(fleet, password, tmp_path_factory):
    """A gateway and a worker of each kind, which would mount the file system as on a machine of its own."""
    redis = jfs.Redis(tmp_path_factory.mktemp("redis"), password)
    root = tmp_path_factory.mktemp("contained")
    settings = {
        "METAL9_JUICEFS_METADATA": redis.url(1),
        "METAL9_JUICEFS_FORMAT": "true",
        "METAL9_JUICEFS_BUCKET": f"{root}/disk/",
        "METAL9_JUICEFS_OWN_MOUNT": "true",
    }
    try:
        with SplitFleet(root, workers=0, environments=fleet.environments, **settings) as far:
            # Jobs in user namespaces could not enter the directories of the tests.
            far.env.pop("METAL9_WORKER_WRITABLE", None)
            far.of = {kind: far.add_worker(pool=kind, METAL9_WORKER_RUNTIME=kind) for kind in KINDS}
            yield far
        left = [str(place) for place in far.root.glob("*/juicefs/mnt") if jfs.mounted_at(place)]
        assert not left
    finally:
        redis.stop()


def within(far, kind, volume, handler):
    """A function of a volume in a container of this kind."""
    return stub(far.api, volume, handler, pool=PoolConfig(name=kind), code=MORE)


def test_containers_of_both_kinds_see_each_others_files(far):
    volume = Volume(far.api, "both")
    for one, other in (KINDS, reversed(KINDS)):
        place, _ = far.api.call(within(far, one, volume, "write"), one, f"by {one}").value
        is_mount = place == f"{own_mount(far.of[one])}/{volume.id}"
        assert is_mount == (one == "runsc") and place.startswith(str(far.of[one].state))
        # At once: what a call has written is there when its end is told.
        assert volume.read(one) == f"by {one}".encode()
        read = within(far, other, volume, "read")
        assert far.api.call(read, one).value[0] == f"by {one}"
    assert jfs.mounted_at(Path(own_mount(far.of["runsc"]))) == ["fuse.juicefs"]
    assert jfs.mount_process(far.of["runc"].pid) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_does_with_files_what_programs_do(far, kind):
    volume = Volume(far.api, f"work-{kind}")
    seen, names = far.api.call(within(far, kind, volume, "work")).value
    assert seen == ("0o640", True, 2, "changed") and names == ["a"]
    assert volume.read("below/a") == b"changed"
    # Who comes later may change them all, whatever they are to him.
    other = next(it for it in KINDS if it != kind)
    far.api.call(within(far, other, volume, "write"), "below/a", "anew").finish()
    assert volume.read("below/a") == b"anew"


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_sees_the_files_again_when_a_killed_mount_is_made_again(far, kind):
    volume = Volume(far.api, f"killed-{kind}")
    write = within(far, kind, volume, "write")
    place, _ = far.api.call(write, "a", "1").value
    # Copies are made of the gateway's.
    lose_mount(far.of["runsc"] if kind == "runsc" else far.gateway)
    # The container that saw the old one is warm yet, or was.
    again, _ = far.api.call(write, "b", "2").value
    assert again == place or kind == "runc"
    assert far.api.call(within(far, kind, volume, "read"), "a").value[0] == "1"
    assert volume.names() == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_finds_no_credentials_and_no_way_to_the_control_file(far, kind, password):
    volume = Volume(far.api, f"secret-{kind}")
    roots = ["data", ".", "/run", str(far.of[kind].state / "juicefs")]
    found, seen = far.api.call(within(far, kind, volume, "search"), password[::-1], roots).value
    assert (found, seen > 0) == ([], True)
    if kind == "runc":
        # A copy has no such file, and one that a job makes of that name is just a file.
        assert not any(jfs.mounted_at(Path(own_mount(far.of[kind]))))
        return
    for _ in range(2):
        answers = far.api.call(within(far, kind, volume, "control")).value
        assert answers == (["PermissionError"] * 9, ["below"])
