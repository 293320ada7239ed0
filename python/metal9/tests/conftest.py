import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from client import Client, pythons  # noqa: E402
from fake_worker import FakeWorker  # noqa: E402


@pytest.fixture
def code(tmp_path):
    """A function that writes files into a fresh code directory and returns its path."""
    directory = tmp_path / "code"
    directory.mkdir()

    def write(**files):
        for name, text in files.items():
            path = directory / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory

    return write


@pytest.fixture
def start(tmp_path):
    """A function that starts a runner and returns the worker's side of it."""
    workers = []

    def start_one(**options):
        worker = FakeWorker(tmp_path, **options)
        workers.append(worker)
        return worker

    yield start_one
    for worker in workers:
        worker.close()


@pytest.fixture
def load(start, code):
    """A function that writes `app.py`, loads a handler from it and returns the worker's side."""

    def load_one(app, handler="app:main", options=None, **message):
        directory = code(app=app)
        worker = start(**(options or {}))
        reply = worker.load(directory, handler, **message)
        assert reply["type"] == "loaded", (reply, worker.stderr())
        return worker

    return load_one


@pytest.fixture(params=sorted(pythons()))
def client(request, tmp_path):
    """A user's Python, with each version of the SDK that is to be tested."""
    return Client(pythons()[request.param], tmp_path)
