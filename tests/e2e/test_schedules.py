"""`@schedule`: deployments that are called by the clock."""

import json
import sys

import pytest
import requests
from beta9.clients.function import FunctionScheduleRequest, FunctionServiceStub

from harness import eventually
from harness.clock import stepped

SOURCE = """
import os
from beta9 import schedule

@schedule(when="WHEN", cpu=0.1)
def tick():
    with open("TRACE", "a") as log:
        log.write("tick\\n")
    WORK
    return "ticked"
"""


class Schedule:
    """A deployed schedule, and what it has done."""

    def __init__(self, split, app, trace):
        self.split = split
        self.app = app
        self.directory = app.directory()
        self.trace = trace
        self._before = {task.id for task in self._tasks()}

    def _tasks(self):
        tasks = self.split.api.tasks()
        return [task for task in tasks if task.stub_name == "schedule/deployment/app:tick"]

    def settled(self, count):
        """Waits until it has made so many tasks and all have ended."""

        def ended():
            tasks = [task for task in self._tasks() if task.id not in self._before]
            return len(tasks) == count and all(task.status == "COMPLETE" for task in tasks)

        eventually(ended, what=f"{count} scheduled tasks have ended")

    def deploy(self, when="*/5 * * * *", work="pass", code=0):
        text = SOURCE.replace("WHEN", when).replace("TRACE", str(self.trace)).replace("WORK", work)
        (self.directory / "app.py").write_text(text)
        return self.cli("deploy", "app.py:tick", "--name", "ticker", "--json", code=code)

    def cli(self, *arguments, code=0):
        command = [sys.executable, "-m", "beta9", *arguments]
        done = self.app.launch(command, self.directory).finish()
        assert code is None or done.code == code, done
        return done

    def deployment(self, done):
        return json.loads(done.stdout[done.stdout.index("{") :])["deployment_id"]

    @property
    def ticks(self):
        return self.trace.read_text().count("tick") if self.trace.exists() else 0

    def ticked(self, times):
        eventually(lambda: self.ticks, lambda seen: seen >= times, what=f"{times} ticks")
        assert self.ticks == times


@pytest.fixture
def schedule(split, split_app, tmp_path):
    schedule = Schedule(split, split_app, tmp_path / "trace")
    yield schedule
    for row in json.loads(schedule.cli("deployment", "list", "--format", "json").stdout):
        schedule.cli("deployment", "delete", "--yes", row["id"])


def test_each_time_makes_one_call_whatever_happens_to_the_gateway(split, schedule, tmp_path):
    with stepped(split, tmp_path / "clock") as clock:
        schedule.deploy()
        assert schedule.ticks == 0, "deploying is no time of the schedule"
        clock.step("+300")
        schedule.ticked(1)
        schedule.settled(1)
        # The time that was served is not served again.
        split.gateway.kill()
        split.start_gateway()
        split.wait_for_workers(1)
        clock.step("+600")
        schedule.ticked(2)
        schedule.settled(2)
        # Many times that passed while the gateway was down are caught up on once.
        split.gateway.kill()
        clock.step("+7200")
        split.start_gateway()
        split.wait_for_workers(1)
        schedule.ticked(3)
        schedule.settled(3)
        # A clock that goes back brings nothing twice.
        clock.step("+3600")
        clock.step("+7500")
        schedule.ticked(4)
        schedule.settled(4)


def test_a_stopped_schedule_is_silent_and_goes_on_from_now(split, schedule, tmp_path):
    with stepped(split, tmp_path / "clock") as clock:
        identity = schedule.deployment(schedule.deploy())
        schedule.cli("deployment", "stop", identity)
        clock.step("+3600")
        schedule.cli("deployment", "start", identity)
        clock.step("+3900")
        schedule.ticked(1)


def test_a_new_version_takes_the_schedule_over(split, schedule, tmp_path):
    with stepped(split, tmp_path / "clock") as clock:
        schedule.deploy()
        schedule.deploy()
        clock.step("+300")
        schedule.ticked(1)
        schedule.settled(1)
        clock.step("+600")
        schedule.ticked(2)


def test_a_call_that_takes_longer_than_the_pause_is_not_joined_by_another(
    split, split_app, schedule, tmp_path
):
    gate = split_app.gate()
    with stepped(split, tmp_path / "clock") as clock:
        schedule.deploy(work=f"open({str(gate)!r}).read()")
        clock.step("+300")
        schedule.ticked(1)
        clock.step("+600")
        eventually(
            lambda: "the call before has not ended" in split.gateway.text(),
            what="the gateway says that it skips a time",
        )
        gate.open()
        clock.step("+900")
        schedule.ticked(2)


def test_what_is_no_schedule_is_refused(split, schedule):
    # The SDK refuses by itself what it cannot read, so this is a client of another kind.
    identity = schedule.deployment(schedule.deploy())
    channel = FunctionServiceStub(split.api.channel)
    for bad in ("every day", "61 * * * *", "0 0 30 2 *", "* * * * * *"):
        request = FunctionScheduleRequest(deployment_id=identity, when=bad)
        answer = channel.function_schedule(request)
        assert not answer.ok and "is no schedule" in answer.err_msg, answer


def test_a_schedule_can_be_called_by_hand(split, schedule):
    import requests

    schedule.deploy(when="@yearly")
    headers = {"Authorization": f"Bearer {split.api.token}"}
    answer = requests.post(f"{split.api.http}/schedule/ticker", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    assert split.api.wait(answer.json()["task_id"]) == "COMPLETE"
    assert schedule.ticks == 1
