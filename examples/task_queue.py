"""Work that nobody waits for, and a look at what became of it.

    python task_queue.py
"""

import time

from beta9 import QueueDepthAutoscaler, task_queue


class Unlucky(Exception):
    """Tried again, up to `retries` times; other errors are final."""


@task_queue(
    cpu=0.25,
    retries=5,
    retry_for=[Unlucky],
    autoscaler=QueueDepthAutoscaler(max_containers=2, tasks_per_container=4),
)
def resize(number):
    if number % 4 == 3 and time.time_ns() % 2:
        raise Unlucky(f"picture {number} is not ready")
    return {"picture": number, "pixels": 100 * number}


def main():
    tasks = [resize.put(number) for number in range(8)]
    print(f"put {len(tasks)} pictures in")
    pixels = sum(task.result(wait=True)["pixels"] for task in tasks)
    print(f"all {len(tasks)} are done: {pixels} pixels")


if __name__ == "__main__":
    main()
