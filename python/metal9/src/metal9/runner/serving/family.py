"""Several processes that serve, or one that is started again when the code changes.

Each is a runner of its own, and this process is to it what the worker is to this one. The sockets belong to this
process, so that requests wait while another is started.
"""

import os
import socket
import subprocess
import sys
import threading
import time

from .. import errors, process
from ..frames import Connection, FrameError
from . import server
from .apology import Apology

# Seconds a process may take to end when it is asked to.
_END_SECONDS = 2.0


class Child:
    """One process, from its start to its end."""

    def __init__(self, number: int, sock, load, token) -> None:
        ours, theirs = socket.socketpair()
        env = process.environment()
        env[process.FD_VARIABLE] = str(theirs.fileno())
        main = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")
        self._process = subprocess.Popen(
            [sys.executable, "-s", main],
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), sock.fileno()),
        )
        theirs.close()
        self._connection = Connection(ours)
        self._load = dict(load, processes=1, member=True, listen_fd=sock.fileno())
        self._token = token
        self.number = number

    def begin(self) -> str:
        """Waits until it serves; why it does not, or an empty text."""
        try:
            self._send({"type": "load", **self._load})
            while True:
                message = self._connection.receive()
                if message is None:
                    return "the process of number %d ended with code %s" % (self.number, self.wait())
                if message["type"] == "loaded":
                    if self._token is not None:
                        self.use(self._token)
                    return ""
                if message["type"] == "load_failed":
                    return message["text"]
        except (OSError, FrameError) as error:
            return errors.describe(error)

    def use(self, call) -> None:
        """Tells it the task and the token that it acts with."""
        try:
            self._send({"type": "call", "id": call.id, "task_id": call.task_id, "token": call.token, "args": b""})
        except OSError:
            pass

    def until_end(self) -> int:
        """Waits for its end."""
        try:
            while self._connection.receive() is not None:
                pass
        except (OSError, FrameError):
            pass
        return self.wait()

    def wait(self) -> int:
        return self._process.wait()

    def end(self) -> None:
        """Ends it, by force if need be."""
        try:
            self._send({"type": "shutdown"})
        except OSError:
            pass
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message) -> None:
        self._connection.send(message)


class Family:
    """All processes of a container."""

    def __init__(self, session, load) -> None:
        self._session = session
        self._load = load
        self._code_dir = os.path.abspath(load["code_dir"])
        self._develops = load["stub_type"].endswith("/serve")
        self._sockets = [server.listen(number, self._code_dir) for number in range(load["processes"])]
        for sock in self._sockets:
            sock.set_inheritable(True)
        self._children = []
        self._call = None
        # Counts the starts, so that news of an earlier one is known as such.
        self._start_number = 0
        self._apology = None
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Serves until the worker wants the processes gone. Returns why it could not begin."""
        os.environ.update(self._load.get("env") or {})
        started = time.perf_counter()
        if self._develops:
            # Whoever develops changes what does not load until it does: the container is there meanwhile.
            self._start_aside()
        else:
            failure = self._start(self._start_number)
            if failure:
                self._end()
                return failure
        self._session.send({"type": "loaded", "micros": int((time.perf_counter() - started) * 1e6)})
        while True:
            message = self._session.next_message()
            if message["type"] == "call":
                self._use(message["call"])
            elif message["type"] == "reload":
                self._reload()
            elif message["type"] == "anew":
                self._start_aside()
            elif message["type"] == "begun":
                self._begun(message)
            elif message["type"] != "load":
                break
        self._end()
        self._session.leave(self._session.exit_code())

    def _start(self, start_number) -> str:
        """Starts all; why one of them does not serve, or an empty text."""
        children = [Child(number, sock, self._load, self._call) for number, sock in enumerate(self._sockets)]
        with self._lock:
            wanted = start_number == self._start_number
            if wanted:
                self._children = children
        if not wanted:
            for child in children:
                child.end()
            return "the code has changed again"
        failures = []
        threads = [threading.Thread(target=lambda c=child: failures.append(c.begin())) for child in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failure = next((text for text in failures if text), "")
        for child in children:
            threading.Thread(target=self._mourn, args=(child,), daemon=True).start()
        return failure

    def _start_aside(self) -> None:
        """Ends what is there and starts all beside what else is to be done: the code may take its time, or never
        come to an end.
        """
        number = self._end()

        def start() -> None:
            self._session.post({"type": "begun", "number": number, "failure": self._start(number)})

        threading.Thread(target=start, name="metal9-start", daemon=True).start()

    def _begun(self, message) -> None:
        """The code that was started last serves, or does not."""
        if message["number"] != self._start_number:
            return
        failure = message["failure"]
        if not failure:
            print("serving", flush=True)
            return
        # What else the same start has to say is no news.
        self._end()
        text = "the code does not serve: %s" % failure
        print(text + "\nit is tried again when it changes", file=sys.stderr, flush=True)
        self._apology = Apology(self._sockets, text)

    def _mourn(self, child) -> None:
        """A container in which one process is missing is not whole, so all of it ends with the process."""
        code = child.until_end()
        with self._lock:
            expected = child not in self._children
            number = self._start_number
        if expected:
            return
        if self._develops and code == process.EXIT_GPU_FAULT:
            # Nothing is wrong with the code, which would otherwise have to change first.
            self._session.post({"type": "anew"})
            return
        text = "a process that served requests ended with code %s" % code
        if self._develops:
            self._session.post({"type": "begun", "number": number, "failure": text})
            return
        print("metal9 runner: " + text, file=sys.stderr)
        self._session.leave(code if 0 < code < 256 else 1)

    def _use(self, call) -> None:
        self._call = call
        for child in self._children:
            child.use(call)
        self._session.send({"type": "started", "id": call.id})

    def _reload(self) -> None:
        print("the code has changed; starting again", flush=True)
        self._start_aside()
        self._session.send({"type": "reloaded"})

    def _end(self) -> int:
        """Ends all; the number of the start that may follow."""
        apology, self._apology = self._apology, None
        if apology is not None:
            apology.end()
        with self._lock:
            # At once with taking the processes: a start that is under way would add some that nobody ends.
            self._start_number += 1
            number = self._start_number
            children, self._children = self._children, []
        for child in children:
            child.end()
        return number
