"""Requests that make no sense are refused in words: what, why, and what to do."""

import random
import threading
import zipfile
from io import BytesIO

import grpc
import pytest
import requests
from beta9.clients.function import FunctionInvokeRequest
from beta9.clients.gateway import (
    GetOrCreateStubRequest,
    ObjectMetadata,
    PoolConfig,
    PutObjectRequest,
    SecretVar,
    TaskPolicy,
)

from harness import eventually
from harness.code import HELLO


@pytest.fixture(scope="module")
def hello(fleet):
    """Code and an image that are fine."""
    return fleet.api.upload(HELLO), fleet.api.image()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"cpu": -1}, ["cpu", "-1 millicores"]),
        ({"cpu": 2**63 - 1}, ["cpu", "more than any machine has"]),
        ({"memory": -(2**63)}, ["memory", "negative"]),
        ({"memory": 2**40}, ["memory", "more than any machine has"]),
        ({"gpu": "H10O"}, ["`H10O`", "did you mean `H100`"]),
        ({"gpu": "T4", "gpu_count": 1000}, ["gpu_count of 1000"]),
        ({"timeout": -7}, ["-7 s", "timeout=-1"]),
        ({"timeout": 2**62}, ["timeout"]),
        ({"retries": 2**32 - 1}, ["4294967295 retries"]),
        ({"task_policy": TaskPolicy(timeout=60, ttl=2**32 - 1)}, ["time to live"]),
        ({"keep_warm_seconds": float("inf")}, ["keep_warm_seconds"]),
        ({"keep_warm_seconds": float("nan")}, ["keep_warm_seconds"]),
        ({"name": "a\nb"}, ["name", "control character"]),
        ({"app_name": "x" * 100_000}, ["app", "longer than 256"]),
        ({"handler": "no colon"}, ["handler", "module:function"]),
        ({"handler": ""}, ["handler", "module:function"]),
        ({"handler": "app:f\0"}, ["handler"]),
        ({"extra": "{not json"}, ["`extra` is not JSON"]),
        ({"callback_url": "file:///etc/passwd"}, ["callback_url"]),
        ({"env": ["A\nB=x"]}, ["environment variable", "control character"]),
        ({"env": ["A=\0"]}, ["`A`", "NUL"]),
        ({"env": ["A=" + "x" * 200_000]}, ["`A`", "no program can be started"]),
        ({"env": [f"V{n}=1" for n in range(2000)]}, ["2000 environment variables"]),
        ({"secrets": [SecretVar(name="s")] * 2000}, ["2000 secrets"]),
        ({"pool": PoolConfig(name="x\ny")}, ["pool"]),
        ({"image_id": "no-such-image"}, ["image", "no-such-image"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_stub_that_makes_no_sense_is_refused_in_words(api, hello, fields, words):
    object_id, image_id = hello
    fields = {"image_id": image_id, **fields}
    handler = fields.pop("handler", "app:hello")
    answer = api.try_stub(object_id, handler, **fields)
    assert not answer.ok and not answer.stub_id
    for word in words:
        assert word in answer.err_msg, answer.err_msg
    assert len(answer.err_msg) < 1000, "the refusal repeats what was sent"
    if fields["image_id"] == image_id:
        assert "\nhint: " in answer.err_msg, answer.err_msg


EXTREMES = {
    "cpu": [-(2**63), -1, 0, 1, 2**31, 2**63 - 1],
    "memory": [-(2**63), -1, 0, 1, 2**31, 2**63 - 1],
    "gpu_count": [0, 1, 2**31, 2**32 - 1],
    "gpu": ["", "0", "any", ",,,", "é", "M3Max,T4", "\0"],
    "keep_warm_seconds": [float("nan"), float("-inf"), float("inf"), -0.0, 1e-45, 3.4e38],
    "workers": [0, 2**32 - 1],
    "max_pending_tasks": [0, 2**32 - 1],
    "concurrent_requests": [0, 2**32 - 1],
    "extra": ["", "{}", "[" * 1000, "null", "\0"],
    "handler": ["app:hello", ":", "a:b:c", "\u202e:x", ""],
    "env": [[], ["="], ["A"], ["A=${{"], ["A=${{x}}"], ["\0"]],
    "object_id": ["", "x", "../..", "0" * 36],
    "image_id": ["", "\0", "x" * 10_000],
    "stub_type": ["function", "", "function\0", "x" * 10_000],
}


def test_no_combination_of_extremes_is_more_than_a_refusal(api, hello):
    """The log is looked at, too: no panic and no error."""
    object_id, image_id = hello
    choose = random.Random(20261124)
    answers = []
    for _ in range(150):
        fields = {"object_id": object_id, "image_id": image_id, "stub_type": "function"}
        fields.update(handler="app:hello", extra="{}")
        for name in choose.sample(sorted(EXTREMES), choose.randint(1, 4)):
            fields[name] = choose.choice(EXTREMES[name])
        policy = TaskPolicy(
            timeout=choose.choice([-(2**63), -1, 0, 1, 2**63 - 1]),
            max_retries=choose.choice([0, 1, 2**32 - 1]),
            ttl=choose.choice([0, 1, 2**32 - 1]),
        )
        request = GetOrCreateStubRequest(**fields, task_policy=policy)
        answer = api.gateway.get_or_create_stub(request)
        answers.append(answer)
        assert answer.ok == bool(answer.stub_id)
        assert answer.ok or answer.err_msg, fields
    assert any(answer.ok for answer in answers) and not all(answer.ok for answer in answers)


def test_a_stub_of_memory_that_no_worker_has_waits_and_says_so(api):
    """A larger worker may join: what could be is not refused."""
    call = api.call(api.stub(HELLO, "app:hello", memory=2**20), headless=True)
    call.until("waiting: ")
    assert "1048576 MiB" in call.output and "largest worker" in call.output
    api.cancel(call.task_id)
    assert api.wait(call.task_id) == "CANCELLED"


def test_a_count_of_gpus_without_a_gpu_is_one_of_any_kind_and_says_what_it_waits_for(api):
    call = api.call(api.stub(HELLO, "app:hello", gpu_count=2), headless=True)
    call.until("waiting: ")
    assert 'gpu "ANY"' in call.output, call.output
    api.cancel(call.task_id)
    assert api.wait(call.task_id) == "CANCELLED"


def test_arguments_over_the_limit_are_refused_before_anything_is_kept(api, fleet):
    """The SDK has the same limit and a sentence of its own; other clients get this one."""
    stub = api.stub(HELLO, "app:hello")
    before = len(api.tasks(limit=1000))
    token = (("authorization", f"Bearer {api.token}"),)
    with grpc.insecure_channel(fleet.facts["grpc"], [("grpc.max_send_message_length", -1)]) as free:
        invoke = free.unary_stream("/function.FunctionService/FunctionInvoke", bytes)
        for size, words in ((1 << 24) + 1, "a call may carry 16 MiB"), (17 << 20, "larger than 16 MiB"):
            request = bytes(FunctionInvokeRequest(stub_id=stub, args=b"x" * size))
            code, text = refused(lambda: next(invoke(request, metadata=token)))
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, text
            assert words in text and "\nhint: " in text, text

    url = f"http://{fleet.facts['http']}/function/id/{stub}"
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    answer = requests.post(url, data='{"text": "' + "x" * (16 << 20) + '"}', headers=headers)
    assert answer.status_code == 413, answer.text
    assert "too large" in answer.json()["message"] and "\nhint: " in answer.json()["message"]
    # What is as large as may be on its way, and larger as the function's arguments.
    fits = '{"text": "' + "x" * ((16 << 20) - 12) + '"}'
    answer = requests.post(url, data=fits, headers=headers)
    assert answer.status_code == 413, answer.text
    said = answer.json()["message"]
    assert "16.0 MiB" in said and "may carry 16 MiB" in said and "\nhint: " in said, said
    assert len(api.tasks(limit=1000)) == before


def test_a_token_that_nobody_knows_is_refused_in_words(fleet):
    from harness import Api

    stranger = Api(fleet.facts["grpc"], fleet.facts["http"], "no-such-token")
    code, text = refused(lambda: stranger.call("nonsense"))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert "invalid or missing token" in text and "revoked" in text and "\nhint: " in text, text
    stranger.close()


def test_the_sdk_shows_the_refusal_and_ends(app, api):
    before = len(api.tasks(limit=1000))
    done = app(
        """
        from beta9 import function

        @function(retries=1000)
        def never():
            return 1

        if __name__ == "__main__":
            never.remote()
        """
    )
    shown = done.stdout + done.stderr
    assert "1000 retries are more than the limit of 100" in shown, done
    assert "hint: " in shown, done
    assert len(api.tasks(limit=1000)) == before


def test_a_token_that_is_revoked_in_the_middle_ends_what_comes_next(fleet, app):
    """A call that runs goes on; nothing more can be heard or asked with the token."""
    from beta9.clients.gateway import CreateTokenRequest, DeleteTokenRequest

    from harness import Api
    from harness.code import WAITING

    made = fleet.api.gateway.create_token(CreateTokenRequest()).token
    other = Api(fleet.facts["grpc"], fleet.facts["http"], made.key)
    gate = app.gate()
    stub = other.stub(WAITING, "app:wait")
    call = other.call(stub, str(gate)).until("in")
    fleet.api.gateway.delete_token(DeleteTokenRequest(token_id=made.token_id))
    with pytest.raises(grpc.RpcError) as refused:
        other.call(stub, str(gate))
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    said = refused.value.details()
    assert "revoked" in said and "\nhint: " in said and "token create" in said, said
    with pytest.raises(grpc.RpcError) as ended:
        call.finish()
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
    gate.open()
    assert fleet.api.wait(call.task_id) == "COMPLETE"
    other.close()


def test_a_stranger_is_refused_before_its_message_has_come(fleet):
    """Else strangers could fill the gateway with messages that never end."""
    released = threading.Event()

    def never():
        released.wait(20)
        return
        yield b""

    with grpc.insecure_channel(fleet.facts["grpc"]) as channel:
        ask = channel.stream_unary("/gateway.GatewayService/GetOrCreateStub", bytes, bytes)
        with pytest.raises(grpc.RpcError) as refused:
            ask(never(), timeout=10, metadata=(("authorization", "Bearer " + "x" * 88),))
        released.set()
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


# ---- archives ----


def archive(*entries, patch=None):
    """A zip archive of (name, mode, content)."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, mode, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            bundle.writestr(entry, content)
    data = bytearray(out.getvalue())
    if patch:
        patch(data, data.index(b"PK\x01\x02"))
    return bytes(data)


def put(api, content, name="x", size=0):
    request = PutObjectRequest(
        object_content=content, object_metadata=ObjectMetadata(name=name, size=size), hash=name
    )
    return api.gateway.put_object_stream(iter([request]))


def encrypted(data, central):
    data[central + 8] |= 1


def giant(data, central):
    data[central + 24 : central + 28] = (2**32 - 2).to_bytes(4, "little")


FILE = 0o100644
WHOLE = archive(("app.py", FILE, b"x = 1"))


@pytest.mark.parametrize(
    "content, words",
    [
        (archive(("../evil", FILE, b"x")), "outside of the code directory"),
        (archive(("/etc/evil", FILE, b"x")), "outside of the code directory"),
        (archive(("a\\..\\evil", FILE, b"x")), "outside of the code directory"),
        (archive(("link", 0o120777, b"/etc/passwd")), "a symbolic link"),
        (archive(("disk", 0o060644, b"")), "a device"),
        (archive(("pipe", 0o010644, b"")), "a named pipe"),
        (archive(("a", FILE, b"1"), ("./a", FILE, b"2")), "two entries"),
        (archive(("a", FILE, b"1"), ("a/b", FILE, b"2")), "two entries"),
        (archive(("d/" * 70 + "x", FILE, b"")), "nested deeper"),
        (archive(("n" * 300, FILE, b"")), "255 bytes"),
        (archive(("diary", FILE, b"x"), patch=encrypted), "`diary` is encrypted"),
        (archive(("zeros", FILE, b"x"), patch=giant), "unpacks to more than"),
        (WHOLE[:-5], "not a whole zip archive"),
        (b"#!/bin/sh\n" + WHOLE, "not a whole zip archive"),
        (b"not an archive", "not a whole zip archive"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_an_archive_that_cannot_be_trusted_is_refused_and_not_kept(api, fleet, content, words):
    before = objects(fleet)
    code, text = refused(lambda: put(api, content))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words in text and "\nhint: " in text, text
    assert objects(fleet) == before


def refused(call):
    """Code and text of the status that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def objects(fleet):
    return sorted(path.name for path in (fleet.state / "gateway/objects").glob("*/*"))


def test_names_in_every_script_and_large_archives_are_fine(api):
    names = ["größe.py", "東京.txt", "👩‍👩‍👧.md", "with space", "a" * 255, "UPPER", "upper"]
    answer = put(api, archive(*((name, FILE, b"x") for name in names)), "unicode")
    assert answer.ok, answer.error_msg
    many = archive(*((f"d{n % 100}/f{n}", FILE, b"") for n in range(66_000)))
    assert b"PK\x06\x06" in many, "this many entries need the large format"
    assert "whole" in refused(lambda: put(api, many[: 3 << 20], "cut"))[1]
    pieces = [many[at : at + (1 << 20)] for at in range(0, len(many), 1 << 20)]
    requests = (
        PutObjectRequest(object_content=piece, object_metadata=ObjectMetadata(name="m"), hash="m")
        for piece in pieces
    )
    assert api.gateway.put_object_stream(requests).ok


def test_the_sdk_shows_why_its_archive_is_refused(app):
    directory = app.directory()
    deep = directory.joinpath(*["d"] * 70)
    deep.mkdir(parents=True)
    (deep / "file.txt").write_text("x")
    done = app(
        """
        from beta9 import function

        @function()
        def never():
            return 1

        if __name__ == "__main__":
            never.remote()
        """,
        directory=directory,
    )
    assert done.code == 1
    assert "nested deeper than 64 directories" in done.stdout + done.stderr, done


def test_one_archive_that_is_uploaded_by_many_at_once_is_one_object(api, fleet):
    content = archive(("app.py", FILE, b"def one():\n    return 1\n"))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(put(api, content, "by many").object_id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1 and found[0]
    kept = eventually(
        lambda: objects(fleet), lambda names: found[0] in names, what="the object is kept"
    )
    assert not [name for name in kept if "#" in name], "a part of an upload was left"


# ---- handlers ----

BROKEN = {
    "app.py": """
    number = 5

    def fine():
        return 1
    """,
    "broken.py": "import no_such_module\n",
    "wrong.py": "def f(:\n",
}


@pytest.mark.parametrize(
    "handler, words",
    [
        ("app:absent", ["absent"]),
        ("app:number", ["5 is not a callable object"]),
        ("missing.module:f", ["missing"]),
        ("broken:f", ["no_such_module"]),
        ("wrong:f", ["SyntaxError"]),
    ],
)
def test_a_handler_that_cannot_be_called_is_told_with_the_reason(api, handler, words):
    call = api.call(api.stub(BROKEN, handler)).finish()
    assert call.exit_code == 1 and not call.result
    for word in words:
        assert word in call.output, call.output
    assert api.wait(call.task_id) == "ERROR"
