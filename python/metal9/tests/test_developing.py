"""A runner whose code changes: processes are exchanged, and the socket stays."""

import http.client
import socket
import time

import pytest

ENDPOINT = """
from beta9 import endpoint

@endpoint()
def main():
    return %r
"""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


@pytest.fixture
def developed(start, code):
    """A function that loads an app that is developed; gives how it is asked, changed, and its worker."""
    pytest.importorskip("uvicorn")

    def begin(text):
        directory = code(app=text)
        worker = start()
        reply = worker.load(directory, stub_type="endpoint/serve", processes=1)
        assert reply["type"] == "loaded", (reply, worker.stderr())

        def ask():
            connection = Connection(directory.parent / "http-0.sock")
            connection.request("POST", "/")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        def change(text):
            code(app=text)
            worker.connection.send({"type": "reload"})
            assert worker.connection.receive() == {"type": "reloaded"}

        return ask, change, worker

    return begin


def until(ask, expected):
    deadline = time.monotonic() + 30
    while (seen := ask()) != expected:
        assert time.monotonic() < deadline, seen
    return seen


def test_what_changes_is_answered_from_at_the_same_place(developed):
    ask, change, _ = developed(ENDPOINT % "one")
    assert ask() == (200, '"one"')
    # As long and as old as the one before, for all that bytecode knows.
    change(ENDPOINT % "two")
    assert ask() == (200, '"two"')


def test_what_does_not_load_is_said_until_it_does(developed):
    ask, change, worker = developed("import nothing_of_this_name\n")
    status, text = ask()
    assert status == 500 and "nothing_of_this_name" in text
    change("def main(:\n")
    status, text = ask()
    assert status == 500 and "SyntaxError" in text
    change(ENDPOINT % "mended")
    assert ask() == (200, '"mended"')
    assert "tried again when it changes" in worker.stderr()


def test_code_that_never_comes_to_an_end_can_be_changed(developed):
    ask, change, _ = developed("import time\nwhile True: time.sleep(1)\n")
    change(ENDPOINT % "one")
    assert ask() == (200, '"one"')


def test_a_process_that_ends_is_said_and_is_started_again_with_a_change(developed):
    ask, change, _ = developed("import os\n" + ENDPOINT.replace("return %r", "os._exit(3)"))
    with pytest.raises((http.client.HTTPException, OSError)):
        ask()
    change(ENDPOINT % "one")
    until(ask, (200, '"one"'))
