"""The SDK's own command line."""

import json

import pytest

from harness.code import HELLO, WAITING


def test_task_list_shows_what_ran(fleet, api):
    call = api.call(api.stub(HELLO, "app:hello")).finish()
    api.wait(call.task_id)
    tasks = json.loads(fleet.beta9("task", "list", "--limit", "5", "--format", "json").stdout)
    assert len(tasks) <= 5
    [mine] = [task for task in tasks if task["id"] == call.task_id]
    assert mine["status"] == "COMPLETE"
    assert mine["stub_name"] == "function/app:hello"
    table = fleet.beta9("task", "list").stdout
    assert call.task_id in table and "COMPLETE" in table


def test_task_list_can_be_filtered(fleet, api):
    call = api.call(api.stub(HELLO, "app:hello")).finish()
    api.wait(call.task_id)

    def ids(*filters):
        command = ["task", "list", "--format", "json"]
        for item in filters:
            command += ["--filter", item]
        return [task["id"] for task in json.loads(fleet.beta9(*command).stdout)]

    assert ids(f"id={call.task_id}") == [call.task_id]
    assert ids(f"id={call.task_id}", "status=complete,error") == [call.task_id]
    assert ids(f"id={call.task_id}", "status=running") == []


def test_container_list_shows_the_container_of_a_running_call(fleet, api, app):
    gate = app.gate()
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate)).until("in")
    [task] = api.tasks(id=[call.task_id])
    containers = json.loads(fleet.beta9("container", "list", "--format", "json").stdout)
    [mine] = [c for c in containers if c["container_id"] == task.container_id]
    assert mine["status"] == "RUNNING"
    assert mine["stub_id"] == stub
    assert task.container_id in fleet.beta9("container", "list").stdout
    gate.open()
    call.finish()


def test_worker_list_shows_the_worker(fleet):
    [worker] = json.loads(fleet.beta9("worker", "list", "--format", "json").stdout)
    assert worker["status"] == "available"
    assert int(worker["total_cpu"]) >= 1000 and int(worker["total_memory"]) >= 512
    assert worker["pool_name"]
    assert worker["id"] in fleet.beta9("worker", "list").stdout


def test_pool_and_machine_lists_work(fleet):
    [worker] = json.loads(fleet.beta9("worker", "list", "--format", "json").stdout)
    assert worker["pool_name"] in fleet.beta9("pool", "list").stdout
    fleet.beta9("machine", "list", "--no-offers")


@pytest.mark.parametrize(
    "command, feature",
    [
        ("vm list", "virtual machines"),
        ("db list", "databases"),
        ("disk list", "disks"),
        ("pool extend nothing --ttl 1h", "renting machines"),
    ],
)
def test_what_is_not_offered_is_refused_in_words(fleet, command, feature):
    done = fleet.beta9(*command.split(), code=None)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and f"does not support {feature}" in said, said


def test_a_filter_that_cannot_be_read_is_repeated(fleet):
    done = fleet.beta9("deployment", "list", "--filter", "version=abc", code=1)
    assert "the filter's value `abc`" in " ".join((done.stdout + done.stderr).split())


def test_secrets_can_be_made_listed_shown_and_deleted(fleet):
    fleet.beta9("secret", "create", "CLI_SECRET", "first")
    assert "CLI_SECRET" in fleet.beta9("secret", "list").stdout
    assert "first" in fleet.beta9("secret", "show", "CLI_SECRET").stdout
    again = fleet.beta9("secret", "create", "CLI_SECRET", "other", code=1)
    assert "CLI_SECRET" in again.stderr and "exists" in again.stderr
    fleet.beta9("secret", "modify", "CLI_SECRET", "second")
    assert "second" in fleet.beta9("secret", "show", "CLI_SECRET").stdout
    listed = json.loads(fleet.beta9("secret", "list", "--format", "json").stdout)
    assert all("value" not in secret for secret in listed)
    fleet.beta9("secret", "delete", "CLI_SECRET")
    assert "CLI_SECRET" not in fleet.beta9("secret", "list").stdout
    missing = fleet.beta9("secret", "show", "CLI_SECRET", code=1)
    assert "CLI_SECRET" in missing.stderr


def test_secrets_are_not_stored_as_they_are(fleet):
    fleet.beta9("secret", "create", "CLI_HIDDEN", "a-very-recognisable-value")
    try:
        stored = [path for path in (fleet.state / "gateway").rglob("*") if path.is_file()]
        assert stored
        for path in stored:
            assert b"a-very-recognisable-value" not in path.read_bytes(), path
    finally:
        fleet.beta9("secret", "delete", "CLI_HIDDEN")


def test_the_sdk_finds_itself_signed_in(fleet, api):
    done = fleet.beta9("whoami", code=None)
    assert done.returncode == 0, done
    assert api.workspace in done.stdout


def test_the_sdks_doctor_is_content(fleet):
    done = fleet.beta9("doctor", code=None)
    assert done.returncode == 0, (done.stdout, done.stderr)
