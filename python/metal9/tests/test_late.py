"""Files that the runner has written to the disk before a call's end is told."""

import os
import sys

import pytest


@pytest.fixture(autouse=True)
def linux():
    if sys.platform != "linux":
        pytest.skip("only containers of gVisor need it")


WRITES = """
import ctypes, os, pathlib
asked = []

class Libc:
    def __init__(self, *_, **__): pass
    def syncfs(self, descriptor):
        asked.append((os.readlink(f"/proc/self/fd/{descriptor}"), os.path.exists("written")))
        return FAILS

FAILS = 0
ctypes.CDLL, ctypes.get_errno = Libc, lambda: 5

def main(fails, raises=False):
    global FAILS
    FAILS = fails
    pathlib.Path("written").write_text("x")
    if raises:
        raise ValueError("on purpose")
    return list(asked)
"""


def test_what_a_call_wrote_is_written_before_its_end_is_told(load, tmp_path):
    worker = load(WRITES, settle=[str(tmp_path)])
    assert worker.value(0) == []
    assert worker.value(0) == [(os.path.realpath(tmp_path), True)]


def test_a_call_whose_files_cannot_be_written_has_failed(load, tmp_path):
    worker = load(WRITES, settle=[str(tmp_path)])
    kind, text = worker.error(-1)
    assert kind == "exception" and "Input/output error" in text and str(tmp_path) in text
    assert worker.error(-1, raises=True)[1] == "ValueError: on purpose"
    assert "may be lost" in worker.stderr()


def test_nothing_is_asked_for_where_nothing_is_late(load):
    worker = load(WRITES)
    assert worker.value(-1) == [] and worker.value(-1) == []
