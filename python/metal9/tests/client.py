"""A user's Python with one version of the SDK: each program runs in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"


def pythons():
    """The interpreters to test with, by the name of their SDK: those of METAL9_SDK_PYTHONS, as `oldest=/x/python`
    joined by commas, and always the one that runs the tests.
    """
    named = dict(entry.split("=", 1) for entry in os.environ.get("METAL9_SDK_PYTHONS", "").split(",") if entry)
    return {"this": sys.executable, **named}


class Client:
    """Runs programs with one interpreter, away from whatever is configured on this machine."""

    def __init__(self, python, home):
        self.python = python
        self.home = home

    def run(self, *arguments, path=(), **env):
        """Runs the interpreter with these arguments; `path` goes before the package's own sources."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(map(str, [*path, SOURCE])),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Older SDKs ask for these on a terminal when they are imported.
            "BETA9_TOKEN": "token",
            "BETA9_GATEWAY_HOST": "127.0.0.1",
            "BETA9_GATEWAY_PORT": "1",
            "CI": "1",
            "COLUMNS": "500",
        }
        environment.update(env)
        return subprocess.run(
            [self.python, *map(str, arguments)],
            env=environment,
            cwd=str(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=60,
        )

    def program(self, source, **options):
        """Runs a program to its end, whatever that is."""
        return self.run("-c", textwrap.dedent(source), **options)

    def json(self, source, **options):
        """What a program prints as its last line, read as JSON."""
        done = self.program(source, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
