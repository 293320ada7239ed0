"""The faults of a chaos run: drawn from a seed, noted with their times, undone at the end."""

import errno
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Tuple

from harness import Proxy, SplitFleet
from harness.clock import LIBRARY, Clock
from harness.daemon import Daemon

POINTS = (
    "commit",
    "committed",
    "accepted",
    "assigning",
    "output",
    "output-kept",
    "end-reported",
    "end-committed",
    "hello",
)
# Seconds a worker may be silent.
LOST = 4
# Seconds a worker that is asked to end waits for its calls.
DRAIN = 8
# Seconds that a clock is stepped by, either way: more than anything waits, and less than what makes
# the gateway take results for old.
STEP = 6 * 3600


class ChaoticFleet(SplitFleet):
    """A gateway on a small disk of its own, and workers behind proxies of their own."""

    def __init__(self, root: Path, count: int, disk_mib: int):
        self.points = root / "points"
        super().__init__(
            root,
            workers=0,
            METAL9_FAULTS=str(self.points),
            # The disk is to be filled to its last byte.
            METAL9_GATEWAY_MIN_FREE_DISK_MIB="0",
            # Where jobs leave word of their runs.
            METAL9_WORKER_WRITABLE=str(root / "traces"),
            METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="1.5",
            METAL9_GATEWAY_WORKER_LOST_SECONDS=str(LOST),
            METAL9_WORKER_DRAIN_SECONDS=str(DRAIN),
        )
        self.clocks: List[Tuple[str, Clock]] = []
        if LIBRARY is not None:
            self.gateway.env = {**self.gateway.env, **self._clock("gateway")}
        self.state = root / "gateway"
        self.own_disk = os.geteuid() == 0
        self.count, self.disk_mib = count, disk_mib
        self.proxies: List[Proxy] = []

    def start(self) -> "ChaoticFleet":
        (self.root / "traces").mkdir()
        if self.own_disk:
            self.state.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={self.disk_mib}m", "metal9-chaos"]
            subprocess.run([*command, str(self.state)], check=True)
        self.start_gateway()
        for _ in range(self.count):
            self.proxies.append(Proxy(self.grpc))
            clock = self._clock(f"worker {len(self.workers)}") if LIBRARY is not None else {}
            self.add_worker(gateway=self.proxies[-1].address, **clock)
        return self

    def _clock(self, name: str) -> Dict[str, str]:
        """What gives a process a clock of its own."""
        clock = Clock(self.root / f"{name} clock")
        self.clocks.append((name, clock))
        return clock.environment

    def stop(self) -> None:
        super().stop()
        self._tidy()

    def kill(self) -> None:
        """Ends everything without a word."""
        for daemon in [*self.workers, self.gateway]:
            if daemon.running:
                daemon.kill()
        self._tidy()

    def _tidy(self) -> None:
        for proxy in self.proxies:
            proxy.close()
        self.proxies.clear()
        if self.own_disk and os.path.ismount(self.state):
            shutil.copytree(self.state, self.root / "gateway-state")
            subprocess.run(["umount", str(self.state)], check=True)


class Faults:
    """Draws faults and brings them about, one after another."""

    def __init__(self, fleet: ChaoticFleet, seed: int):
        self.fleet = fleet
        self.script: List[Tuple[float, str]] = []
        self._random = random.Random(f"{seed} faults")
        self._begun = time.monotonic()

    def note(self, text: str) -> None:
        self.script.append((time.monotonic() - self._begun, text))

    def run(self, seconds: float) -> None:
        """Brings faults about for that long."""
        kinds = {
            self._kill_gateway: 3,
            self._kill_gateway_at_a_point: 4,
            self._kill_worker: 3,
            self._replace_worker: 2,
            self._slow_disk: 2,
            self._freeze_gateway: 2,
            self._freeze_worker: 3,
            self._cut: 4,
            self._blackhole: 3,
            self._delay: 2,
            self._half_close: 2,
        }
        if self.fleet.own_disk:
            kinds[self._fill_disk] = 2
        if self.fleet.clocks:
            kinds[self._step_clock] = 2
        self._begun = time.monotonic()
        while (left := self._begun + seconds - time.monotonic()) > 0:
            self._pause(0.2, min(2.0, left))
            [fault] = self._random.choices(list(kinds), list(kinds.values()))
            fault()
            self.fleet_goes_on()

    def fleet_goes_on(self) -> None:
        """Starts what has died."""
        if not self.fleet.gateway.running:
            self.fleet.points.write_text("")
            self.fleet.start_gateway()
            self.note("gateway started")
        for worker in self.fleet.workers:
            if not worker.running:
                worker.start()
                self.note(f"{worker.name} started")

    def end(self) -> None:
        """Undoes everything."""
        self.fleet.points.write_text("")
        for _, clock in self.fleet.clocks:
            clock.step("+0")
        for proxy in self.fleet.proxies:
            proxy.heal()
        self.fleet.restore()
        self.note("all is well again")

    # ---- the faults ----

    def _pause(self, least: float, most: float) -> float:
        seconds = self._random.uniform(least, max(least, most))
        time.sleep(seconds)
        return seconds

    def _worker(self) -> Daemon:
        return self._random.choice(self.fleet.workers)

    def _kill_gateway(self) -> None:
        self.note("gateway killed")
        self.fleet.gateway.kill()
        self._pause(0.0, 2.0)

    def _kill_gateway_at_a_point(self) -> None:
        point, nth = self._random.choice(POINTS), self._random.randint(1, 12)
        self.note(f"gateway to be killed at {point} {nth}")
        self.fleet.points.write_text(f"{point} kill {nth}\n")
        self._pause(0.5, 3.0)
        self.fleet.points.write_text("")
        if not self.fleet.gateway.running:
            self.note(f"gateway died at {point}")

    def _kill_worker(self) -> None:
        worker = self._worker()
        self.note(f"{worker.name} killed")
        worker.kill()
        self._pause(0.0, 3.0)

    def _replace_worker(self) -> None:
        """As a service manager does for an update: its calls end first."""
        worker = self._worker()
        self.note(f"{worker.name} asked to end")
        code = worker.stop(within=DRAIN + 15)
        assert code == 0, f"{worker.name} ended with {code} after SIGTERM"
        self.note(f"{worker.name} ended")

    def _slow_disk(self) -> None:
        point = self._random.choice(("commit", "worker-disk"))
        delay = self._random.randint(50, 800)
        self.note(f"{point} takes {delay} ms")
        self.fleet.points.write_text(f"{point} delay {delay}\n")
        self._pause(0.5, 4.0)
        self.fleet.points.write_text("")
        self.note(f"{point} is fast")

    def _step_clock(self) -> None:
        name, clock = self._random.choice(self.fleet.clocks)
        offset = f"{self._random.randint(-STEP, STEP):+d}"
        clock.step(offset)
        self.note(f"clock of the {name} set to {offset} s")

    def _freeze_gateway(self) -> None:
        self.fleet.gateway.freeze()
        self.note("gateway frozen")
        self._pause(0.5, 1.5 * LOST)
        self.fleet.gateway.thaw()
        self.note("gateway thawed")

    def _freeze_worker(self) -> None:
        worker = self._worker()
        worker.freeze()
        self.note(f"{worker.name} frozen")
        self._pause(0.5, 1.5 * LOST)
        worker.thaw()
        self.note(f"{worker.name} thawed")

    def _proxy(self) -> Tuple[int, Proxy]:
        number = self._random.randrange(len(self.fleet.proxies))
        return number, self.fleet.proxies[number]

    def _cut(self) -> None:
        number, proxy = self._proxy()
        self.note(f"session of worker {number} cut")
        proxy.cut()

    def _half_close(self) -> None:
        number, proxy = self._proxy()
        self.note(f"session of worker {number} half closed")
        proxy.half_close()

    def _blackhole(self) -> None:
        number, proxy = self._proxy()
        self.note(f"worker {number} out of reach")
        proxy.blackhole()
        self._pause(0.5, 1.5 * LOST)
        proxy.heal()
        self.note(f"worker {number} in reach")

    def _delay(self) -> None:
        number, proxy = self._proxy()
        self.note(f"worker {number} far away and slow")
        proxy.delay(self._random.uniform(0.02, 0.3))
        proxy.throttle(self._random.uniform(0.5, 8) * (1 << 20))
        self._pause(0.5, 4.0)
        proxy.heal()

    def _fill_disk(self) -> None:
        ballast = self.fleet.state / "ballast"
        self.note("disk full")
        with ballast.open("wb", buffering=0) as file:
            space = os.statvfs(self.fleet.state)
            # Most of it at once; the rest in a race with the gateway.
            most = max(4096, space.f_bavail * space.f_frsize - (2 << 20))
            try:
                os.posix_fallocate(file.fileno(), 0, most)
                file.seek(most)
                while True:
                    file.write(b"\0" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        self._pause(0.5, 4.0)
        ballast.unlink()
        self.note("disk has room")
