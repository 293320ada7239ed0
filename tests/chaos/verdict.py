"""What must hold after a chaos run."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Dict, List, Set

import grpc
from harness import Api
from harness.api import TERMINAL
from harness.processes import mentioning
from load import BIG, Record

# The share of calls with retries that must return.
MOST = 0.95
LINE = re.compile(r"^run (\S+) line (\d+) of (\d+)$", re.MULTILINE)


NOTE = re.compile(r"^(ru?n? ?.*)\ncancelled by its user\n", re.MULTILINE)


def rejoin(torn: "re.Match[str]") -> str:
    """A line that the job was in the middle of when the note came between, which is said at once."""
    return torn[0] if LINE.fullmatch(torn[1]) else torn[1]


class Verdict:
    """Looks at every call and collects what is wrong."""

    def __init__(self, api: Api):
        self.api = api
        self.wrong: List[str] = []
        self.statuses: Counter = Counter()
        self.reruns = 0
        # Calls that faults may make late, but hardly keep from returning; and how many did.
        self.robust = self.returned = 0

    def accuse(self, record: Record, text: str) -> None:
        lines = [f"task {record.task or '?'} ({record.kind} {record.number}): {text}"]
        lines += [f"      {at:12.3f} {what}" for at, what in record.history]
        lines.append(f"      runs: {record.runs}")
        self.wrong.append("\n".join(lines))

    def look_at(self, record: Record, gateway_deaths: int) -> None:
        """Everything about one call."""
        if not record.task:
            return self.accuse(record, "it was never accepted")
        try:
            status = self.api.wait(record.task, within=60)
        except AssertionError as error:
            return self.accuse(record, str(error))
        self.statuses[status] += 1
        if record.retries > 0 and record.kind != "fails" and status != "CANCELLED":
            self.robust += 1
            self.returned += status == "COMPLETE"
        try:
            call = self.api.attach("", record.task).finish()
        except grpc.RpcError as error:
            return self.accuse(record, f"its end cannot be had: {error.details()}")
        if record.exit_code is not None:
            if (record.exit_code, record.result) != (call.exit_code, call.result):
                self.accuse(record, f"it ended twice: {record.exit_code} and {call.exit_code}")
            if record.output != call.output:
                self.accuse(record, f"its client saw other output: {differ(record.output, call.output)}")
        elif not record.headless:
            self.accuse(record, "its client never saw its end")
        record.output, record.exit_code, record.result = call.output, call.exit_code, call.result
        self._end(record, status)
        self._output(record, status)
        runs = len(record.runs)
        self.reruns += max(0, runs - 1)
        if runs > record.retries + 1 + gateway_deaths:
            self.accuse(record, f"it ran {runs} times")

    def _end(self, record: Record, status: str) -> None:
        if (status == "COMPLETE") != (record.exit_code == 0):
            return self.accuse(record, f"{status} with exit code {record.exit_code}")
        if status == "COMPLETE":
            if record.kind == "fails":
                return self.accuse(record, "it returned")
            run, number, *rest = record.value
            if number != record.number**2 + 1 or run not in record.runs:
                self.accuse(record, f"wrong value {number} of run {run}")
            if record.kind == "big":
                import hashlib

                if rest != [hashlib.sha256(BIG).digest() * 50_000]:
                    self.accuse(record, "wrong large value")
            return None
        reason = record.output.strip().splitlines()[-1:] or [""]
        if status == "CANCELLED" and record.cancelled:
            return None
        expected = {"fails": "ValueError: no answer to"}.get(record.kind)
        if status == "ERROR" and expected and expected in record.output:
            return None
        # Attempts are limited, and faults use them up.
        lost = re.search(r"worker|exited with code 3|not on this worker|busy or ending", reason[0])
        if status == "ERROR" and lost:
            used = self.api.task(record.task)["attempts"]
            if used != record.retries + 1:
                self.accuse(record, f"given up after {used} attempts: {reason[0]}")
            return None
        return self.accuse(record, f"{status}: {record.output[-400:]!r}")

    def _output(self, record: Record, status: str) -> None:
        """Of every run an unbroken beginning; of the one that returned, all."""
        lines: Dict[str, List[int]] = defaultdict(list)
        sizes: Dict[str, int] = {}
        output = NOTE.sub(rejoin, record.output)
        for run, line, size in LINE.findall(output):
            lines[run].append(int(line))
            sizes[run] = int(size)
        for run, seen in lines.items():
            if seen != list(range(len(seen))):
                self.accuse(record, f"output of run {run} has gaps or doubles: {seen[:50]}")
        if status == "COMPLETE":
            run = record.value[0]
            if len(lines[run]) != sizes.get(run):
                self.accuse(record, f"output of run {run} is cut: {len(lines[run])} lines")

    def most_return(self) -> None:
        """A system that gave up on everything would break no other rule."""
        if self.robust == 0 or self.returned < MOST * self.robust:
            self.wrong.append(f"only {self.returned} of {self.robust} calls with retries returned")

    def no_other_tasks(self, known: Set[str]) -> None:
        """One task for each call, and all of them ended."""
        listed = self.api.tasks(limit=100_000)
        for task in listed:
            if task.status not in TERMINAL:
                self.wrong.append(f"task {task.id} is {task.status}")
            if task.id not in known:
                self.wrong.append(f"task {task.id} ({task.status}) belongs to no call")


def left_at(root: Path, workers: List[Path]) -> List[str]:
    """What stays of jobs where workers have ended: files, mounts, processes, cgroups."""
    places = [worker / place for worker in workers for place in ("containers", "outbox")]
    left = [f"left: {it}" for place in places if place.is_dir() for it in place.iterdir()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    left += [f"left mounted: {line.split()[4]}" for line in mounts if str(root) in line]
    left += [f"left running: {seen.pid} {seen.command}" for seen in mentioning(root)]
    for worker in workers:
        name = json.loads((worker / "worker.json").read_text())["worker_id"]
        # The leaf that a worker moves itself into (version 2) is not a container's.
        groups = Path("/sys/fs/cgroup").glob(f"**/metal9-{name}")
        left += [f"left: {group}" for group in groups]
    return left


def differ(seen: str, stored: str) -> str:
    """Where two texts part."""
    at = next((i for i, (a, b) in enumerate(zip(seen, stored)) if a != b), min(len(seen), len(stored)))
    return f"{len(seen)} and {len(stored)} bytes, parting at {at}: {seen[at:at + 80]!r}, {stored[at:at + 80]!r}"
