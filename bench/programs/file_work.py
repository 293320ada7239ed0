"""What is done to a directory to find out how quick it is. Runs in a job, and by itself.

    python file_work.py DIRECTORY MIB FILES
"""

import json
import os
import sys
import time
from pathlib import Path

BLOCK = 1 << 20
SMALL = b"x" * 4096


def large(directory, mib):
    """MiB per second of writing a file, and of reading it again without the kernel's memory of it."""
    path, block = Path(directory) / "large", os.urandom(BLOCK)
    begun = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    written = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(BLOCK):
            pass
    read = time.perf_counter()
    path.unlink()
    return {"write_mib_per_second": mib / (written - begun), "read_mib_per_second": mib / (read - written)}


def small(directory, count):
    """Milliseconds for each of many files of 4 KiB, by what is done to it."""
    places = [Path(directory) / f"small-{number}" for number in range(count)]
    steps = {
        "create": lambda place: place.write_bytes(SMALL),
        "read": lambda place: place.read_bytes(),
        "unlink": lambda place: place.unlink(),
    }
    figures = {}
    for name, step in steps.items():
        begun = time.perf_counter()
        for place in places:
            step(place)
        figures[f"{name}_ms"] = (time.perf_counter() - begun) * 1000 / count
    return figures


def measure(directory, mib, count):
    """Both."""
    return {**large(directory, mib), **small(directory, count)}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
