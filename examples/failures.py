"""When things go wrong: what a failed call looks like, and what is tried again.

    python failures.py
"""

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from urllib.request import urlopen

from beta9 import RemoteExecutionError, function


@function()
def divide(a, b):
    return a / b


@function(timeout=1)
def spin():
    while True:
        pass


@function(retries=3)
def crash_twice(counter):
    """Dies like a process that ran into a bug in a C library, but not the third time."""
    # Each try runs in a new container: what it remembers must be somewhere else.
    tries = int(urlopen(counter).read())
    if tries < 3:
        os.abort()
    return tries


class Counter(BaseHTTPRequestHandler):
    """Counts how often it was asked."""

    tries = count(1)

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(next(self.tries)).encode())

    def log_message(self, *_):
        pass


def attempt(title, call, *args):
    print(f"\n== {title}")
    try:
        print(f"returned {call(*args)!r}")
    except RemoteExecutionError as error:
        print(f"status {error.status}, exit code {error.exit_code}, task {error.task_id}")


def main():
    attempt("an exception comes back with its traceback, and is final", divide.remote, 1, 0)
    attempt("a call that takes too long is stopped", spin.remote)
    counter = HTTPServer(("127.0.0.1", 0), Counter)
    threading.Thread(target=counter.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{counter.server_port}"
    attempt("a process that dies is replaced, and the call repeated", crash_twice.remote, url)


if __name__ == "__main__":
    main()
