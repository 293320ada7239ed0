"""Volumes on a worker that does not see the gateway's disk: it works on copies."""

import json
import os
import uuid

import grpc
import pytest
import requests
from beta9.clients.gateway import ListContainersRequest
from beta9.clients.gateway import Volume as VolumeOfStub
from beta9.clients.volume import CompletedPart, DeletePathRequest

from harness import Gate, Served, SplitFleet, Volume, eventually, new_workspace

CODE = {
    "app.py": """
    import os, pathlib, threading

    data = pathlib.Path("data")

    def change():
        seen = {str(p.relative_to(data)): p.read_text() for p in data.rglob("*") if p.is_file()}
        (data / "kept").write_text("changed by the job")
        (data / "deleted").unlink()
        (data / "new/below").mkdir(parents=True)
        (data / "new/below/file").write_text("new")
        (data / "script").write_text("#!/bin/sh")
        (data / "script").chmod(0o755)
        os.symlink("/etc/passwd", data / "link")
        return seen

    def look(path="data"):
        path = pathlib.Path(path)
        return {p.name: p.read_text() for p in sorted(path.iterdir()) if p.is_file()}

    def write(name, text, gate=None, delete=False):
        if gate:
            print("WAITING", flush=True)
            open(gate).read()
        if delete:
            (data / name).unlink()
        else:
            (data / name).write_text(text)
        return os.getpid()

    def fail(name):
        (data / name).write_text("written before it failed")
        raise ValueError("on purpose")

    def linger(name, die=False):
        (data / name).write_text("so far")
        print("WROTE", flush=True)
        if die:
            os._exit(3)
        threading.Event().wait()

    def keep(name=None, text="", delete=None):
        if name:
            (data / name).write_text(text)
        if delete:
            (data / delete).unlink(missing_ok=True)
        return look()

    def large():
        content = (data / "large").read_bytes()
        (data / "large").write_bytes(content[::-1])
        return len(content)

    def executable():
        return os.access(data / "script", os.X_OK)
    """
}


@pytest.fixture(scope="module")
def far(fleet, tmp_path_factory):
    """A gateway, and a worker that believes to be on another machine."""
    with SplitFleet(
        tmp_path_factory.mktemp("far"),
        environments=fleet.environments,
        METAL9_WORKER_COPY_VOLUMES="true",
        METAL9_GATEWAY_CLIENT_GRACE_SECONDS="1",
    ) as far:
        yield far


@pytest.fixture
def api(far):
    far.restore()
    return far.api


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


def stub(api, volume, handler, mount_path="./data", **fields):
    mounts = [VolumeOfStub(id=volume.id, mount_path=mount_path)]
    return api.stub(CODE, f"app:{handler}", volumes=mounts, **fields)


def arrives(volume, name, content):
    eventually(lambda: volume.read(name), lambda seen: seen == content, what=f"{name} is there")


def test_a_job_works_on_a_copy_that_is_written_back(api):
    volume = Volume(api, "copy")
    for name in ("kept", "deleted", "untouched", "sub/file"):
        volume.write(name, name.encode())
    seen = api.call(stub(api, volume, "change")).value
    assert seen == {name: name for name in ("kept", "deleted", "untouched", "sub/file")}
    assert volume.names() == ["kept", "new", "script", "sub", "untouched"]
    assert volume.read("kept") == b"changed by the job"
    assert volume.read("new/below/file") == b"new"
    assert api.call(stub(api, volume, "executable")).value is True


def test_a_warm_container_sees_what_others_have_changed(api):
    volume = Volume(api, "warm")
    volume.write("a", b"one")
    look = stub(api, volume, "look")
    assert api.call(look).value == {"a": "one"}
    volume.write("a", b"two")
    volume.write("b", b"new")
    second = api.call(look)
    assert second.value == {"a": "two", "b": "new"}
    volume.stub.delete_path(DeletePathRequest(path="warm/a"))
    assert api.call(look).value == {"b": "new"}


def test_an_absolute_mount_path_is_there_too(api):
    volume = Volume(api, "absolute")
    volume.write("a", b"one")
    assert api.call(stub(api, volume, "look", "/models"), "/models").value == {"a": "one"}


def test_what_two_write_at_once_is_kept_of_both_and_told(api, gate):
    volume = Volume(api, "conflict")
    volume.write("file", b"begun with")
    write = stub(api, volume, "write")
    call = api.call(write, "file", "by the job", gate=str(gate.path)).until("WAITING")
    volume.write("file", b"by somebody else")
    gate.open()
    call.finish()
    assert call.exit_code == 0
    [aside] = [name for name in volume.names() if name.startswith("file.conflict-")]
    assert f"theirs is kept as `{aside}`" in call.output
    assert volume.read("file") == b"by the job" and volume.read(aside) == b"by somebody else"


def test_a_file_that_somebody_changed_is_not_deleted(api, gate):
    volume = Volume(api, "delete")
    volume.write("file", b"begun with")
    write = stub(api, volume, "write")
    call = api.call(write, "file", "", gate=str(gate.path), delete=True).until("WAITING")
    volume.write("file", b"by somebody else")
    gate.open()
    call.finish()
    assert "is kept" in call.output and volume.read("file") == b"by somebody else"


def test_a_call_that_fails_keeps_what_it_wrote(api):
    volume = Volume(api, "failed")
    call = api.call(stub(api, volume, "fail"), "trace").finish()
    assert call.exit_code != 0 and "on purpose" in call.output
    assert volume.read("trace") == b"written before it failed"


def test_a_call_that_crashes_keeps_what_it_wrote(api):
    volume = Volume(api, "crashed")
    assert api.call(stub(api, volume, "linger"), "trace", die=True).finish().exit_code != 0
    assert volume.read("trace") == b"so far"


def test_a_call_that_times_out_keeps_what_it_wrote(api):
    volume = Volume(api, "timed-out")
    call = api.call(stub(api, volume, "linger", timeout=1), "trace")
    assert api.wait(call.task_id) == "TIMEOUT"
    arrives(volume, "trace", b"so far")


def test_a_call_that_is_cancelled_keeps_what_it_wrote(api):
    volume = Volume(api, "cancelled")
    call = api.call(stub(api, volume, "linger"), "trace").until("WROTE")
    api.cancel(call.task_id)
    assert api.wait(call.task_id) == "CANCELLED"
    arrives(volume, "trace", b"so far")


def test_a_long_call_is_not_waited_for(api):
    volume = Volume(api, "long")
    call = api.call(stub(api, volume, "linger"), "checkpoint").until("WROTE")
    arrives(volume, "checkpoint", b"so far")
    assert api.status(call.task_id) == "RUNNING"
    api.cancel(call.task_id)


@pytest.fixture
def endpoint(far, api):
    """An endpoint with a volume, and the volume."""
    volume = Volume(api, f"served-{uuid.uuid4()}")
    kept = stub(api, volume, "keep", stub_type="endpoint", keep_warm_seconds=1)
    return Served(far.http, far.facts["token"], "endpoint", kept), volume


def test_an_endpoint_shares_its_volume_with_others_while_requests_come(endpoint):
    served, volume = endpoint
    volume.write("theirs", b"one")
    volume.write("deleted", b"by a request")
    change = {"name": "ours", "text": "by a request", "delete": "deleted"}
    assert served.post(json=change).json() == {"theirs": "one", "ours": "by a request"}
    volume.write("theirs", b"two")
    volume.write("new", b"from somebody else")
    # It is never without a request for long enough to be let go.
    everything = {"theirs": "two", "new": "from somebody else", "ours": "by a request"}
    eventually(
        lambda: (served.post().json(), volume.names()),
        lambda seen: seen == (everything, ["new", "ours", "theirs"]),
        what="both have what the other wrote",
    )
    assert volume.read("ours") == b"by a request"


def test_an_endpoint_that_ends_has_sent_all_it_wrote(endpoint, api):
    served, volume = endpoint
    assert served.post(json={"name": "last", "text": "words"}).status_code == 200

    def containers():
        listed = api.gateway.list_containers(ListContainersRequest())
        return [it for it in listed.containers if it.stub_id == served.stub]

    eventually(containers, lambda seen: not seen, what="it has scaled to zero")
    assert volume.read("last") == b"words"


def test_a_large_file_goes_both_ways(api):
    volume = Volume(api, "large")
    content = os.urandom(20 << 20)
    upload = volume.begin("large", len(content), len(content))

    [part] = upload.file_upload_parts
    etag = requests.put(part.url, data=content, timeout=30).headers["ETag"].strip('"')
    assert volume.complete(upload, [CompletedPart(number=1, etag=etag)]).ok
    assert api.call(stub(api, volume, "large")).value == len(content)
    assert volume.read("large") == content[::-1]


def test_what_was_written_survives_a_gateway_that_is_killed_at_the_end_of_the_call(far, api, gate):
    volume = Volume(api, "killed")
    write = stub(api, volume, "write")
    call = api.call(write, "file", "by the job", gate=str(gate.path), headless=True)
    call.until("WAITING")
    far.gateway.kill()
    gate.open()
    far.start_gateway()
    far.wait_for_workers(1)
    assert far.api.wait(call.task_id) == "COMPLETE"
    assert Volume(far.api, "killed").read("file") == b"by the job"


def test_the_worker_keeps_what_it_fetched_by_content(far, api):
    volume = Volume(api, "cached")
    volume.write("one", b"the same content")
    volume.write("two", b"the same content")
    look = stub(api, volume, "look")
    assert api.call(look).value == {"one": "the same content", "two": "the same content"}
    blobs = [path for path in (far.workers[0].state / "volumes").iterdir()]
    assert [path.read_bytes() for path in blobs].count(b"the same content") == 1


@pytest.fixture(scope="module")
def other(far):
    """Another workspace, whose jobs run on the same worker."""
    far.restore()
    api = new_workspace(far.api)
    yield api
    api.close()


def test_a_worker_copies_the_volumes_of_every_workspace_whose_calls_it_runs(api, other):
    ours, theirs = Volume(api, "shared-name"), Volume(other, "shared-name")
    ours.write("file", b"ours")
    theirs.write("file", b"theirs")
    look = stub(other, theirs, "look")
    assert other.call(look).value == {"file": "theirs"}
    other.call(stub(other, theirs, "write"), "file", "by their job").finish()
    assert theirs.read("file") == b"by their job" and ours.read("file") == b"ours"
    assert api.call(stub(api, ours, "look")).value == {"file": "ours"}
    assert other.call(look).value == {"file": "by their job"}


def test_a_worker_reaches_the_volumes_of_the_calls_that_it_runs_and_no_others(
    far, api, other, gate
):
    ours, theirs = Volume(api, "granted"), Volume(other, "granted")
    for volume in (ours, theirs):
        volume.write("file", b"content")
    credential = json.loads((far.workers[0].state / "worker.json").read_text())["credential"]
    metadata = (("authorization", f"Bearer {credential}"),)

    def ask(method, volume, path=""):
        """What a worker that asks for a volume is told."""
        fields = [(1, volume.id)] + ([(2, path)] if path else [])
        message = b"".join(
            bytes([number << 3 | 2, len(text)]) + text.encode() for number, text in fields
        )
        with grpc.insecure_channel(far.grpc) as channel:
            place = f"/metal9.worker.v1.WorkerService/{method}"
            shape = "unary_unary" if method.startswith("Remove") else "unary_stream"
            if method.startswith("Push"):
                shape, message = "stream_unary", iter([message])
            call = getattr(channel, shape)(place, bytes, bytes)
            try:
                answer = call(message, timeout=10, metadata=metadata)
                return b"".join(answer) if shape == "unary_stream" else answer
            except grpc.RpcError as error:
                return error.code()

    requests_of = [
        ("VolumeManifest", ""),
        ("FetchVolumeFile", "file"),
        ("PushVolumeFile", "file"),
        ("RemoveVolumeFile", "file"),
    ]

    def refused(volume):
        return all(
            ask(method, volume, path) == grpc.StatusCode.NOT_FOUND for method, path in requests_of
        )

    assert refused(ours) and refused(theirs)
    write = stub(other, theirs, "write")
    call = other.call(write, "mark", "x", gate=str(gate.path)).until("WAITING")
    assert b"file" in ask("VolumeManifest", theirs)
    assert b"content" in ask("FetchVolumeFile", theirs, "file")
    assert refused(ours)
    gate.open()
    assert call.finish().exit_code == 0
    assert refused(theirs), "a container that waits for the next call has none"
    assert ours.read("file") == theirs.read("file") == b"content"
