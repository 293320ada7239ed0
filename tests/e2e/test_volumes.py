"""Volumes: shared directories, from the command line and in jobs."""

import ctypes
import json
import os
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from beta9.client.client import Client
from beta9.clients.gateway import Volume as VolumeOfStub
from beta9.clients.volume import (
    AbortMultipartUploadRequest,
    CompletedPart,
    DeletePathRequest,
    DeleteVolumeRequest,
    ListPathRequest,
    ListVolumesRequest,
    MovePathRequest,
    PresignedUrlMethod,
    StatPathRequest,
)

from harness import Volume, eventually
from harness.program import client_environment


@pytest.fixture
def volume(api):
    """A volume of the test's own."""
    volume = Volume(api, f"v-{uuid.uuid4()}")
    yield volume
    volume.stub.delete_volume(DeleteVolumeRequest(name=volume.name))


def put(part, content):
    answer = requests.put(part.url, data=content[part.start : part.end], timeout=10)
    assert answer.status_code == 200, answer.text
    return CompletedPart(number=part.number, etag=answer.headers["ETag"].strip('"'))


# ---- the command line ----


def test_the_command_line_copies_lists_moves_and_removes(fleet, tmp_path):
    (tmp_path / "folder/below").mkdir(parents=True)
    content = os.urandom(6 << 20)
    (tmp_path / "large.bin").write_bytes(content)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "folder/one.txt").write_text("one")
    (tmp_path / "folder/below/two.txt").write_text("two")

    fleet.beta9("volume", "create", "cli")
    assert "cli" in fleet.beta9("volume", "list").stdout
    copied = copy(fleet, tmp_path, tmp_path / "large.bin", "beta9://cli/")
    assert copied.returncode == 0, copied.stdout + copied.stderr
    copy(fleet, tmp_path, tmp_path / "empty.txt", "beta9://cli/empty.txt")
    copy(fleet, tmp_path, tmp_path / "folder", "beta9://cli/folder")

    def names(path):
        shown = json.loads(fleet.beta9("ls", path, "--format", "json").stdout)
        return sorted((entry["path"], int(entry.get("size", 0))) for entry in shown)

    assert names("cli") == [("empty.txt", 0), ("folder", 0), ("large.bin", 6 << 20)]
    assert names("cli/folder/*.txt") == [("folder/one.txt", 3)]

    fleet.beta9("mv", "cli/folder/one.txt", "cli/moved/uno.txt")
    assert names("cli/moved") == [("moved/uno.txt", 3)]
    copy(fleet, tmp_path, "beta9://cli/large.bin", "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    copy(fleet, tmp_path, "beta9://cli/folder", "down")
    assert (tmp_path / "down/below/two.txt").read_text() == "two"
    fleet.beta9("rm", "cli/large.bin")
    fleet.beta9("rm", "cli/folder")
    assert names("cli") == [("empty.txt", 0), ("moved", 0)]
    gone = fleet.beta9("ls", "cli/nothing", code=1)
    assert "does not exist" in gone.stdout + gone.stderr
    fleet.beta9("volume", "delete", "cli", "--yes")
    assert "does not exist" in (gone := fleet.beta9("ls", "cli", code=1)).stdout + gone.stderr


def copy(fleet, directory, source, target):
    """`beta9 cp`, in a directory."""
    done = subprocess.run(
        [sys.executable, "-m", "beta9", "cp", str(source), str(target)],
        cwd=directory,
        env=client_environment(fleet.config, fleet.home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "Failed" not in done.stdout, done.stdout + done.stderr
    return done


def test_the_command_line_copies_without_addresses_too(fleet, tmp_path):
    (tmp_path / "plain.txt").write_text("plain")
    fleet.beta9("volume", "create", "plain")
    subprocess.run(
        [sys.executable, "-m", "beta9", "cp", "--no-multipart", "plain.txt", "plain/sub"],
        cwd=tmp_path,
        env=client_environment(fleet.config, fleet.home),
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    assert Volume(fleet.api, "plain").read("sub/plain.txt") == b"plain"
    fleet.beta9("volume", "delete", "plain", "--yes")


# ---- the calls ----


def test_the_sdks_client_uploads_a_file_and_gets_its_address(api, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 1000 + b"end")
    client = Client(token=api.token, api_url=api.http)
    address = client.upload_file(str(tmp_path / "weights.bin"))
    assert requests.get(address, timeout=10).content == b"\x00" * 1000 + b"end"
    missing = f"{api.http}/volume/{client.workspace_id}/generate-download-url/uploads/not/there"
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = requests.get(missing, headers=headers, timeout=10)
    assert answer.status_code == 404 and "not/there" in answer.json()["message"]
    for path in ("uploads", "uploads/../../x"):
        place = f"/volume/{client.workspace_id}/generate-upload-url/" + path.replace("..", "%2e%2e")
        answer = requests.get(api.http + place, headers=headers, timeout=10)
        assert answer.status_code in (400, 404) and answer.json()["message"], path


def test_parts_come_in_any_order_and_the_file_is_there_only_when_it_is_whole(volume):
    content = os.urandom(10_000)
    upload = volume.begin("dir/file", len(content), 3000)
    assert [(p.number, p.start, p.end) for p in upload.file_upload_parts] == [
        (1, 0, 3000),
        (2, 3000, 6000),
        (3, 6000, 9000),
        (4, 9000, 10_000),
    ]
    done = [put(part, content) for part in reversed(upload.file_upload_parts[1:])]
    early = volume.complete(upload, done)
    assert not early.ok and "3 of 4 parts" in early.err_msg
    assert volume.names() == []
    done.append(put(upload.file_upload_parts[0], content))
    wrong = [CompletedPart(number=part.number, etag="0" * 64) for part in done]
    assert not volume.complete(upload, wrong).ok
    assert volume.complete(upload, done).ok
    assert volume.read("dir/file") == content
    late = requests.put(upload.file_upload_parts[0].url, data=content[:3000], timeout=10)
    assert late.status_code == 404
    assert volume.read("dir/file") == content


def test_a_part_of_the_wrong_length_is_refused(volume):
    upload = volume.begin("file", 100, 100)
    [part] = upload.file_upload_parts
    for content in (b"x" * 99, b"x" * 101, b"x" * 10_000_000):
        try:
            answer = requests.put(part.url, data=content, timeout=10)
            assert answer.status_code == 400 and "100 bytes" in answer.json()["message"]
        except requests.ConnectionError:
            assert len(content) > 100_000, "a short body gets its answer"
    abort = AbortMultipartUploadRequest(upload_id=upload.upload_id)
    assert volume.stub.abort_multipart_upload(abort).ok
    assert not volume.stub.abort_multipart_upload(abort).ok
    assert requests.put(part.url, data=b"x" * 100, timeout=10).status_code == 404


def test_addresses_are_good_for_one_method_one_file_and_a_time(volume):
    volume.write("a/one.txt", b"0123456789")
    volume.write("two.txt", b"two")
    good = volume.address("a/one.txt").url
    assert requests.get(good, timeout=10).content == b"0123456789"
    part = requests.get(good, headers={"Range": "bytes=2-4"}, timeout=10)
    assert (part.status_code, part.content) == (206, b"234")
    head = volume.address("a/one.txt", PresignedUrlMethod.HeadObject).url
    answer = requests.head(head, timeout=10)
    assert answer.status_code == 200 and answer.headers["Content-Length"] == "10"
    assert requests.get(head, timeout=10).status_code == 403
    assert requests.put(good, data=b"x", timeout=10).status_code == 403
    assert requests.get(good.replace("a/one.txt", "two.txt"), timeout=10).status_code == 403
    for trick in ("a/../a/one.txt", "a%2Fone.txt", "a/./one.txt", "../x"):
        bad = requests.Request("GET", good.replace("a/one.txt", trick)).prepare()
        bad.url = good.replace("a/one.txt", trick)
        assert requests.Session().send(bad, timeout=10).status_code in (403, 404), trick
    upload = volume.address("new.txt", PresignedUrlMethod.PutObject).url
    assert requests.put(upload, data=b"new", timeout=10).status_code == 200
    assert volume.read("new.txt") == b"new"
    short = volume.address("two.txt", expires=1).url
    eventually(
        lambda: requests.get(short, timeout=10).status_code,
        lambda status: status == 403,
        what="the address has expired",
    )
    assert not volume.address("nothing").ok and not volume.address("a").ok


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/..", "x\0y", "x" * 300, "d/" * 70 + "x"])
def test_a_path_that_leads_out_is_refused_everywhere(volume, path):
    whole = f"{volume.name}/{path}"
    answers = [
        volume.write(path, b"x"),
        volume.stub.list_path(ListPathRequest(path=whole)),
        volume.stub.delete_path(DeletePathRequest(path=whole)),
        volume.stub.stat_path(StatPathRequest(path=whole)),
        volume.stub.move_path(MovePathRequest(original_path=whole, new_path=f"{volume.name}/y")),
        volume.stub.move_path(MovePathRequest(original_path=f"{volume.name}/y", new_path=whole)),
        volume.begin(path, 1, 1),
        volume.address(path, PresignedUrlMethod.PutObject),
    ]
    for answer in answers:
        assert not answer.ok and "is no path in a volume" in answer.err_msg, answer


def test_an_absolute_path_is_one_in_the_volume(volume):
    assert volume.write("/etc/passwd", b"mine").ok
    assert volume.names() == ["etc"] and volume.read("/etc/passwd") == b"mine"


def test_a_path_that_is_not_there_is_told_as_the_sdk_reads_it(volume):
    stat = volume.stub.stat_path(StatPathRequest(path=f"{volume.name}/nothing"))
    assert stat.ok and "not exist" in stat.err_msg
    gone = volume.stub.delete_path(DeletePathRequest(path=f"{volume.name}/nothing"))
    assert not gone.ok and "does not exist" in gone.err_msg
    whole = volume.stub.delete_path(DeletePathRequest(path=volume.name))
    assert not whole.ok and "beta9 volume delete" in whole.err_msg
    volume.write("a", b"a")
    other = volume.stub.move_path(
        MovePathRequest(original_path=f"{volume.name}/a", new_path="another/a")
    )
    assert not other.ok and "beta9 cp" in other.err_msg


def test_what_is_in_a_volume_outlives_the_gateway_and_no_other_workspace_sees_it(split, stranger):
    ours, theirs = Volume(split.api, "kept"), Volume(stranger, "kept")
    assert ours.id != theirs.id
    content = os.urandom(5000)
    assert ours.write("a.bin", content).ok
    upload = ours.begin("b.bin", len(content), 2500)
    first = put(upload.file_upload_parts[0], content)
    split.restart_gateway()
    ours = Volume(split.api, "kept")
    assert ours.read("a.bin") == content
    # An upload goes on where it was.
    assert ours.complete(upload, [first, put(upload.file_upload_parts[1], content)]).ok
    assert ours.read("b.bin") == content
    assert theirs.names() == [] and theirs.read("a.bin") is None
    upload = ours.begin("c.bin", 10, 10)
    assert not theirs.complete(upload, []).ok
    assert not theirs.stub.abort_multipart_upload(
        AbortMultipartUploadRequest(upload_id=upload.upload_id)
    ).ok
    volumes = theirs.stub.list_volumes(ListVolumesRequest()).volumes
    assert [listed.id for listed in volumes] == [theirs.id]
    assert theirs.stub.delete_volume(DeleteVolumeRequest(name="kept")).ok
    assert ours.read("a.bin") == content


@contextmanager
def swapping(*pairs):
    """Has two names change places all the time, as a job could have them."""
    libc, done = ctypes.CDLL(None), threading.Event()

    def swap():
        while not done.is_set():
            for one, other in pairs:
                # AT_FDCWD and RENAME_EXCHANGE; one that is not there just now is not swapped.
                libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield
    finally:
        done.set()
        swapper.join()


def test_a_directory_that_becomes_a_link_while_it_is_used_leads_nowhere(split, tmp_path):
    """Between a look and what is done then, too; also where a directory is removed with all that is in it."""
    volume, outside = Volume(split.api, "swapped"), tmp_path / "outside"
    place = split.root / "gateway" / "volumes" / volume.id
    outside.mkdir()
    (outside / "file").write_bytes(b"of somebody else")
    assert volume.write("x/own", b"own").ok and volume.write("x/file", b"in the volume").ok
    (place / "y").symlink_to(outside)
    taken, refused = 0, 0
    with swapping((place / "x", place / "y"), (place / "t/x", place / "t/y")):
        while min(taken, refused) < 40:
            written = volume.write("x/file", b"in the volume")
            taken, refused = taken + written.ok, refused + (not written.ok)
            assert volume.read("x/file") != b"of somebody else"
            volume.stub.delete_path(DeletePathRequest(path=f"{volume.name}/x/file"))
            move = MovePathRequest(original_path=f"{volume.name}/own", new_path=f"{volume.name}/x/moved")
            volume.write("own", b"own")
            volume.stub.move_path(move)
            (place / "t/x").mkdir(parents=True, exist_ok=True)
            (place / "t/y").is_symlink() or (place / "t/y").is_dir() or (place / "t/y").symlink_to(outside)
            volume.stub.delete_path(DeletePathRequest(path=f"{volume.name}/t"))
            assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"file": b"of somebody else"}


def test_the_files_of_a_deleted_volume_are_removed(split):
    volume = Volume(split.api, "deleted")
    volume.write("sub/file", b"x")
    address = volume.address("sub/file").url
    directory = Path(split.root) / "gateway/volumes" / volume.id
    assert (directory / "sub/file").exists()
    assert volume.stub.delete_volume(DeleteVolumeRequest(name="deleted")).ok
    eventually(directory.exists, lambda there: not there, what="the directory is gone")
    assert requests.get(address, timeout=10).status_code == 404
    assert Volume(split.api, "deleted").names() == []


# ---- in jobs ----

JOB = """
import json, os, pathlib
from beta9 import Volume, function

@function(volumes=[Volume(name="jobs", mount_path="./data"), Volume(name="models", mount_path="/models")])
def work(name):
    data = pathlib.Path("data")
    seen = {path.name: path.read_text() for path in data.iterdir() if path.is_file()}
    (data / "sub").mkdir(exist_ok=True)
    (data / "sub" / name).write_text("written by " + name)
    with open("/models/log", "a") as log:
        log.write(name + "\\n")
    return {"seen": seen, "log": open("/models/log").read(), "cwd": sorted(os.listdir("."))}

if __name__ == "__main__":
    print(json.dumps([work.remote("first"), work.remote("second")]))
"""


def test_a_job_reads_and_writes_its_volumes(app, api):
    jobs, models = Volume(api, "jobs"), Volume(api, "models")
    jobs.write("from outside.txt", b"hello")
    first, second = app(JOB, files={"data/covered.txt": "not to be seen"}).json
    assert first["seen"] == {"from outside.txt": "hello"}
    assert second["log"] == "first\nsecond\n" and "data" in second["cwd"]
    assert jobs.names("sub") == ["sub/first", "sub/second"]
    assert jobs.read("sub/second") == b"written by second"
    assert models.read("log") == b"first\nsecond\n"
    assert jobs.names() == ["from outside.txt", "sub"]


NAMED = """
import json, os
from beta9 import Volume, function

@function(volumes=[Volume(name="named", mount_path="/mnt/code/z"), Volume(name="absolute", mount_path="/mnt/v")])
def work():
    with open("/mnt/code/z/file", "w") as file:
        file.write("by its absolute path")
    return [os.listdir("/mnt/code/z"), open("z/file").read(), os.listdir("/mnt/v")]

if __name__ == "__main__":
    print(json.dumps(work.remote()))
"""


def test_a_volume_below_the_code_is_at_its_absolute_path_too(app, api):
    assert app(NAMED).json == [["file"], "by its absolute path", []]
    assert Volume(api, "named").read("file") == b"by its absolute path"


REACH = """
import json, os
from beta9 import Volume, function

def look(path):
    try:
        return os.listdir(path)
    except OSError as error:
        return type(error).__name__

@function(volumes=[Volume(name="mine", mount_path="mine")])
def with_volume():
    here = os.path.realpath("mine")
    os.symlink("/etc/passwd", "mine/passwd")
    os.symlink("..", "mine/above")
    return {"own": look(here), "above": look(os.path.dirname(here)), "here": here}

@function()
def without(path):
    return look(path)

if __name__ == "__main__":
    told = with_volume.remote()
    told["other"] = without.remote(told["here"])
    print(json.dumps(told))
"""


def test_a_job_reaches_its_own_volumes_and_nothing_beside(app, api):
    mine, other = Volume(api, "mine"), Volume(api, "not mine")
    other.write("secret", b"x")
    told = app(REACH).json
    assert told["own"] == ["passwd", "above"] or sorted(told["own"]) == ["above", "passwd"]
    assert told["above"] in ([mine.id], "PermissionError", "FileNotFoundError"), told
    assert told["other"] in ("PermissionError", "FileNotFoundError", []), told
    # The links that it left lead nobody out.
    assert not mine.address("passwd").ok and not mine.address("above/secret").ok
    assert sorted(mine.names()) == ["above", "passwd"]
    mine.stub.delete_path(DeletePathRequest(path="mine/*"))
    assert Path("/etc/passwd").exists() and mine.names() == []


REFUSED = """
from beta9 import {imports}, function

@function(volumes=[{volume}])
def work():
    return 1

if __name__ == "__main__":
    work.remote()
"""


@pytest.mark.parametrize(
    "volume, told",
    [
        ('Volume(name="r", mount_path="../up")', "is no path in a volume"),
        ('Volume(name="r", mount_path="/usr/local")', "directory of the system"),
        ('Volume(name="r", mount_path=".")', "take the place of the code"),
        (
            'Volume(name="r", mount_path="a"), Volume(name="r2", mount_path="a/b")',
            "at one place",
        ),
        (
            'CloudBucket(name="b", mount_path="b", config=CloudBucketConfig())',
            "cloud buckets can be read only",
        ),
    ],
)
def test_a_place_that_cannot_be_is_refused_in_words(app, volume, told):
    imports = "Volume, CloudBucket, CloudBucketConfig"
    done = app(REFUSED.format(imports=imports, volume=volume))
    assert done.code != 0 and told in done.stdout + done.stderr, done


def test_a_stub_cannot_have_a_volume_of_another_workspace(split, stranger):
    theirs = Volume(stranger, "theirs")
    mounts = [VolumeOfStub(id=theirs.id, mount_path="data")]
    object_id = split.api.upload({"app.py": "def f():\n    return 1\n"})
    refused = split.api.try_stub(object_id, "app:f", volumes=mounts)
    assert not refused.ok and "volume" in refused.err_msg and "does not exist" in refused.err_msg


def test_a_call_whose_volume_was_deleted_fails_in_words(api):
    volume = Volume(api, "short-lived")
    mounts = [VolumeOfStub(id=volume.id, mount_path="data")]
    stub = api.stub({"app.py": "def f():\n    return 1\n"}, "app:f", volumes=mounts)
    assert volume.stub.delete_volume(DeleteVolumeRequest(name="short-lived")).ok
    call = api.call(stub).finish()
    assert call.exit_code != 0
    assert "volume `short-lived` does not exist" in api.task(call.task_id)["failure_reason"]
