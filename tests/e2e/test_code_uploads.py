"""Code that comes over HTTP: whole, in parts, and only what has changed."""

import hashlib
import io
import json
import os
import stat
import zipfile

import pytest
import requests
from beta9.clients.gateway import (
    CommitObjectDeltaRequest,
    CompleteObjectUploadRequest,
    CreateObjectDeltaRequest,
    CreateObjectRequest,
    HeadObjectRequest,
    ObjectMetadata,
    ObjectUploadedPart,
)

from harness import Api, App, SplitFleet, new_workspace

PROGRAM = """
import os
from beta9 import function

@function()
def look():
    import config
    return [config.VALUE, os.listdir(), os.access("run.sh", os.X_OK), os.path.getsize("data")]

if __name__ == "__main__":
    import json
    print(json.dumps(look.remote()))
"""
# More than the SDK sends in one part.
LARGE = 17 * 1024 * 1024


@pytest.fixture(scope="module")
def uploads(fleet, tmp_path_factory):
    """A gateway that has the SDK send code over HTTP, and a worker."""
    with SplitFleet(
        tmp_path_factory.mktemp("uploads"),
        environments=fleet.environments,
        METAL9_GATEWAY_HTTP_UPLOADS="true",
    ) as split:
        yield split


@pytest.fixture
def user(uploads, tmp_path):
    app = App(tmp_path, uploads.config)
    yield app
    app.close()


def incoming(uploads):
    """What is on its way in."""
    return [path.name for path in (uploads.root / "gateway" / "uploads").iterdir()]


def test_the_sdk_sends_everything_in_parts_and_later_what_has_changed(uploads, user):
    directory = user.directory()
    # The random part keeps it from being a project that another test sent.
    (directory / "data").write_bytes(os.urandom(1024) + bytes(LARGE - 1024))
    (directory / "config.py").write_text("VALUE = 1\n")
    (directory / "old.py").write_text("")
    (directory / "run.sh").write_text("#!/bin/sh\n")

    def run():
        done = user(PROGRAM, directory=directory)
        return done.json, done.stdout + done.stderr

    (value, names, executable, size), said = run()
    assert value == 1 and "old.py" in names and not executable and size == LARGE
    assert "Uploading" in said and "changed file" not in said

    (directory / "config.py").write_text("VALUE = 22\n")
    (directory / "old.py").unlink()
    (directory / "new.py").write_text("")
    (directory / "run.sh").chmod(0o755)
    (value, names, executable, size), said = run()
    assert "Uploading 3 changed file(s)" in said and "1 removed" in said
    assert value == 22 and executable and size == LARGE
    assert "new.py" in names and "old.py" not in names

    assert incoming(uploads) == []


def test_the_sdk_sends_everything_where_the_earlier_code_is_gone(uploads, user):
    directory = user.directory()
    (directory / "config.py").write_text("VALUE = 1\n")
    (directory / "run.sh").write_text("")
    (directory / "data").write_bytes(os.urandom(100_000))
    assert user(PROGRAM, directory=directory).json[0] == 1
    for cache in (uploads.config.parent / "sync").glob("*.json"):
        cached = json.loads(cache.read_text())
        if cached["root_dir"] == str(directory):
            cached["object_id"] = "01900000-0000-7000-8000-000000000000"
            cache.write_text(json.dumps(cached))
    (directory / "config.py").write_text("VALUE = 2\n")
    done = user(PROGRAM, directory=directory)
    assert done.json[0] == 2
    assert "uploading everything" in done.stdout + done.stderr


# ---- what must not get in, through the calls themselves ----


def archive(files, kind=stat.S_IFREG, mode=0o644, compression=zipfile.ZIP_STORED):
    """An archive, and the hash of its content as the SDK makes it."""
    content, manifest = io.BytesIO(), hashlib.sha256()
    with zipfile.ZipFile(content, "w", compression) as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (kind | mode) << 16
            bundle.writestr(entry, files[name], compression)
            digest = hashlib.sha256(files[name]).hexdigest()
            manifest.update(f"{name}\0{digest}\0{mode:o}\n".encode())
    return content.getvalue(), manifest.hexdigest()


def fresh(size=100):
    """Files that nobody has sent before."""
    return {"app.py": os.urandom(size), "b.py": b"b", "c.py": b"c"}


class Sender:
    """Sends archives by the calls of the client API."""

    def __init__(self, api: Api):
        self.api = api
        self.gateway = api.gateway

    def begin(self, content, name, parts=0, size=None):
        size = len(content) if size is None else size
        return self.gateway.create_object(
            CreateObjectRequest(
                object_metadata=ObjectMetadata(name=name, size=size),
                hash=name,
                size=size,
                overwrite=True,
                supports_put_headers=True,
                multipart_part_size=-(-size // parts) if parts else 0,
                multipart_total_size=size if parts else 0,
            )
        )

    def whole(self, content, name):
        """Sends an archive in one piece; the HTTP answer, and the object's id."""
        begun = self.begin(content, name)
        assert begun.ok and not begun.upload_parts, begun
        return self.put(begun.presigned_url, content), begun.object_id

    def put(self, url, content):
        return requests.put(url, data=content, timeout=30)

    def put_parts(self, begun, content):
        parts = []
        for part in begun.upload_parts:
            answer = self.put(part.url, content[part.start : part.end])
            assert answer.status_code == 200, answer.text
            parts.append(ObjectUploadedPart(number=part.number, etag=answer.headers["ETag"]))
        return parts

    def complete(self, begun, parts, upload=None):
        return self.gateway.complete_object_upload(
            CompleteObjectUploadRequest(
                object_id=begun.object_id, upload_id=upload or begun.upload_id, parts=parts
            )
        )

    def begin_delta(self, content, name, base):
        return self.gateway.create_object_delta(
            CreateObjectDeltaRequest(
                hash=name, size=1000, base_object_id=base, delta_size=len(content)
            )
        )

    def commit(self, begun, base, *removed):
        return self.gateway.commit_object_delta(
            CommitObjectDeltaRequest(
                object_id=begun.object_id, base_object_id=base, removed_paths=list(removed)
            )
        )

    def has(self, name):
        return self.gateway.head_object(HeadObjectRequest(hash=name)).object_id


@pytest.fixture
def sender(uploads):
    return Sender(uploads.api)


def test_an_archive_is_there_once_it_is_whole(sender):
    content, name = archive(fresh())
    answer, told = sender.whole(content, name)
    assert answer.status_code == 200 and sender.has(name) == told
    # The same again, as another program would that began at the same time.
    answer, again = sender.whole(content, name)
    assert answer.status_code == 200 and again == told

    content, name = archive(fresh())
    begun, other = sender.begin(content, name, parts=3), sender.begin(content, name, parts=2)
    assert other.object_id == begun.object_id and len(begun.upload_parts) == 3
    parts = sender.put_parts(begun, content)
    assert not sender.has(name)
    assert sender.complete(other, sender.put_parts(other, content)).ok
    assert sender.complete(begun, parts).ok
    assert sender.has(name) == begun.object_id
    assert "does not exist" in sender.complete(begun, parts).error_msg


def test_parts_that_did_not_come_as_they_were_told_are_no_archive(sender):
    content, name = archive(fresh())
    begun = sender.begin(content, name, parts=3)
    parts = sender.put_parts(begun, content)
    for wrong in (parts[:2], [*parts[:2], ObjectUploadedPart(number=3, etag='"x"')]):
        answer = sender.complete(begun, wrong)
        assert not answer.ok and "as they were told" in answer.error_msg
    first = begun.upload_parts[0]
    short = sender.put(first.url, content[: first.end - 1])
    assert short.status_code == 400 and "must have" in short.text
    assert sender.put(first.url, content).status_code == 400
    assert not sender.complete(begun, parts, upload=name).ok
    # What came too short has overwritten some of the part: the content tells.
    damaged = bytes(first.end - 1)
    assert sender.put(first.url, damaged).status_code == 400
    answer = sender.complete(begun, parts)
    assert not answer.ok and not sender.has(name), answer


def bad_archives():
    files = fresh()
    content, name = archive(files)
    yield "other files than its hash says", content, archive(fresh())[1]
    yield "not a whole zip archive", content[:-1], name
    yield "not a whole zip archive", b"x" * 100, name
    yield "outside of the code directory", *archive({"../app.py": b""})
    yield "outside of the code directory", *archive({"/etc/cron.d/x": b""})
    yield "a symbolic link", *archive({"link": b"/etc/passwd"}, kind=stat.S_IFLNK)
    yield "a device", *archive({"device": b""}, kind=stat.S_IFBLK)
    bomb = {f"zeros-{number}": bytes(90_000_000) for number in range(3)}
    yield "unpacks to more than", *archive(bomb, compression=zipfile.ZIP_DEFLATED)


def test_a_bad_archive_is_refused_by_every_way_in(uploads, sender):
    files = fresh()
    base_content, base_name = archive(files)
    _, base = sender.whole(base_content, base_name)
    for told, content, name in bad_archives():
        answer, _ = sender.whole(content, name)
        assert answer.status_code == 400 and told in answer.text, (told, answer.text)
        begun = sender.begin(content, name, parts=2)
        answer = sender.complete(begun, sender.put_parts(begun, content))
        assert not answer.ok and told in answer.error_msg, (told, answer)
        begun = sender.begin_delta(content, name, base)
        assert sender.put(begun.presigned_url, content).status_code == 200
        assert not sender.commit(begun, base).ok, told
        assert not sender.has(name), told
    assert incoming(uploads) == []


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"name": ""}, "no SHA-256"),
        ({"name": "../../x"}, "no SHA-256"),
        ({"size": 0}, "0 bytes"),
        ({"size": -1}, "-1 bytes"),
        ({"size": 1 << 40}, "larger than"),
        ({"size": 1 << 20, "parts": 1 << 19}, "parts are more"),
    ],
)
def test_an_upload_that_cannot_be_is_not_begun(sender, fields, told):
    content, name = archive(fresh())
    answer = sender.begin(content, **{"name": name, **fields})
    assert not answer.ok and told in answer.error_msg and not answer.upload_id, answer


def test_what_has_changed_makes_a_new_archive_of_an_earlier_one(sender):
    files = fresh()
    _, base = sender.whole(*archive(files))
    changed = {"b.py": b"other", "d/e.py": b"new"}
    content, _ = archive(changed)
    wanted = {**files, **changed}
    del wanted["c.py"]
    _, name = archive(wanted)
    begun = sender.begin_delta(content, name, base)
    assert begun.ok and not sender.commit(begun, base).ok, "nothing has come"
    assert sender.put(begun.presigned_url, content).status_code == 200
    assert not sender.has(name)
    done = sender.commit(begun, base, "c.py")
    assert done.ok and done.size > 0 and sender.has(name) == done.object_id

    # What does not add up to the content that was announced is not kept.
    begun = sender.begin_delta(content, archive(fresh())[1], base)
    assert sender.put(begun.presigned_url, content).status_code == 200
    answer = sender.commit(begun, base, "c.py")
    assert not answer.ok and "other files" in answer.error_msg
    for missing in ("", "x", "01900000-0000-7000-8000-000000000000"):
        answer = sender.begin_delta(content, name, missing)
        assert not answer.ok and answer.base_missing, answer


def test_an_address_is_good_for_one_upload_and_its_workspace(uploads, sender):
    content, name = archive(fresh())
    begun, other = sender.begin(content, name), sender.begin(*archive(fresh()))
    forged = begun.presigned_url.replace(begun.upload_id, other.upload_id)
    for url in (forged, begun.presigned_url.partition("?")[0], begun.presigned_url[:-1]):
        assert sender.put(url, content).status_code == 403, url
    team = Sender(new_workspace(uploads.api))
    try:
        parts = sender.begin(content, name, parts=1)
        told = sender.put_parts(parts, content)
        assert "does not exist" in team.complete(parts, told).error_msg
        assert sender.complete(parts, told).ok
        base = parts.object_id
        assert team.begin_delta(content, name, base).base_missing
        delta = sender.begin_delta(content, name, base)
        assert sender.put(delta.presigned_url, content).status_code == 200
        assert "does not exist" in team.commit(delta, base).error_msg
        assert not team.has(name)
    finally:
        team.api.close()


def test_a_restart_leaves_nothing_of_what_was_on_its_way(uploads, sender):
    content, name = archive(fresh())
    begun = sender.begin(content, name, parts=2)
    sender.put(begun.upload_parts[0].url, content[: begun.upload_parts[0].end])
    assert begun.upload_id in incoming(uploads)
    uploads.restart_gateway()
    assert incoming(uploads) == []
    url = begun.upload_parts[1].url
    assert sender.put(url, content[begun.upload_parts[1].start :]).status_code == 404
    again = Sender(uploads.api)
    answer, _ = again.whole(content, name)
    assert answer.status_code == 200 and again.has(name)
