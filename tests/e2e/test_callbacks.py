"""What is posted when a call is over."""

import re
import time

import pytest

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
