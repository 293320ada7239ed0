"""The clients of a chaos run: they call, vanish, come back, cancel, and remember everything."""

import random
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import cloudpickle
import grpc
from harness import Api
from jobs import KINDS

BIG = bytes(range(250)) * 6000
PAUSE = 0.2
# Longer than any fault lasts.
PATIENCE = 150.0


class Record:
    """One call and what its client saw of it."""

    def __init__(self, kind: str, retries: int, number: int, trace: Path, headless: bool):
        self.kind, self.retries, self.number, self.trace = kind, retries, number, trace
        self.headless = headless
        self.request = str(uuid.uuid4())
        self.task = ""
        self.output = ""
        self.exit_code: Optional[int] = None
        self.result = b""
        self.cancelled = False
        self.history: List[Tuple[float, str]] = []

    def note(self, text: str) -> None:
        self.history.append((time.monotonic(), text))

    @property
    def arguments(self) -> Tuple[Any, ...]:
        more = (BIG,) if self.kind == "big" else ()
        return (self.number, str(self.trace), *more)

    @property
    def value(self) -> Any:
        return cloudpickle.loads(self.result)

    @property
    def runs(self) -> List[str]:
        """The names of the runs, as the job's own side effect tells them."""
        return self.trace.read_text().split() if self.trace.exists() else []


class Client:
    """One client: calls one thing after another until it is told to stop."""

    def __init__(
        self, number: int, seed: int, api: Callable[[], Api], stubs: Dict[str, str], traces: Path
    ):
        self.records: List[Record] = []
        self.problems: List[str] = []
        self._random = random.Random(f"{seed} client {number}")
        self._number, self._connect, self._stubs, self._traces = number, api, stubs, traces
        self._api = api()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client {number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further calls; what has begun goes on to its end."""
        self._stop.set()

    def wait(self, within: float) -> bool:
        """Waits for the last call's end."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._one_call()
        except Exception as error:
            self.problems.append(f"client {self._number}: {error!r}")

    def _one_call(self) -> None:
        chance = self._random.random
        kinds, weights = zip(*[((kind, retries), share) for kind, retries, share in KINDS])
        [(kind, retries)] = self._random.choices(kinds, weights)
        number = self._random.randrange(1_000_000)
        trace = self._traces / f"{self._number}-{len(self.records)}"
        record = Record(kind, retries, number, trace, headless=chance() < 0.2)
        self.records.append(record)
        leaves = chance() < 0.15
        cancels = not record.headless and chance() < 0.08
        deadline = time.monotonic() + PATIENCE
        while record.exit_code is None:
            if time.monotonic() > deadline:
                record.note("its client lost patience")
                return
            try:
                self._follow(record, leaves, cancels)
            except grpc.RpcError as error:
                record.note(f"{error.code().name}: {error.details()}")
                if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
                    raise
                self._api.close()
                self._stop.wait(PAUSE)
                time.sleep(PAUSE)
                self._api = self._connect()
            if record.headless and record.task:
                record.note("left alone")
                return
            leaves = False

    def _follow(self, record: Record, leaves: bool, cancels: bool) -> None:
        stub = self._stubs[record.kind]
        if record.task:
            offset = str(len(record.output.encode()))
            pairs = {"x-beta9-task-id": record.task, "x-beta9-log-offset": offset}
            call = self._api.invoke(stub, pairs=pairs)
            record.note(f"came back at {offset}")
        else:
            pairs = {"x-beta9-request-id": record.request, "x-beta9-task-id": ""}
            call = self._api.invoke(stub, *record.arguments, headless=record.headless, pairs=pairs)
            record.task = call.task_id
            record.note("accepted")
        if record.headless:
            call.leave()
            return
        try:
            if cancels and not record.cancelled:
                record.cancelled = True
                self._api.cancel(record.task)
                record.note("cancelled")
            for piece in call.pieces():
                record.output += piece
                if leaves and piece:
                    call.leave()
                    record.note("vanished")
                    return
        finally:
            # What came before a stream broke counts.
            record.output += call.output
            call.output = ""
        record.exit_code, record.result = call.exit_code, call.result
        record.note(f"ended with {call.exit_code}")
