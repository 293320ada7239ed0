"""Calls that take too long."""

import pytest

from harness import eventually, processes

PROGRAM = """
import json, os, signal, subprocess, sys
from beta9 import RemoteExecutionError, function

@function(timeout=1)
def stay(directory):
    child = subprocess.Popen(["sleep", "1000"])
    stray = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with open(os.path.join(directory, "pids"), "w") as pids:
        pids.write(f"{os.getpid()} {child.pid} {stray.pid}")
    try:
        while True:
            signal.pause()
    finally:
        open(os.path.join(directory, "finally"), "w").close()

@function(timeout=1)
def spin():
    while True:
        pass

@function(timeout=1)
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            signal.pause()
        except BaseException:
            pass

if __name__ == "__main__":
    report = {}
    for name, call in {
        "stay": lambda: stay.remote(sys.argv[1]),
        "spin": lambda: spin.remote(),
        "stubborn": lambda: stubborn.remote(),
    }.items():
        try:
            call()
        except RemoteExecutionError as error:
            report[name] = [error.status, error.task_id, error.exit_code, error.output]
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("timeout")


@pytest.fixture(scope="module")
def timed_out(shared_app, place):
    return shared_app(PROGRAM, arguments=[place]).json


@pytest.mark.parametrize("name", ["stay", "spin", "stubborn"])
def test_a_call_over_its_time_ends_with_the_status_and_the_reason(timed_out, api, name):
    status, task_id, exit_code, output = timed_out[name]
    assert status == "TIMEOUT"
    assert exit_code == 124
    assert api.status(task_id) == "TIMEOUT"
    last = output.strip().splitlines()[-1]
    assert "timed out after 1 s" in last, output


def test_no_process_of_the_call_outlives_it(timed_out, place):
    pids = [int(pid) for pid in (place / "pids").read_text().split()]
    assert len(pids) == 3
    eventually(lambda: processes.living(pids), lambda left: not left, what="every process is gone")


def test_the_function_had_the_chance_to_clean_up(timed_out, place):
    assert (place / "finally").exists()


def test_a_call_within_its_time_is_left_alone(app):
    done = app(
        """
        import json
        from beta9 import function

        @function(timeout=30)
        def quick():
            return "in time"

        if __name__ == "__main__":
            print(json.dumps([quick.remote(), quick.remote()]))
        """
    )
    assert done.json == ["in time", "in time"]


def test_the_time_starts_when_the_function_does(app):
    done = app(
        """
        import json, os, sys
        from beta9 import function

        if os.getenv("CONTAINER_ID"):
            import time
            time.sleep(2)  # a slow import is not the function's time

        @function(timeout=1)
        def quick():
            return "in time"

        if __name__ == "__main__":
            print(json.dumps(quick.remote()))
        """
    )
    assert done.json == "in time"
