"""Processes that die under a call."""

import pytest

CRASHES = """
import ctypes, json, os, signal, sys
from beta9 import RemoteExecutionError, function

@function(retries=0)
def die(how, tries):
    with open(tries, "a") as log:
        log.write("x")
    print("still here")
    if how == "exit":
        os._exit(3)
    if how == "exit_zero":
        os._exit(0)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort":
        os.abort()
    return "survived"

if __name__ == "__main__":
    report = {}
    for how in ("exit", "exit_zero", "segfault", "kill", "abort"):
        tries = os.path.join(sys.argv[1], how)
        try:
            die.remote(how, tries)
        except RemoteExecutionError as error:
            size = os.path.getsize(tries)
            report[how] = [error.status, error.exit_code, error.output, size, error.task_id]
    report["after"] = die.remote("not", os.devnull)
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def crashed(shared_app, tmp_path_factory):
    return shared_app(CRASHES, arguments=[tmp_path_factory.mktemp("tries")]).json


@pytest.mark.parametrize(
    "how, code, reason",
    [
        ("exit", 3, "exited with code 3"),
        ("exit_zero", 1, "exited with code 0"),
        ("segfault", 139, "SIGSEGV"),
        ("kill", 137, "SIGKILL"),
        ("abort", 134, "SIGABRT"),
    ],
)
def test_a_process_that_dies_ends_the_call_with_how_it_died(crashed, api, how, code, reason):
    status, exit_code, output, tries, task_id = crashed[how]
    assert status == "ERROR"
    assert exit_code == code
    assert reason in output, output
    assert tries == 1
    assert api.status(task_id) == "ERROR"


def test_what_was_printed_before_the_crash_is_not_lost(crashed):
    for how in ("exit", "exit_zero", "segfault", "kill", "abort"):
        assert "still here\n" in crashed[how][2]


def test_the_next_call_gets_a_new_process(crashed):
    assert crashed["after"] == "survived"


RETRIED = """
import json, os, signal, sys
from beta9 import RemoteExecutionError, function

@function(retries=2)
def die(path, survive_at):
    with open(path, "a") as log:
        log.write("x")
    tries = os.path.getsize(path)
    print(f"try {tries}")
    if tries < survive_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries

@function(retries=2)
def fail(path):
    with open(path, "a") as log:
        log.write("x")
    raise ValueError("an answer, not an accident")

def outcome(call, path):
    try:
        return ["returned", call(), os.path.getsize(path)]
    except RemoteExecutionError as error:
        return [error.status, error.exit_code, os.path.getsize(path), error.output]

if __name__ == "__main__":
    path = lambda name: os.path.join(sys.argv[1], name)
    print(json.dumps({
        "survives": outcome(lambda: die.remote(path("a"), 2), path("a")),
        "never": outcome(lambda: die.remote(path("b"), 99), path("b")),
        "raises": outcome(lambda: fail.remote(path("c")), path("c")),
    }))
"""


@pytest.fixture(scope="module")
def retried(shared_app, tmp_path_factory):
    return shared_app(RETRIED, arguments=[tmp_path_factory.mktemp("tries")]).json


def test_a_crashed_call_is_tried_again(retried):
    assert retried["survives"] == ["returned", 2, 2]


def test_retries_end(retried):
    status, exit_code, tries, output = retried["never"]
    assert (status, exit_code, tries) == ("ERROR", 137, 3)
    assert [line for line in output.splitlines() if line.startswith("try ")] == [
        "try 1",
        "try 2",
        "try 3",
    ]
    assert "SIGKILL" in output


def test_an_exception_is_not_tried_again(retried):
    status, exit_code, tries, _ = retried["raises"]
    assert (status, exit_code, tries) == ("ERROR", 1, 1)


GREEDY = """
import json, signal
from beta9 import RemoteExecutionError, function

@function(memory=256, retries=3)
def hoard():
    print("hoarding", flush=True)
    blocks = []
    while len(blocks) < 64:
        blocks.append(bytearray(b"x") * (16 << 20))
    signal.pause()

@function(memory=256, retries=3)
def hoard_in_a_child():
    import subprocess, sys
    subprocess.run(
        [sys.executable, "-c", "import signal; x = b'x' * (600 << 20); signal.pause()"]
    )

@function(memory=1024)
def modest():
    return len(bytearray(b"x") * (300 << 20))

def outcome(call):
    try:
        return ["returned", call()]
    except RemoteExecutionError as error:
        return [error.status, error.exit_code, error.output]

if __name__ == "__main__":
    calls = {"alone": hoard.remote, "child": hoard_in_a_child.remote, "modest": modest.remote}
    print(json.dumps({name: outcome(call) for name, call in calls.items()}))
"""


@pytest.fixture(scope="module")
def greedy(shared_app):
    return shared_app(GREEDY).json


@pytest.mark.parametrize("who", ["alone", "child"])
def test_a_job_over_its_memory_is_ended_with_what_it_asked_for_and_used(greedy, who):
    status, exit_code, output = greedy[who]
    assert (status, exit_code) == ("ERROR", 137)
    last = output.strip().splitlines()[-1]
    assert "memory" in last and "256 MiB" in last, output
    assert output.count("hoarding") <= 1, "a job over its memory is not tried again"


def test_a_job_within_its_memory_is_left_alone(greedy):
    assert greedy["modest"] == ["returned", 300 << 20]
