"""metal9 in one file: one call, twenty calls at once, and a look at the machine behind them.

    python quickstart.py
"""

import os
import platform
import random
import time

from beta9 import function


@function()
def hello(name):
    print(f"(this line is printed on the worker, by process {os.getpid()})")
    return f"hello, {name}"


@function()
def throw_darts(seed, darts=200_000):
    """How many of the darts thrown at a square land in the circle inside it."""
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(darts)), darts


@function(cpu=1, memory=2048)
def look_around():
    """What the machine is, and which accelerators Python sees on it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch_device(),
        "mlx": mlx_device(),
    }


def torch_device():
    try:
        import torch
    except ImportError:
        return "not installed"
    if torch.backends.mps.is_available():
        return "mps"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def mlx_device():
    try:
        import mlx.core
    except ImportError:
        return "not installed"
    return str(mlx.core.default_device())


def main():
    started = time.perf_counter()
    answer = hello.remote("world")
    print(f"{answer}  [first call {time.perf_counter() - started:.2f} s]")

    started = time.perf_counter()
    hello.remote("again")
    print(f"[second call {(time.perf_counter() - started) * 1000:.0f} ms: the process was warm]\n")

    started = time.perf_counter()
    hits = thrown = 0
    for count, (inside, darts) in enumerate(throw_darts.map(list(range(20))), 1):
        hits, thrown = hits + inside, thrown + darts
        print(f"  {count:2}/20  pi is about {4 * hits / thrown:.5f}")
    print(f"[{thrown:,} darts in {time.perf_counter() - started:.2f} s]\n")

    print("the machine your functions run on:")
    for name, value in look_around.remote().items():
        print(f"  {name:10} {value}")


if __name__ == "__main__":
    main()
