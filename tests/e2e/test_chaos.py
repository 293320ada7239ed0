"""A short chaos run of one seed; `cargo xtask chaos` makes longer ones."""

import subprocess
import sys

from harness.daemon import REPOSITORY, binary
from harness.fleet import system_environment


def test_every_call_ends_once_and_right_under_random_faults():
    done = subprocess.run(
        [sys.executable, "tests/chaos/run.py", "--minutes", "0.25", "--seed", "1"],
        cwd=REPOSITORY,
        env={**system_environment(), "METAL9_BIN": str(binary())},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "all is well" in done.stdout
