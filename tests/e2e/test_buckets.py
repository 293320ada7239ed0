"""Cloud buckets: objects of an S3-compatible store as read-only files of jobs."""


import pytest
from beta9.clients.gateway import Volume as VolumeOfStub
from beta9.clients.types import MountPointConfig

from harness import ObjectStore


@pytest.fixture(scope="module")
def store(fleet):
    """An object store whose keys are secrets of the workspace."""
    store = ObjectStore().start()
    fleet.beta9("secret", "create", "S3_ID", store.access)
    fleet.beta9("secret", "create", "S3_KEY", store.secret)
    fleet.beta9("secret", "create", "S3_WRONG", "not the key of anything")
    yield store
    for name in ("S3_ID", "S3_KEY", "S3_WRONG"):
        fleet.beta9("secret", "delete", name)
    store.stop()


@pytest.fixture
def bucket(store):
    return store.bucket()


LOOK = """
import os, pathlib

def attempt(do):
    try:
        do()
        return "done"
    except OSError as error:
        return type(error).__name__

def look(place="weights"):
    root = pathlib.Path(place)
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    first = next(iter(sorted(files)), None)
    wrote = {"new": attempt(lambda: (root / "new").write_text("x"))}
    if first:
        def force():
            os.chmod(root / first, 0o666)
            (root / first).write_text("changed by a job")
        wrote["old"] = attempt(force)
        wrote["delete"] = attempt((root / first).unlink)
    return {"files": files, "wrote": wrote, "env": sorted(os.environ.values()), "pid": os.getpid()}
"""


def mounted(store, bucket, prefix="", place="./weights", **changes):
    """The stub's volumes, as the SDK sends them."""
    config = dict(
        bucket_name=bucket.name + prefix,
        access_key="S3_ID",
        secret_key="S3_KEY",
        endpoint_url=store.endpoint,
        read_only=True,
        force_path_style=True,
    )
    return [VolumeOfStub(mount_path=place, config=MountPointConfig(**{**config, **changes}))]


PROGRAM = """
import json, sys
from beta9 import CloudBucket, CloudBucketConfig, function
from look import look

bucket = CloudBucket(
    name=sys.argv[1] if len(sys.argv) > 1 else "elsewhere",
    mount_path="./weights",
    config=CloudBucketConfig(
        read_only=True,
        force_path_style=True,
        access_key="S3_ID",
        secret_key="S3_KEY",
        endpoint=sys.argv[2] if len(sys.argv) > 2 else None,
    ),
)

@function(volumes=[bucket])
def work():
    return look()

if __name__ == "__main__":
    print(json.dumps(work.remote()))
"""


def test_a_job_reads_a_bucket_and_cannot_write_it(app, store, bucket):
    bucket.put("model.bin", b"weights")
    bucket.put("deep/er/vocab.txt", b"words")
    done = app(
        PROGRAM, files={"look.py": LOOK}, arguments=[bucket.name, store.endpoint]
    )
    told = done.json
    assert told["files"] == {"model.bin": "weights", "deep/er/vocab.txt": "words"}
    assert "done" not in told["wrote"].values(), told["wrote"]
    assert not {store.access, store.secret} & set(told["env"])
    assert store.secret not in done.stdout + done.stderr
    assert sorted(bucket.keys()) == ["deep/er/vocab.txt", "model.bin"]


def test_each_call_sees_the_bucket_as_it_is_then(api, store, bucket):
    for key in ("same", "changed", "gone"):
        bucket.put(f"v1/{key}", key.encode())
    bucket.put("v2/other", b"of another part")
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=mounted(store, bucket, "/v1"))
    first = api.call(stub).finish().value
    assert first["files"] == {"same": "same", "changed": "changed", "gone": "gone"}
    bucket.put("v1/changed", b"anew")
    bucket.put("v1/new/file", b"new")
    bucket.remove("v1/gone")
    second = api.call(stub).finish().value
    assert second["files"] == {"same": "same", "changed": "anew", "new/file": "new"}
    assert second["pid"] == first["pid"], "the container was not kept"


def test_an_absolute_place_is_as_good(api, store, bucket):
    bucket.put("a", b"1")
    stub = api.stub(
        {"app.py": LOOK}, "app:look", volumes=mounted(store, bucket, place="/weights")
    )
    assert api.call(stub, "/weights").finish().value["files"] == {"a": "1"}


def test_a_job_that_has_no_network_has_its_bucket(api, store, bucket):
    bucket.put("a", b"1")
    stub = api.stub(
        {"app.py": LOOK}, "app:look", volumes=mounted(store, bucket), block_network=True
    )
    assert api.call(stub).finish().value["files"] == {"a": "1"}


def test_what_cannot_be_a_file_is_left_out_and_told(api, store, bucket):
    bucket.put("a", b"both a file")
    bucket.put("a/b", b"and a directory")
    bucket.put("empty/", b"")
    bucket.put("x" * 300, b"too long")
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=mounted(store, bucket))
    call = api.call(stub).finish()
    assert call.value["files"]["a/b"] == "and a directory"
    assert "2 of its objects cannot be files" in call.output and "xxxx" in call.output


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a//b"])
def test_a_bucket_with_a_name_that_leads_out_is_refused_and_writes_nothing(api, store, bucket, key):
    bucket.put("fine", b"1")
    bucket.put(key, b"outside")
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=mounted(store, bucket))
    call = api.call(stub).finish()
    assert call.exit_code != 0, call
    assert "could not be listed" in call.output and "cannot be files" in call.output, call.output


@pytest.mark.parametrize(
    "changes, prefix, told",
    [
        ({"secret_key": "S3_WRONG"}, "", "check the secrets that access_key and secret_key name"),
        ({"bucket_name": "no-such-bucket-here"}, "", "check the bucket's name"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "", "could not be listed"),
    ],
)
def test_a_bucket_that_cannot_be_had_fails_the_call_in_words(
    api, store, bucket, changes, prefix, told
):
    volumes = mounted(store, bucket, prefix, **changes)
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=volumes)
    call = api.call(stub).finish()
    assert call.exit_code != 0 and told in call.output, call
    assert store.secret not in call.output and store.access not in call.output
    # The next bucket is none the worse for it.
    bucket.put("a", b"1")
    good = api.stub({"app.py": LOOK}, "app:look", volumes=mounted(store, bucket))
    assert api.call(good).finish().value["files"] == {"a": "1"}


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"read_only": False}, "read_only=True"),
        ({"secret_key": ""}, "needs both"),
        ({"secret_key": "S3_ABSENT"}, 'Secret "S3_ABSENT" does not exist'),
        ({"endpoint_url": "file:///etc"}, "is no address"),
        ({"endpoint_url": "http://a:b@host"}, "is no address"),
        ({"bucket_name": "../up"}, "is not the name of a bucket"),
        ({"bucket_name": "a/../../up"}, "is no path"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(
    api, store, bucket, changes, told
):
    object_id = api.upload({"app.py": LOOK})
    refused = api.try_stub(object_id, "app:look", volumes=mounted(store, bucket, **changes))
    assert not refused.ok and told in refused.err_msg, refused.err_msg


def test_a_changed_key_is_used_by_the_next_stub(fleet, api, store, bucket):
    bucket.put("a", b"1")
    fleet.beta9("secret", "create", "S3_ROTATED", "wrong")
    volumes = mounted(store, bucket, secret_key="S3_ROTATED")
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=volumes)
    assert api.call(stub).finish().exit_code != 0
    fleet.beta9("secret", "modify", "S3_ROTATED", store.secret)
    anew = api.stub({"app.py": LOOK}, "app:look", volumes=volumes)
    assert anew != stub and api.call(anew).finish().value["files"] == {"a": "1"}
    fleet.beta9("secret", "delete", "S3_ROTATED")


def test_keys_are_in_no_log_and_no_file_of_the_system(fleet, api, store, bucket):
    bucket.put("a", b"1")
    stub = api.stub({"app.py": LOOK}, "app:look", volumes=mounted(store, bucket))
    api.call(stub).finish()
    assert store.secret not in fleet.daemon.text(0)
    found = [
        path
        for path in fleet.state.rglob("*")
        if path.is_file() and store.secret.encode() in path.read_bytes()
    ]
    assert not found
