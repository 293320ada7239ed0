"""The queue's calls with Celery, in an environment of its own: `celery_calls.py OUT CALLS PROCESSES`."""

import json
import os
import subprocess
import sys
import time

import celery
import redis

app = celery.Celery("celery_calls", broker=os.environ["REDIS"], backend=os.environ["REDIS"])


@app.task
def noop(number):
    return None


def main():
    out, calls, processes = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "celery_calls", "worker"),
            *("--concurrency", processes, "--loglevel", "ERROR", "--without-gossip"),
        ]
    )
    try:
        for result in [noop.delay(number) for number in range(200)]:
            result.get(timeout=60)
        report = measure(calls)
    finally:
        worker.terminate()
        worker.wait(30)
    with open(out, "w") as file:
        json.dump(report, file)


def measure(calls):
    store = redis.Redis.from_url(os.environ["REDIS"])
    kept = lambda: sum(1 for _ in store.scan_iter("celery-task-meta-*", count=1000))
    before = kept()
    started = time.perf_counter()
    for number in range(calls):
        noop.delay(number)
    put = time.perf_counter()
    while kept() - before < calls:
        time.sleep(0.05)
    done = time.perf_counter()
    return {
        "version": celery.__version__,
        "calls": calls,
        "put_per_second": calls / (put - started),
        "done_per_second": calls / (done - started),
    }


if __name__ == "__main__":
    main()
