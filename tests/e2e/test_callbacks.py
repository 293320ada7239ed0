"""What is posted when a call is over."""

import base64
import hashlib
import hmac
import re
import time

import pytest

from beta9.clients.gateway import SignPayloadRequest

from harness import eventually
from harness.code import WAITING
from harness.receiver import Receiver

PROGRAM = """
import json, signal, sys
from beta9 import RemoteExecutionError, function

URL = "RECEIVER"

@function(callback_url=URL + "/complete")
def work():
    return {"answer": 42}

@function(callback_url=URL + "/error")
def fail():
    raise ValueError("not today")

@function(callback_url=URL + "/timeout", timeout=1)
def stay():
    signal.pause()

@function()
def plain(value):
    return value

if __name__ == "__main__":
    calls = {
        "complete": work.remote,
        "error": fail.remote,
        "timeout": stay.remote,
        "per_call": lambda: plain.remote([1, 2], callback_url=URL + "/per_call"),
    }
    report = {}
    for name, call in calls.items():
        try:
            report[name] = call()
        except RemoteExecutionError as error:
            report[name] = error.task_id
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def called(shared_app, receiver):
    return shared_app(PROGRAM.replace("RECEIVER", receiver.url)).json


@pytest.mark.parametrize(
    "name, status, data",
    [
        ("complete", "COMPLETE", {"answer": 42}),
        ("error", "ERROR", {"error": "not today"}),
        ("per_call", "COMPLETE", [1, 2]),
    ],
)
def test_the_outcome_is_posted(called, receiver, name, status, data):
    post = receiver.wait(f"/{name}")
    assert post.headers["x-task-status"] == status
    assert post.body == {"data": data}


def test_a_timeout_is_posted(called, receiver):
    post = receiver.wait("/timeout")
    assert post.headers["x-task-status"] == "TIMEOUT"
    assert post.headers["x-task-id"] == called["timeout"]


def test_a_cancelled_call_is_posted(api, app):
    receiver = Receiver()
    try:
        stub = api.stub(WAITING, "app:wait", callback_url=receiver.url + "/cancelled")
        call = api.call(stub, str(app.gate())).until("in")
        api.cancel(call.task_id)
        post = receiver.wait("/cancelled")
    finally:
        receiver.close()
    assert post.headers["x-task-status"] == "CANCELLED"
    assert post.headers["x-task-id"] == call.task_id


def test_each_outcome_is_posted_once(called, receiver):
    for name in called:
        receiver.wait(f"/{name}")
    assert sorted(post.path for post in receiver.posts) == sorted(f"/{name}" for name in called)


def test_the_post_is_signed_and_dated(called, receiver, api):
    post = receiver.wait("/complete")
    assert re.fullmatch(r"[0-9a-f]{64}", post.headers["x-task-signature"])
    assert abs(int(post.headers["x-task-timestamp"]) - time.time()) < 300
    assert api.status(post.headers["x-task-id"]) == "COMPLETE"


def test_a_receiver_can_tell_by_the_workspaces_key(called, receiver, fleet, stranger):
    """As docs/guide.md says."""
    key = bytes.fromhex(fleet.metal9("workspace", "callback-key").stdout.strip())
    post = receiver.wait("/complete")
    text = base64.b64encode(post.raw) + b":" + post.headers["x-task-timestamp"].encode()
    expected = hmac.new(key, text, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, post.headers["x-task-signature"])
    theirs = stranger.get("/api/v1/workspace/current/callback-key").json()["key"]
    assert bytes.fromhex(theirs) != key


NOTHING = {"app.py": "def work():\n    return {'answer': 42}\n"}


@pytest.fixture
def own_receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_post_that_is_refused_for_now_is_made_again_with_the_same_signature(api, own_receiver):
    own_receiver.answers += [503, 429]
    stub = api.stub(NOTHING, "app:work", callback_url=own_receiver.url + "/again")
    assert api.call(stub).value == {"answer": 42}
    posts = eventually(
        lambda: list(own_receiver.posts), lambda posts: len(posts) == 3, what="three posts"
    )
    assert {post.raw for post in posts} == {b'{"data": {"answer": 42}}'}
    signatures = {(p.headers["x-task-signature"], p.headers["x-task-timestamp"]) for p in posts}
    assert len(signatures) == 1


def test_a_post_that_is_refused_for_good_is_not_made_again(api, own_receiver):
    own_receiver.answers += [400]
    stub = api.stub(NOTHING, "app:work", callback_url=own_receiver.url + "/once")
    assert api.call(stub).value == {"answer": 42}
    # The second call's post comes after any repetition of the first one's would begin.
    assert api.call(stub).value == {"answer": 42}
    eventually(lambda: len(own_receiver.posts) >= 2, what="the second post")
    assert len(own_receiver.posts) == 2


def test_what_is_posted_is_signed_with_a_key_of_the_workspace(split, stranger):
    request = SignPayloadRequest(payload=b'{"data": 1}')

    def both():
        return split.api.gateway.sign_payload(request), stranger.gateway.sign_payload(request)

    # Signatures have the time in them.
    own, theirs = eventually(
        both, lambda both: both[0].timestamp == both[1].timestamp, what="two in one second"
    )
    assert own.signature != theirs.signature
    other = split.api.gateway.sign_payload(SignPayloadRequest(payload=b'{"data": 2}'))
    assert other.signature != own.signature


def test_the_argument_for_the_callback_does_not_reach_the_function(called):
    assert called["per_call"] == [1, 2]


def test_a_callback_nobody_answers_does_not_fail_the_call(app):
    done = app(
        """
        import json
        from beta9 import function

        @function(callback_url="http://127.0.0.1:9/nobody")
        def work():
            return "done anyway"

        if __name__ == "__main__":
            print(json.dumps(work.remote()))
        """
    )
    assert done.json == "done anyway"
