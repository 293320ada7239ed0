"""A gateway and workers as processes of their own, so that each can be killed by itself."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

import requests

from . import processes
from .api import Api
from .daemon import Daemon, binary
from .fleet import nothing_left_of, run_as_user, system_environment
from .waiting import eventually


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Worker(Daemon):
    """A worker that has joined, with a state directory of its own."""

    def __init__(
        self,
        number: int,
        root: Path,
        env: Dict[str, str],
        state: Optional[Path] = None,
        arguments: Sequence[str] = (),
        entrance: Sequence[str] = (),
    ):
        self.number = number
        self.state = state or root / f"worker-{number}"
        super().__init__(
            f"worker {number}",
            ["worker", "run", "--state", str(self.state), *arguments],
            root / f"worker-{number}.log",
            env,
            entrance=entrance,
        )

    @property
    def id(self) -> str:
        """What the gateway calls it."""
        return json.loads((self.state / "worker.json").read_text())["worker_id"]

    def shims(self) -> List[int]:
        """The supervisors of its containers and spare runners."""
        return [pid for pid in processes.children(self.pid) if processes.is_shim(pid)]


class SplitFleet:
    """A gateway on fixed ports, so that clients find it again, and any number of workers.

    Every process can be killed (`kill`), asked to end (`stop`), frozen (`freeze`), thawed (`thaw`)
    and started again (`start`, for the gateway `start_gateway`) by itself.
    """

    def __init__(
        self,
        root: Path,
        workers: int = 1,
        environments: Optional[Path] = None,
        host: str = "127.0.0.1",
        **settings: str,
    ):
        """`settings` are environment variables of every process, `host` is where the gateway is.

        `environments` is another worker's directory of environments, which all workers share, so
        that the default one need not be built again.
        """
        self.environments = environments
        self.root = root
        self.env = {**system_environment(), **settings}
        self.grpc = f"{host}:{free_port(host)}"
        self.http = f"{host}:{free_port(host)}"
        self.initial_workers = workers
        self.workers: List[Worker] = []
        self._joined = 0
        self.facts: Dict[str, Any] = {}
        self.api: Optional[Api] = None
        self.gateway = Daemon(
            "gateway",
            ["gateway", "--state", str(root / "gateway"), "--grpc", self.grpc, "--http", self.http],
            root / "gateway.log",
            self.env,
        )

    def __enter__(self) -> "SplitFleet":
        """Starts it; what has been started is stopped where the rest cannot be."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def start(self) -> "SplitFleet":
        """Starts the gateway and the workers it was made with."""
        self.start_gateway()
        for _ in range(self.initial_workers):
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

    def restart_gateway(self) -> None:
        """Kills the gateway and starts it again; returns once the running workers are back."""
        self.gateway.kill()
        self.start_gateway()
        self.wait_for_workers(sum(worker.running for worker in self.workers))

    @property
    def config(self) -> Path:
        """The SDK configuration that reaches this fleet."""
        return Path(self.facts["config"])

    def beta9(self, *arguments: str, code: Optional[int] = 0) -> subprocess.CompletedProcess:
        """Runs the SDK's command line."""
        return self._run([sys.executable, "-m", "beta9", *arguments], code)

    def metal9(self, *arguments: str, code: Optional[int] = 0) -> subprocess.CompletedProcess:
        """Runs metal9's own command line against it."""
        return self._run([str(binary()), *arguments], code)

    def _run(self, command: List[str], code: Optional[int]) -> subprocess.CompletedProcess:
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        return run_as_user(command, self.config, home, code)

    def add_worker(
        self,
        state: Optional[Path] = None,
        gateway: Optional[str] = None,
        arguments: Sequence[str] = (),
        pool: str = "default",
        entrance: Sequence[str] = (),
        **settings: str,
    ) -> Worker:
        """Joins and starts a worker; returns once the gateway knows it.

        `state` is its state directory, if not one below the fleet's own; `gateway` is where it
        finds the gateway, if not directly. `arguments` are further ones of `metal9 worker run`,
        `pool` is what it joins, `entrance` is the way to its machine, `settings` are environment
        variables of this worker alone.
        """
        worker = self.join_worker(state, gateway, arguments, pool, entrance, **settings)
        known = self.connected()
        worker.start()
        self.wait_for_workers(known + 1)
        return worker

    def join_worker(
        self,
        state: Optional[Path] = None,
        gateway: Optional[str] = None,
        arguments: Sequence[str] = (),
        pool: str = "default",
        entrance: Sequence[str] = (),
        **settings: str,
    ) -> Worker:
        """Joins a worker and does not start it."""
        env = {**self.env, **settings}
        worker = Worker(self._joined, self.root, env, state, arguments, entrance)
        self._joined += 1
        if self.environments is not None:
            worker.state.mkdir(parents=True, exist_ok=True)
            (worker.state / "env").symlink_to(self.environments)
        token = self._join_token(pool)
        join = Daemon(
            f"{worker.name} join",
            ["worker", "join", gateway or self.grpc, "--token", token, "--state", str(worker.state)],
            worker.log,
            worker.env,
            entrance=entrance,
        ).start()
        join.process.wait(30)
        assert join.process.returncode == 0, join.tail()
        self.workers.append(worker)
        return worker

    def remove_worker(self, worker: Worker) -> None:
        """Ends a worker for good."""
        worker.stop()
        self.workers.remove(worker)
        eventually(lambda: not self.is_connected(worker), what=f"{worker.name} has left")

    def worker_of(self, pid: int) -> Worker:
        """The worker below which a process runs."""
        above = pid
        while above > 1:
            above = processes.parent(above)
            for worker in self.workers:
                if worker.process is not None and worker.pid == above:
                    return worker
        raise AssertionError(f"process {pid} runs below no worker")

    def restore(self) -> None:
        """Starts what a test has killed, and thaws what it froze."""
        for daemon in [self.gateway, *self.workers]:
            if daemon.running:
                daemon.thaw()
        if not self.gateway.running:
            self.start_gateway()
        for worker in self.workers:
            if not worker.running:
                worker.start()
        self.wait_for_workers(len(self.workers))

    def _join_token(self, pool: str = "default") -> str:
        answer = requests.post(
            f"http://{self.http}/api/v1/worker/join-tokens",
            json={"pool": pool, "ttl_seconds": 60, "single_use": True},
            headers={"Authorization": f"Bearer {self.facts['token']}"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def connected(self) -> int:
        """How many workers are connected."""
        return len(self.connected_ids())

    def connected_ids(self) -> Set[str]:
        """The ids of the workers that are connected."""
        workers = self.api.get("/api/v1/status").json()["workers"]
        return {worker["id"] for worker in workers if worker["connected"]}

    def is_connected(self, worker: Worker) -> bool:
        """Whether the gateway has a session with this worker."""
        return worker.id in self.connected_ids()

    def wait_for_workers(self, count: int) -> None:
        """Waits until that many workers are connected."""
        eventually(
            self.connected, lambda n: n == count, what=f"{count} workers connected", within=60
        )

    def stop(self) -> None:
        """Ends everything, and checks that nothing stays behind."""
        if self.api is not None:
            self.api.close()
        for daemon in [*self.workers, self.gateway]:
            if daemon.running:
                daemon.thaw()
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
