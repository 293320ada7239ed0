"""Outputs: files that a task leaves."""

import time
import zipfile

import pytest
import requests
from beta9.clients.output import (
    OutputPublicUrlRequest,
    OutputSaveRequest,
    OutputServiceStub,
    OutputStatRequest,
)
from beta9.client.task import Task

from harness import SplitFleet, eventually, serve
from harness.code import HELLO

SAVES = """
import json, os, pathlib, zipfile
from beta9 import Output, function

@function()
def save():
    path = pathlib.Path("report.txt")
    path.write_bytes(b"0123456789" * 1000)
    output = Output(path=path).save()
    pathlib.Path("empty").write_bytes(b"")
    empty = Output(path="empty").save()
    folder = pathlib.Path("folder/below")
    folder.mkdir(parents=True)
    (folder / "file.txt").write_text("in a directory")
    zipped = Output(path="folder").save()
    stat = output.stat()
    return {
        "task": os.environ["TASK_ID"], "id": output.id, "exists": output.exists(),
        "mode": stat.mode, "size": stat.size, "modified": stat.mtime.timestamp(),
        "url": output.public_url(expires=600), "empty": empty.public_url(),
        "zipped": zipped.public_url(), "empty_size": empty.stat().size,
    }

if __name__ == "__main__":
    print(json.dumps(save.remote()))
"""


def test_a_job_saves_files_that_whoever_has_the_address_gets(app, api, tmp_path):
    told = app(SAVES).json
    assert told["exists"] and told["size"] == 10_000 and told["empty_size"] == 0
    assert told["mode"].startswith("-rw") and abs(told["modified"] - time.time()) < 120
    answer = requests.get(told["url"], timeout=10)
    assert answer.status_code == 200 and answer.content == b"0123456789" * 1000
    assert "report.txt" in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert requests.get(told["empty"], timeout=10).content == b""
    archive = tmp_path / "folder.zip"
    archive.write_bytes(requests.get(told["zipped"], timeout=10).content)
    assert zipfile.ZipFile(archive).read("below/file.txt") == b"in a directory"

    part = requests.get(told["url"], headers={"Range": "bytes=5-14"}, timeout=10)
    assert part.status_code == 206 and part.content == b"5678901234"
    assert part.headers["Content-Range"] == "bytes 5-14/10000"

    task = Task(told["task"], f"{api.http}/api/v1/task/{api.workspace}/{told['task']}", api.token)
    outputs = task.outputs()
    assert [output["name"] for output in outputs] == ["report.txt", "empty", "folder.zip"]
    assert requests.get(outputs[0]["url"], timeout=10).content == answer.content


@pytest.fixture
def task(api):
    """A task that has ended."""
    return ended_task(api)


def ended_task(api):
    call = api.call(api.stub(HELLO, "app:hello"))
    call.finish()
    return call.task_id


def save(api, task, name, content=b"content"):
    pieces = [content[at : at + 4096] for at in range(0, len(content), 4096)] or [b""]
    messages = (OutputSaveRequest(task_id=task, filename=name, content=piece) for piece in pieces)
    return OutputServiceStub(api.channel).output_save_stream(messages)


def url(api, task, output, expires=60):
    request = OutputPublicUrlRequest(id=output, task_id=task, filename="", expires=expires)
    return OutputServiceStub(api.channel).output_public_url(request)


def test_an_address_that_was_changed_or_has_expired_is_refused(api, task):
    output = save(api, task, "a.txt").id
    other = save(api, task, "b.txt").id
    good = url(api, task, output).public_url
    assert requests.get(good, timeout=10).status_code == 200
    for bad in (
        good.replace(output, other),
        good.replace("expires=", "expires=9"),
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.partition("?")[0],
    ):
        answer = requests.get(bad, timeout=10)
        assert answer.status_code == 403 and "not signed" in answer.json()["message"], bad
    assert requests.put(good, data=b"x", timeout=10).status_code == 405
    short = url(api, task, output, expires=1).public_url
    eventually(
        lambda: requests.get(short, timeout=10).status_code,
        lambda status: status == 403,
        what="the address has expired",
    )
    assert not url(api, task, output, expires=8 * 24 * 3600).ok


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc/passwd", "a\\b", "a\0b"])
def test_a_name_that_is_a_path_is_refused(api, task, name):
    saved = save(api, task, name)
    assert not saved.ok and "file name" in saved.err_msg


def test_names_are_told_as_they_were_saved(api, task):
    name = 'ünï "quoted"; filename=x.txt'
    saved = save(api, task, name)
    assert saved.ok, saved.err_msg
    answer = requests.get(url(api, task, saved.id).public_url, timeout=10)
    told = answer.headers["Content-Disposition"].partition("UTF-8''")[2]
    assert requests.utils.unquote(told) == name
    assert api.task(task)["outputs"][0]["name"] == name


def test_a_job_has_only_its_own_tasks_outputs(app, api, task):
    foreign = save(api, task, "foreign.txt").id
    source = f"""
import json, os
from beta9 import Output, function

@function()
def look():
    open("own", "w").close()
    output = Output(path="own")
    output.task_id = {task!r}
    refusals = []
    try:
        output.save()
    except Exception as error:
        refusals.append(str(error))
    output.id = {foreign!r}
    try:
        output.public_url()
    except Exception as error:
        refusals.append(str(error))
    return refusals

if __name__ == "__main__":
    print(json.dumps(look.remote()))
"""
    refusals = app(source).json
    assert len(refusals) == 2 and all("only its own" in text for text in refusals), refusals


REQUESTS = """
import os
from beta9 import Output, asgi, endpoint

def leave(task=None):
    with open("note.txt", "w") as note:
        note.write("left by a request")
    output = Output(path="note.txt")
    if task:
        output.task_id = task
    try:
        output.save()
        return {"task": output.task_id, "url": output.public_url()}
    except Exception as error:
        return {"refused": str(error)}
"""

ENDPOINT = """
@endpoint(keep_warm_seconds=30)
def handler(task=None):
    return leave(task)
"""

APPLICATION = """
@asgi(keep_warm_seconds=30, concurrent_requests=8)
def handler(context):
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/")
    async def answer(task: str = None):
        return leave(task)

    return app
"""


@pytest.mark.parametrize("kind", [ENDPOINT, APPLICATION], ids=["endpoint", "asgi"])
def test_requests_leave_outputs(shared_app, fleet, api, task, kind):
    served = serve(shared_app, fleet.facts, REQUESTS + kind)
    answer = served.post("/")
    told = answer.json()
    assert told.get("task") == answer.headers["X-Task-Id"], told
    assert requests.get(told["url"], timeout=10).text == "left by a request"
    again = served.post("/").json()
    assert again["task"] != told["task"], "each has its own"
    assert [it["name"] for it in api.task(told["task"])["outputs"]] == ["note.txt"]
    foreign = {"params": {"task": task}}
    assert "only its own" in served.post("/", **foreign).json()["refused"]


def test_outputs_are_there_after_the_gateway_was_killed_and_no_other_workspace_has_them(
    split, stranger
):
    task = ended_task(split.api)
    content = bytes(range(256)) * 20_000
    output = save(split.api, task, "kept.bin", content).id
    address = url(split.api, task, output).public_url
    split.restart_gateway()
    assert requests.get(address, timeout=10).content == content
    request = OutputStatRequest(id=output, task_id=task, filename="kept.bin")
    stat = OutputServiceStub(split.api.channel).output_stat(request)
    assert stat.ok and stat.stat.size == len(content)
    assert not OutputServiceStub(stranger.channel).output_stat(request).ok
    assert not url(stranger, task, output).ok
    assert not save(stranger, task, "a.txt").ok


def test_outputs_go_with_their_task(fleet, tmp_path):
    short = SplitFleet(
        tmp_path, environments=fleet.environments, METAL9_GATEWAY_KEEP_ENDED_DAYS="0.0001"
    )
    try:
        short.start()
        task = ended_task(short.api)
        saved = save(short.api, task, "a.txt", b"x" * 100_000)
        assert saved.ok, saved.err_msg

        def files():
            return list((short.root / "gateway/objects").rglob(saved.id))

        assert files()
        eventually(files, lambda found: not found, what="the output's file is removed", within=60)
        assert short.api.status(task) == ""
    finally:
        short.stop()
