"""The worker's side of a runner, for tests: a real process over a real socket pair."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle

from metal9.runner.frames import Connection

SOURCE = Path(__file__).resolve().parent.parent / "src"
MAIN = SOURCE / "metal9" / "runner" / "__main__.py"
PATIENCE = 30


class FakeWorker:
    def __init__(self, tmp_path, as_module=False, env=None, cwd="/"):
        self._out = tmp_path / ("stdout-%d" % id(self))
        self._err = tmp_path / ("stderr-%d" % id(self))
        mine, theirs = socket.socketpair()
        mine.settimeout(PATIENCE)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "METAL9_RUNNER_FD": str(theirs.fileno()),
        }
        environment.update(env or {})
        command = [sys.executable, "-s", str(MAIN)]
        if as_module:
            command = [sys.executable, "-s", "-m", "metal9.runner"]
            environment["PYTHONPATH"] = str(SOURCE)
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=str(cwd),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        theirs.close()
        self._socket = mine
        self.connection = Connection(mine)
        self._next_id = 1

    def ready(self):
        reply = self.connection.receive()
        assert reply is not None and reply["type"] == "ready", (reply, self.stderr())
        return reply

    def load(self, directory, handler="app:main", **more):
        self.ready()
        self.connection.send(load_message(directory, handler, **more))
        return self.connection.receive()

    def begin(self, *args, **kwargs):
        """Sends a call and returns its id."""
        return self.begin_raw(cloudpickle.dumps({"args": args, "kwargs": kwargs}))

    def begin_raw(self, payload, token="token-of-the-call"):
        number = self._next_id
        self._next_id += 1
        self.connection.send(
            {
                "type": "call",
                "id": number,
                "task_id": "task-%d" % number,
                "token": token,
                "args": payload,
                "attempt": 1,
            }
        )
        return number

    def reply(self, number):
        """The frame that ends the call, after its `started` if there is one."""
        reply = self.connection.receive()
        if reply is not None and reply["type"] == "started":
            assert reply == {"type": "started", "id": number}
            reply = self.connection.receive()
        assert reply is None or reply["id"] == number, reply
        return reply

    def outcome(self, *args, **kwargs):
        return self.reply(self.begin(*args, **kwargs))

    def value(self, *args, **kwargs):
        """The value that a call returns."""
        reply = self.outcome(*args, **kwargs)
        assert reply is not None and reply["type"] == "result", (reply, self.stderr())
        return cloudpickle.loads(reply["data"])

    def error(self, *args, **kwargs):
        """(kind, text) of a call that fails."""
        reply = self.outcome(*args, **kwargs)
        assert reply is not None and reply["type"] == "error", (reply, self.stderr())
        return reply["kind"], reply["text"]

    def wait(self):
        return self.process.wait(PATIENCE)

    def hang_up(self):
        self._socket.close()

    def stdout(self):
        return self._out.read_text()

    def stderr(self):
        return self._err.read_text()

    def close(self):
        self._socket.close()
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def load_message(directory, handler, **more):
    message = {
        "type": "load",
        "handler": handler,
        "on_start": "",
        "code_dir": str(directory),
        "env": {},
        "container_id": "function-1",
        "stub_id": "stub-1",
        "stub_type": "function",
        "python_version": "python3",
        "timeout": 60,
        "keep_warm": 10.0,
        "callback_url": "",
        "inputs": "",
        "outputs": "",
    }
    message.update(more)
    return message


def until(condition, what):
    """Waits for `condition()` to be true and returns its value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("never happened: %s" % what)
