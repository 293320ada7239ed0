"""Workers that pretend to have devices, or to be another machine."""

import json
from pathlib import Path
from typing import List

import requests

from .split import SplitFleet, Worker


class Machines:
    """Workers of one test."""

    def __init__(self, fleet: SplitFleet, root: Path):
        self.fleet = fleet
        self.root = root
        self.added: List[Worker] = []
        self.condition_file = root / "condition.json"

    def add(self, *names: str, condition: bool = False, **settings: str) -> Worker:
        """A worker with these devices, whose condition the test decides if it says so."""
        arguments = [word for name in names for word in ("--simulate-device", name)]
        if condition:
            arguments += ["--simulate-condition", str(self.condition_file)]
        return self._add(arguments, **settings)

    def pretend(self, *names: str, **machine) -> Worker:
        """A worker that says this of its machine, with these devices."""
        self.pretends(**machine)
        path = self.root / "machine.json"
        arguments = [word for name in names for word in ("--simulate-device", name)]
        return self._add(["--simulate-machine", str(path), *arguments])

    def pretends(self, **machine) -> None:
        """What is said of that machine from now on."""
        new = self.root / "machine.new"
        new.write_text(json.dumps(machine))
        new.rename(self.root / "machine.json")

    def _add(self, arguments: List[str], **settings: str) -> Worker:
        worker = self.fleet.add_worker(arguments=arguments, **settings)
        self.added.append(worker)
        return worker

    def is_doing(self, **condition) -> None:
        """How the machine of a worker is doing from now on."""
        new = self.condition_file.with_suffix(".new")
        new.write_text(json.dumps(condition))
        new.rename(self.condition_file)

    def status(self, worker: Worker) -> dict:
        """A worker as the gateway sees it."""
        workers = self.fleet.api.get("/api/v1/status").json()["workers"]
        [seen] = [seen for seen in workers if seen["id"] == worker.id]
        return seen

    def standing(self, worker: Worker, what: str, **body) -> None:
        """Cordons, uncordons or drains a worker."""
        answer = requests.post(
            f"http://{self.fleet.http}/api/v1/worker/{worker.id}/{what}",
            json=body,
            headers={"Authorization": f"Bearer {self.fleet.facts['token']}"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text

    def remove(self) -> None:
        """Ends them for good."""
        for worker in self.added:
            self.fleet.remove_worker(worker)
