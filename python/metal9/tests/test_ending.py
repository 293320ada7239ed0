import pytest

from fake_worker import until

WAITS = """
import asyncio, atexit, time
atexit.register(lambda: print("atexit"))
def main():
    try:
        print("begun")
        time.sleep(60)
    finally:
        print("cleaned up")
async def wait():
    try:
        print("begun")
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        print("cleaned up")
def spin():
    try:
        print("begun")
        while True: pass
    finally:
        print("cleaned up")
"""


def begin(worker):
    number = worker.begin()
    assert worker.connection.receive() == {"type": "started", "id": number}
    until(lambda: "begun\n" in worker.stdout(), "the handler's first line")
    return number


@pytest.mark.parametrize("function", ["main", "wait", "spin"])
def test_a_cancel_unwinds_the_handler_and_ends_the_process(load, function):
    worker = load(WAITS, handler="app:" + function)
    number = begin(worker)
    worker.connection.send({"type": "cancel", "id": number, "reason": "cancelled"})
    assert worker.connection.receive() is None
    assert worker.wait() == 0
    assert worker.stdout() == "begun\ncleaned up\natexit\n"
    assert worker.stderr() == ""


def test_a_cancel_of_another_call_is_ignored(load):
    worker = load("def main(): return 1\n")
    worker.value()
    for number in [1, 99]:
        worker.connection.send({"type": "cancel", "id": number, "reason": "timeout"})
    assert worker.value() == 1


def test_a_cancel_that_the_handler_swallows_gives_no_result(load):
    app = """
import time
def main():
    try: print("begun"); time.sleep(60)
    except BaseException: pass
    return "too late"
"""
    worker = load(app)
    number = begin(worker)
    worker.connection.send({"type": "cancel", "id": number, "reason": "timeout"})
    assert worker.connection.receive() is None
    assert worker.wait() == 0


@pytest.mark.parametrize("how", ["hang up", "shutdown"])
def test_without_a_worker_an_idle_runner_leaves(load, how):
    worker = load(WAITS)
    if how == "hang up":
        worker.hang_up()
    else:
        worker.connection.send({"type": "shutdown"})
    assert worker.wait() == 0
    assert worker.stdout() == "atexit\n"


@pytest.mark.parametrize("function", ["main", "wait", "spin"])
def test_without_a_worker_a_busy_runner_unwinds_and_leaves(load, function):
    worker = load(WAITS, handler="app:" + function)
    begin(worker)
    worker.hang_up()
    assert worker.wait() == 0
    assert worker.stdout() == "begun\ncleaned up\natexit\n"


def test_a_spare_leaves_with_its_worker(start):
    worker = start()
    worker.ready()
    worker.hang_up()
    assert worker.wait() == 0


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_ends_the_process_as_such(load, busy):
    worker = load(WAITS)
    if busy:
        begin(worker)
    worker.process.terminate()
    assert worker.wait() == 143
    assert ("cleaned up" in worker.stdout()) == busy


def test_exit_handlers_and_threads_cannot_hold_the_process(load):
    app = """
import atexit, threading, time
atexit.register(lambda: time.sleep(60))
def main(): threading.Thread(target=lambda: time.sleep(60)).start()
"""
    worker = load(app)
    worker.value()
    worker.connection.send({"type": "shutdown"})
    assert worker.wait() == 0


def test_a_broken_frame_ends_the_process_with_a_reason(load):
    worker = load("def main(): return 1\n")
    worker.connection.send({"type": "call", "id": 1})
    assert worker.wait() == 70
    assert "task_id" in worker.stderr()


def test_an_unknown_frame_is_ignored(load):
    worker = load("def main(): return 1\n")
    worker.connection.send({"type": "news"})
    assert worker.value() == 1
