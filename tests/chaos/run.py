"""Runs a gateway and workers under load and random faults, and judges what became of every call.

    python tests/chaos/run.py --minutes 5 --seed 7 --workers 3
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, List

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from faults import ChaoticFleet, Faults  # noqa: E402
from harness import Api  # noqa: E402
from harness.daemon import PANIC  # noqa: E402
from jobs import CODE, KINDS, handler  # noqa: E402
from load import PATIENCE, Client  # noqa: E402
from verdict import Verdict, left_at  # noqa: E402

CLIENTS = 6


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    print(f"chaos for {options.minutes:g} min with seed {options.seed}", flush=True)

    root = Path(tempfile.mkdtemp(prefix="metal9-chaos-"))
    # Results and output stay, so a longer run needs more room; only what is used takes memory.
    fleet = ChaoticFleet(root, options.workers, disk_mib=min(64 + int(60 * options.minutes), 1024))
    faults = Faults(fleet, options.seed)
    wrong: List[str] = []
    try:
        wrong += run(fleet, faults, options.seed, options.minutes * 60)
    except Exception as error:
        wrong.append(f"the run itself failed: {error!r}")
    except BaseException:
        fleet.kill()
        raise
    try:
        fleet.stop()
    except Exception as error:
        fleet.kill()
        wrong.append(f"stopping: {error}")
    wrong += left_at(root, [worker.state for worker in fleet.workers])
    for daemon in [fleet.gateway, *fleet.workers]:
        wrong += [f"{daemon.name}: {line}" for line in daemon.text().splitlines() if PANIC.search(line)]
    if not wrong:
        print("all is well", flush=True)
        shutil.rmtree(root)
        return 0
    print(f"\n{len(wrong)} things are wrong (seed {options.seed}); logs and state are in {root}")
    print("faults:")
    for at, what in faults.script:
        print(f"  {at:9.3f} {what}")
    for text in wrong[:40]:
        print(f"- {text}")
    return 1


def run(fleet: ChaoticFleet, faults: Faults, seed: int, seconds: float) -> List[str]:
    """The run itself; returns what is wrong."""
    fleet.start()
    stubs = make_stubs(fleet.api)
    warm_up(fleet, stubs)
    before = {task.id for task in fleet.api.tasks()}
    traces = fleet.root / "traces"
    token = fleet.facts["token"]

    def connect() -> Api:
        return Api(fleet.grpc, fleet.http, token)

    clients = [Client(number, seed, connect, stubs, traces) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    begun = time.monotonic()
    faults.run(seconds)
    faults.end()
    for client in clients:
        client.stop()
    wrong = [f"{client} waits for ever" for client in clients if not client.wait(PATIENCE)]
    wrong += [problem for client in clients for problem in client.problems]

    records = [record for client in clients for record in client.records]
    verdict = Verdict(fleet.api)
    deaths = sum("gateway started" in what for _, what in faults.script)
    for record in records:
        record.history = [(at - begun, what) for at, what in record.history]
        verdict.look_at(record, deaths)
    verdict.most_return()
    verdict.no_other_tasks(before | {record.task for record in records})
    print(
        f"{len(records)} calls: {dict(verdict.statuses)}, {verdict.reruns} runs more than one, "
        f"{verdict.returned} of {verdict.robust} with retries returned; "
        f"{len(faults.script)} lines of faults, {deaths} starts of the gateway",
        flush=True,
    )
    return wrong + verdict.wrong


def make_stubs(api: Api) -> Dict[str, str]:
    return {
        kind: api.stub(CODE, handler(kind), retries=retries, cpu=125, memory=128)
        for kind, retries, _ in KINDS
    }


def warm_up(fleet: ChaoticFleet, stubs: Dict[str, str]) -> None:
    """Every worker gets the environment: one call that fills a worker for each of them."""
    wide = fleet.api.stub(CODE, "app:slow", retries=3, cpu=1500, memory=256)
    api = Api(fleet.grpc, fleet.http, fleet.facts["token"])

    def call() -> None:
        api.call(wide, 10, os.devnull).finish()

    threads = [threading.Thread(target=call) for _ in fleet.workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api.close()
    print(f"{len(fleet.workers)} workers are ready", flush=True)


if __name__ == "__main__":
    sys.exit(main())
