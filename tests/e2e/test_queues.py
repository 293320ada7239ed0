"""Queues: first in, first out, each item to one."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from beta9.clients.simplequeue import (
    SimpleQueuePopRequest,
    SimpleQueuePutRequest,
    SimpleQueueRequest,
    SimpleQueueServiceStub,
)

QUEUE = """
import json
from beta9 import Queue, function

@function()
def work(name):
    q = Queue(name=name)
    taken = [q.pop(), q.pop()]
    q.put("from inside")
    return taken

if __name__ == "__main__":
    q = Queue(name="jobs and programs")
    before = [q.empty(), q.pop(), q.peek(), len(q)]
    for number in range(3):
        q.put({"number": number})
    size = len(q)
    taken = work.remote("jobs and programs")
    print(json.dumps({
        "before": before, "size": size, "taken": taken,
        "peek": q.peek(), "rest": [q.pop(), q.pop(), q.pop()],
    }))
"""


def test_a_queue_is_first_in_first_out_for_programs_and_jobs(app):
    assert app(QUEUE).json == {
        "before": [True, None, None, 0],
        "size": 3,
        "taken": [{"number": 0}, {"number": 1}],
        "peek": {"number": 2},
        "rest": [{"number": 2}, "from inside", None],
    }


POPPERS = """
import json
from beta9 import Queue, function

@function()
def drain(name):
    taken = []
    while (item := Queue(name=name).pop()) is not None:
        taken.append(item)
    return taken

if __name__ == "__main__":
    q = Queue(name="shared out")
    for number in range(60):
        q.put(number)
    print(json.dumps(list(drain.map(["shared out"] * 3))))
"""


def test_jobs_at_once_share_the_items_out(app):
    parts = app(POPPERS).json
    assert sorted(number for part in parts for number in part) == list(range(60))
    assert all(part == sorted(part) for part in parts)


def test_an_item_is_given_to_one_of_many_who_ask(api):
    queues = SimpleQueueServiceStub(api.channel)
    for number in range(200):
        assert queues.simple_queue_put(SimpleQueuePutRequest(name="race", value=b"%d" % number)).ok
    with ThreadPoolExecutor(16) as pool:
        taken = list(
            pool.map(
                lambda _: queues.simple_queue_pop(SimpleQueuePopRequest(name="race")).value,
                range(240),
            )
        )
    given = [int(value) for value in taken if value]
    assert sorted(given) == list(range(200))


def test_items_are_there_after_the_gateway_was_killed_and_none_comes_twice(split):
    queues = SimpleQueueServiceStub(split.api.channel)
    for number in range(20):
        assert queues.simple_queue_put(SimpleQueuePutRequest(name="kept", value=b"%d" % number)).ok
    first = [queues.simple_queue_pop(SimpleQueuePopRequest(name="kept")).value for _ in range(5)]
    split.restart_gateway()
    queues = SimpleQueueServiceStub(split.api.channel)
    assert queues.simple_queue_size(SimpleQueueRequest(name="kept")).size == 15
    rest = [queues.simple_queue_pop(SimpleQueuePopRequest(name="kept")).value for _ in range(16)]
    assert first + rest == [b"%d" % number for number in range(20)] + [b""]


def test_another_workspace_sees_nothing_of_a_queue(split, stranger):
    ours = SimpleQueueServiceStub(split.api.channel)
    theirs = SimpleQueueServiceStub(stranger.channel)
    assert ours.simple_queue_put(SimpleQueuePutRequest(name="own", value=b"ours")).ok
    assert theirs.simple_queue_empty(SimpleQueueRequest(name="own")).empty
    assert theirs.simple_queue_pop(SimpleQueuePopRequest(name="own")).value == b""
    assert theirs.simple_queue_peek(SimpleQueueRequest(name="own")).value == b""
    assert ours.simple_queue_pop(SimpleQueuePopRequest(name="own")).value == b"ours"


def test_an_item_that_is_too_large_is_refused_in_words(api):
    queues = SimpleQueueServiceStub(api.channel)
    with pytest.raises(grpc.RpcError) as error:
        queues.simple_queue_put(SimpleQueuePutRequest(name="large", value=b"x" * (9 << 20)))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "it may be 8 MiB" in error.value.details(), json.dumps(error.value.details())
    assert queues.simple_queue_empty(SimpleQueueRequest(name="large")).empty
