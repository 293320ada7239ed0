"""A gateway and workers as processes of their own, so that each can be killed by itself."""

import json
import socket
from pathlib import Path
from typing import Any, Dict, List, Optional

import requests

from .api import Api
from .daemon import Daemon
from .fleet import nothing_left_of, system_environment
from .waiting import eventually


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SplitFleet:
    """A gateway on fixed ports, so that clients find it again, and any number of workers."""

    def __init__(self, root: Path, **settings: str):
        """`settings` are environment variables of every process."""
        self.root = root
        self.env = {**system_environment(), **settings}
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.workers: List[Daemon] = []
        self.facts: Dict[str, Any] = {}
        self.api: Optional[Api] = None
        self.gateway = Daemon(
            "gateway",
            ["gateway", "--state", str(root / "gateway"), "--grpc", self.grpc, "--http", self.http],
            root / "gateway.log",
            self.env,
        )

    def start(self) -> "SplitFleet":
        """Starts the gateway and one worker."""
        self.start_gateway()
        self.add_worker()
        return self

    def start_gateway(self) -> None:
        """Starts the gateway, for the first time or again."""
        ready = self.root / "gateway" / "gateway.json"
        ready.unlink(missing_ok=True)
        self.gateway.start().wait_for_file(ready)
        self.facts = json.loads(ready.read_text())
        if self.api is not None:
            self.api.close()
        self.api = Api(self.grpc, self.http, self.facts["token"])

    @property
    def config(self) -> Path:
        """The SDK configuration that reaches this fleet."""
        return Path(self.facts["config"])

    def add_worker(self) -> Daemon:
        """Joins and starts a worker; returns once the gateway knows it."""
        number = len(self.workers)
        state = self.root / f"worker-{number}"
        known = self.connected()
        token = self._join_token()
        join = Daemon(
            f"worker {number} join",
            ["worker", "join", self.grpc, "--token", token, "--state", str(state)],
            self.root / f"worker-{number}.log",
            self.env,
        ).start()
        join.process.wait(30)
        assert join.process.returncode == 0, join.tail()
        worker = Daemon(
            f"worker {number}",
            ["worker", "run", "--state", str(state)],
            self.root / f"worker-{number}.log",
            self.env,
        )
        self.workers.append(worker.start())
        self.wait_for_workers(known + 1)
        return worker

    def restore(self) -> None:
        """Starts what a test has killed."""
        if not self.gateway.running:
            self.start_gateway()
        for worker in self.workers:
            if not worker.running:
                worker.start()
        self.wait_for_workers(len(self.workers))

    def _join_token(self) -> str:
        answer = requests.post(
            f"http://{self.http}/api/v1/worker/join-tokens",
            json={"pool": "default", "ttl_seconds": 60, "single_use": True},
            headers={"Authorization": f"Bearer {self.facts['token']}"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def connected(self) -> int:
        """How many workers are connected."""
        workers = self.api.get("/api/v1/status").json()["workers"]
        return sum(worker["connected"] for worker in workers)

    def wait_for_workers(self, count: int) -> None:
        """Waits until that many workers are connected."""
        eventually(
            self.connected, lambda n: n == count, what=f"{count} workers connected", within=60
        )

    def stop(self) -> None:
        """Ends everything, and checks that nothing stays behind."""
        if self.api is not None:
            self.api.close()
        codes = {daemon.name: daemon.stop() for daemon in [*self.workers, self.gateway]}
        nothing_left_of(self.root)
        complaints = [
            line for daemon in [self.gateway, *self.workers] for line in daemon.complaints()
        ]
        assert not complaints, complaints
        assert all(code in (0, -9) for code in codes.values()), codes

    def logs(self) -> str:
        """The end of everybody's log."""
        return "\n".join(
            f"=== {daemon.name}\n{daemon.tail()}" for daemon in [self.gateway, *self.workers]
        )
