"""Task queues: putting calls in, having them done, and that with workers that are killed."""

import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Set

from beta9.clients.gateway import Autoscaler, ListContainersRequest, TaskPolicy
from harness import SplitFleet, eventually, let_jobs_write
from harness.split import free_port

HERE = Path(__file__).resolve().parent
CELERY = "celery[redis]==5.7.0"
PUTTERS = 8
CONTAINERS = 4
KILLED_EVERY = 5.0

SOURCE = {
    "app.py": """
        import time

        def noop(number, trace=None, seconds=0):
            time.sleep(seconds)
            if trace:
                # One write, which no other divides.
                with open(trace, "ab", buffering=0) as log:
                    log.write(b"%d\\n" % number)
    """
}


class Queue:
    """A queue with four warm containers, and connections that put calls in."""

    def __init__(self, fleet: SplitFleet, calls: int):
        self.fleet = fleet
        self.stub = fleet.api.stub(
            SOURCE,
            "app:noop",
            stub_type="taskqueue",
            cpu=50,
            memory=128,
            keep_warm_seconds=600,
            max_pending_tasks=calls + 100,
            autoscaler=Autoscaler(
                type="queue_depth", max_containers=CONTAINERS, tasks_per_container=1
            ),
            task_policy=TaskPolicy(max_retries=20, timeout=60),
        )

    def put(self, numbers: List[int], **arguments: Any) -> List[str]:
        """Puts calls in over several connections; gives their ids."""
        parts = [numbers[index::PUTTERS] for index in range(PUTTERS)]
        ids: List[List[str]] = [[] for _ in parts]
        errors: List[BaseException] = []

        def run(index: int) -> None:
            try:
                ids[index] = self._put(parts[index], arguments)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(index,)) for index in range(PUTTERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [task for part in ids for task in part]

    def _put(self, numbers: List[int], arguments: Dict[str, Any]) -> List[str]:
        host, _, port = self.fleet.http.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {
            "Authorization": f"Bearer {self.fleet.facts['token']}",
            "Content-Type": "application/json",
        }
        ids = []
        for number in numbers:
            body = json.dumps({"args": [number], "kwargs": arguments})
            connection.request("POST", f"/taskqueue/id/{self.stub}", body, headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status == 200, told
            ids.append(told["task_id"])
        connection.close()
        return ids

    def left(self) -> int:
        """How many calls wait or run."""
        waiting = {"stub-id": [self.stub], "status": ["PENDING", "RUNNING", "RETRY"]}
        return len(self.fleet.api.tasks(limit=2, **waiting))

    def drained(self, within: float) -> None:
        eventually(self.left, lambda left: left == 0, what="everything is done", within=within)

    def warm(self) -> None:
        """Has four containers started, for which it takes calls that last."""
        self.put(list(range(4 * CONTAINERS)), seconds=1)
        self.drained(120)
        answer = self.fleet.api.gateway.list_containers(ListContainersRequest())
        there = [one for one in answer.containers if one.stub_id == self.stub]
        assert len(there) == CONTAINERS, there


def queues(root: Path, calls: int) -> Dict[str, Any]:
    """Rates without and with workers that are killed."""
    traces = root / "traces"
    traces.mkdir(parents=True)
    let_jobs_write(traces)
    fleet = SplitFleet(
        root,
        METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="1",
        METAL9_GATEWAY_WORKER_LOST_SECONDS="2",
    )
    try:
        fleet.start()
        queue = Queue(fleet, calls)
        queue.put([0])
        # The first call builds the environment, which the second worker shares.
        queue.drained(300)
        fleet.environments = fleet.workers[0].state / "env"
        fleet.add_worker()
        queue.warm()
        return {"calm": _calm(queue, calls), "killed": _killed(queue, calls, traces / "killed")}
    finally:
        fleet.stop()


def _calm(queue: Queue, calls: int) -> Dict[str, float]:
    started = time.perf_counter()
    queue.put(list(range(calls)))
    put = time.perf_counter()
    queue.drained(900)
    done = time.perf_counter()
    return {
        "calls": calls,
        "put_per_second": calls / (put - started),
        # From the first put on: they are done while others are put.
        "done_per_second": calls / (done - started),
    }


def _killed(queue: Queue, calls: int, trace: Path) -> Dict[str, Any]:
    fleet, ended = queue.fleet, threading.Event()
    kills = 0

    def kill() -> None:
        nonlocal kills
        while not ended.wait(KILLED_EVERY):
            random.choice(fleet.workers).kill()
            kills += 1
            fleet.restore()

    killer = threading.Thread(target=kill)
    started = time.perf_counter()
    killer.start()
    try:
        ids = queue.put(list(range(calls)), trace=str(trace))
        queue.drained(1800)
    finally:
        ended.set()
        killer.join()
    seconds = time.perf_counter() - started
    ran = Counter(int(line) for line in trace.read_text().split())
    states = {task: fleet.api.task(task) for task in ids}
    again: Set[int] = {number for number, times in ran.items() if times > 1}
    attempts = sum(state["attempts"] > 1 for state in states.values())
    return {
        "calls": calls,
        "kills": kills,
        "seconds": seconds,
        "complete": sum(state["status"] == "COMPLETE" for state in states.values()),
        "never_ran": calls - len(ran),
        "tried_again": attempts,
        # The body of one whose worker died before it could say so runs once more; no other may.
        "ran_again": len(again),
        "doubled": max(0, len(again) - attempts),
    }


def celery(venv: Path, directory: Path, calls: int, uv: str) -> Dict[str, Any]:
    """The same calls with Celery and Redis, which keep them in memory."""
    server = shutil.which("redis-server")
    assert server, "redis-server is needed: apt-get install redis-server"
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), CELERY], check=True)
    directory.mkdir(parents=True)
    port, out = free_port(), directory / "celery.json"
    redis = subprocess.Popen(
        [server, "--port", str(port), "--save", "", "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
    )
    try:
        subprocess.run(
            [str(python), "celery_calls.py", str(out), str(calls), str(CONTAINERS)],
            cwd=HERE / "programs",
            env={**os.environ, "REDIS": f"redis://127.0.0.1:{port}/0", "PYTHONWARNINGS": "ignore"},
            check=True,
            timeout=900,
            stdout=subprocess.DEVNULL,
        )
    finally:
        redis.terminate()
        redis.wait(20)
    return json.loads(out.read_text())
