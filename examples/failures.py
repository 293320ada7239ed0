"""When things go wrong: what a failed call looks like, and what is tried again.

    python failures.py
"""

import os
import tempfile

from beta9 import RemoteExecutionError, function


@function()
def divide(a, b):
    return a / b


@function(timeout=1)
def spin():
    while True:
        pass


@function(retries=3)
def crash_twice(notes):
    """Dies like a process that ran into a bug in a C library, but not the third time."""
    with open(notes, "a") as log:
        log.write("x")
    tries = os.path.getsize(notes)
    if tries < 3:
        os.abort()
    return tries


def attempt(title, call, *args):
    print(f"\n== {title}")
    try:
        print(f"returned {call(*args)!r}")
    except RemoteExecutionError as error:
        print(f"status {error.status}, exit code {error.exit_code}, task {error.task_id}")


def main():
    attempt("an exception comes back with its traceback, and is final", divide.remote, 1, 0)
    attempt("a call that takes too long is stopped", spin.remote)
    with tempfile.TemporaryDirectory() as directory:
        notes = os.path.join(directory, "notes")
        attempt("a process that dies is replaced, and the call repeated", crash_twice.remote, notes)


if __name__ == "__main__":
    main()
