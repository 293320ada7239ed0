"""A gateway that speaks TLS, and a worker that knows it by its key or by who signed for it."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import grpc

from .api import Api
from .certificates import Authority
from .daemon import Daemon, binary
from .fleet import nothing_left_of, system_environment
from .program import client_environment
from .split import free_port
from .waiting import eventually


class SecureFleet:
    """A gateway with TLS on port 443 of an address of its own, since the SDK speaks TLS to that
    port only, and one worker."""

    def __init__(self, root: Path, authority: Optional[Authority] = None):
        """The gateway signs for itself, unless an `authority` does: then its certificate and key
        are the files `certificate` and `key`, and its worker trusts that authority."""
        self.root = root
        self.authority = authority
        self.certificate, self.key = root / "gateway.pem", root / "gateway.key"
        self.state = root / "gateway"
        self.host = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        self.grpc = f"{self.host}:443"
        self.facts: Dict[str, Any] = {}
        self.api: Optional[Api] = None
        env = {**system_environment(), "METAL9_GATEWAY_CLIENT_GRACE_SECONDS": "1"}
        tls = ["--tls", "self-signed"]
        if authority is not None:
            authority.issue(self.host, self.certificate, self.key)
            tls = ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]
            env["SSL_CERT_FILE"] = str(authority.ca)
        self.env = env
        self.gateway = Daemon(
            "gateway",
            ["gateway", "--state", str(self.state), *tls]
            + ["--grpc", self.grpc, "--http", f"{self.host}:{free_port()}"],
            root / "gateway.log",
            env,
        )
        self.worker_state = root / "worker"
        self.worker = Daemon(
            "worker", ["worker", "run", "--state", str(self.worker_state)], root / "worker.log", env
        )

    def start_gateway(self) -> None:
        ready = self.state / "gateway.json"
        ready.unlink(missing_ok=True)
        self.gateway.start().wait_for_file(ready)
        self.facts = json.loads(ready.read_text())
        self.connect()

    def connect(self) -> None:
        """A client with a connection of its own, that trusts the gateway's certificate."""
        if self.api is not None:
            self.api.close()
        self.api = self.client(self.facts["token"])

    @property
    def ca(self) -> Path:
        """What a client must trust."""
        return self.authority.ca if self.authority is not None else Path(self.facts["ca"])

    def client(self, token: str) -> Api:
        return Api(self.facts["grpc"], f"https://{self.facts['http']}", token, ca=self.ca)

    def start(self) -> "SecureFleet":
        self.start_gateway()
        self.join()
        self.start_worker()
        return self

    def stop(self) -> None:
        if self.api is not None:
            self.api.close()
        codes = [daemon.stop() for daemon in (self.worker, self.gateway) if daemon.process]
        nothing_left_of(self.root)
        assert all(code in (0, -9) for code in codes), codes

    # ---- command line ----

    def metal9(self, *arguments: str, code: Optional[int] = 0) -> subprocess.CompletedProcess:
        """Runs metal9 against this gateway."""
        done = subprocess.run(
            [str(binary()), *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert code is None or done.returncode == code, f"{arguments}: {done}"
        return done

    def ask(self, *arguments: str, code: Optional[int] = 0) -> Any:
        """Runs a command that asks the gateway, and returns its JSON."""
        done = self.metal9(*arguments, "--json", "--state", str(self.state), code=code)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def run(self, source: str, directory: Path) -> subprocess.CompletedProcess:
        """Runs a user's program, who was told to trust the gateway's certificate."""
        (directory / "app.py").write_text(source)
        env = client_environment(Path(self.facts["config"]), directory)
        env["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(self.ca)
        env["REQUESTS_CA_BUNDLE"] = str(self.ca)
        return subprocess.run(
            [sys.executable, "app.py"],
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    # ---- the worker ----

    def join_command(self, *options: str) -> List[str]:
        """The command that `metal9 token join` says to run on the worker's machine."""
        done = self.metal9("token", "join", *options, "--state", str(self.state))
        [command] = re.findall(r"metal9 (worker join .*?) && metal9 worker run", done.stderr)
        return command.split()

    def join(self, *command: str, state: Optional[Path] = None, code: Optional[int] = 0) -> str:
        """Joins with this command, or a fresh one; returns what was said."""
        arguments = list(command) or self.join_command()
        done = self.metal9(*arguments, "--state", str(state or self.worker_state), code=code)
        return done.stdout + done.stderr

    @property
    def identity(self) -> Dict[str, Any]:
        return json.loads((self.worker_state / "worker.json").read_text())

    def write_identity(self, **changes: Any) -> None:
        path = self.worker_state / "worker.json"
        path.write_text(json.dumps({**self.identity, **changes}))

    def state_of(self, worker: str) -> str:
        states = {known["id"]: known["state"] for known in self.ask("worker", "list")}
        return states.get(worker, "unknown")

    def start_worker(self) -> None:
        self.worker.start()
        worker = self.identity["worker_id"]
        eventually(
            lambda: self.state_of(worker),
            lambda state: state == "connected",
            what="the worker is connected",
            within=60,
        )

    def restore(self) -> None:
        """Starts what a test has ended."""
        if not self.gateway.running:
            self.start_gateway()
        worker = self.identity["worker_id"]
        if self.state_of(worker) in ("revoked", "unknown"):
            self.worker.stop()
            self.join()
        if not self.worker.running:
            self.start_worker()

    def rotate_by_hand(self) -> str:
        """What a worker's first step is: asks for a new credential, and keeps it to itself."""
        ca = self.ca.read_bytes()
        with grpc.secure_channel(self.grpc, grpc.ssl_channel_credentials(ca)) as channel:
            rotate = channel.unary_unary("/metal9.worker.v1.WorkerService/Rotate")
            metadata = [("authorization", f"Bearer {self.identity['credential']}")]
            answer = rotate(b"", metadata=metadata, timeout=10)
        # One field with the number 1: the text of the new credential.
        assert answer[0] == 0x0A and answer[1] == len(answer) - 2, answer
        return answer[2:].decode()

    def raw_files(self) -> bytes:
        """Everything that is on disk or in a log, as it is."""
        found = b""
        for directory, _, names in os.walk(self.root):
            if "/env" in directory or "/containers" in directory:
                continue
            for name in names:
                try:
                    found += (Path(directory) / name).read_bytes()
                except FileNotFoundError:
                    pass
        return found
