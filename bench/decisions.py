"""The scheduler by itself: no network, no disk, no other process."""

import json
import subprocess
from typing import Any, Dict

from cases import example

# Rounds, of which the best was disturbed least.
ROUNDS = 3


def decisions(quick: bool) -> Dict[str, Any]:
    """Tasks that end and are followed by another, with 10,000 workers and 100,000 tasks queued."""
    count = 20_000 if quick else 200_000
    command = [str(example("decisions")), "--json", "--decisions", str(count)]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(1 if quick else ROUNDS)]
    return max(runs, key=lambda run: run["decisions_per_second"])
