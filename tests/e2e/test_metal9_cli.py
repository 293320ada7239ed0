"""metal9's own command line, and what it says of jobs that wait."""

import json
import re

import pytest

from harness.code import HELLO, WAITING


def test_status_in_json_tells_the_workers(fleet):
    status = json.loads(fleet.metal9("status", "--json").stdout)
    [worker] = status["workers"]
    assert worker["pythons"]
    assert status["version"]


def test_status_for_people_names_the_worker(fleet):
    status = json.loads(fleet.metal9("status", "--json").stdout)
    [worker] = status["workers"]
    assert worker["hostname"] in fleet.metal9("status").stdout


def test_task_list_in_json_has_what_ran(fleet, api):
    call = api.call(api.stub(HELLO, "app:hello")).finish()
    api.wait(call.task_id)
    tasks = json.loads(fleet.metal9("task", "list", "--json").stdout)
    [mine] = [task for task in tasks if task["id"] == call.task_id]
    assert mine["status"] == "COMPLETE"
    assert call.task_id in fleet.metal9("task", "list").stdout


def test_task_logs_prints_exactly_what_the_function_wrote(fleet, api):
    call = api.call(api.warm(HELLO, "app:hello")).finish()
    assert fleet.metal9("task", "logs", call.task_id).stdout == "hi\n"


@pytest.mark.parametrize("command", ["logs", "explain"])
def test_a_task_that_is_not_there_is_an_error_on_stderr(fleet, command):
    task = "00000000-0000-7000-8000-000000000000"
    done = fleet.metal9("task", command, task, code=None)
    assert done.returncode != 0
    assert done.stdout == ""
    assert task in done.stderr


def test_a_wrong_command_says_what_there_is(fleet):
    done = fleet.metal9("taks", code=None)
    assert done.returncode == 2
    assert "task" in done.stderr


def test_the_version_is_printed(fleet):
    assert re.fullmatch(r"metal9 \d+\.\d+\.\d+\S*\n", fleet.metal9("--version").stdout)


TOO_LARGE = """
from beta9 import function

@function(OPTIONS)
def never():
    return 1

if __name__ == "__main__":
    never.remote()
"""


@pytest.mark.parametrize(
    "options, words",
    [
        ("cpu=64", ["needs 64000 millicores", "the largest worker has"]),
        ('gpu="any"', ['gpu "ANY" is on no worker']),
        ('pool="basement"', ['pool "basement" has no workers']),
    ],
    ids=["cpu", "gpu", "pool"],
)
def test_a_job_that_cannot_be_placed_says_why_and_can_be_cancelled(app, api, fleet, options, words):
    program = app.start(TOO_LARGE.replace("OPTIONS", options))
    shown = program.line("waiting:")
    for word in words:
        assert word in shown, shown

    [task] = [t for t in api.tasks(status=["PENDING"]) if t.stub_name == "function/app:never"]
    explained = fleet.metal9("task", "explain", task.id).stdout
    assert shown in explained
    answer = api.get(f"/api/v1/task/{api.workspace}/{task.id}/explain").json()
    assert answer["task_id"] == task.id and answer["status"] == "PENDING"
    assert shown in answer["sentence"]

    program.interrupt()
    assert program.finish().code == 1
    assert api.wait(task.id) == "CANCELLED"


def test_a_job_that_runs_is_explained_as_running(api, fleet, app):
    gate = app.gate()
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate)).until("in")
    assert "running" in fleet.metal9("task", "explain", call.task_id).stdout.lower()
    gate.open()
    call.finish()
