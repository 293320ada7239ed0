"""A process whose GPU takes nothing more ends with the call that finds out."""

import pytest

MAC = {"METAL9_GPU_MEMORY_MIB": "512"}

APP = """
import os
TIMEOUT = "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)"
IGNORED = "Ignored (for causing prior/excessive GPU errors) (00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)"
FULL = "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"

class Lazy:
    def __reduce__(self):
        raise RuntimeError("[METAL] Command buffer execution failed: " + IGNORED)

def main(how=""):
    if how == "timeout":
        raise RuntimeError("[METAL] Command buffer execution failed: " + TIMEOUT)
    if how == "wrapped":
        try:
            main("timeout")
        except RuntimeError as error:
            raise ValueError("no answer") from error
    if how == "lazy":
        return Lazy()
    if how == "full":
        raise RuntimeError("[METAL] Command buffer execution failed: " + FULL)
    return os.getpid()
"""


@pytest.mark.parametrize(
    "how, told",
    [
        ("timeout", "RuntimeError: [METAL] Command buffer execution failed: Caused GPU Timeout Error"),
        ("wrapped", "ValueError: no answer"),
        ("lazy", "RuntimeError: [METAL] Command buffer execution failed: Ignored"),
    ],
)
def test_the_error_is_told_as_it_is_and_the_process_ends(load, how, told):
    worker = load(APP, env=MAC)
    reply = worker.outcome(how)
    assert reply["type"] == "error" and reply["spent"] is True
    assert reply["text"].startswith(told)
    assert "takes nothing more from this process" in reply["text"]
    assert worker.wait() == 71
    assert "the next call gets another" in worker.stderr()


def test_other_errors_of_the_gpu_do_not_end_it(load):
    worker = load(APP, env=MAC)
    pid = worker.value()
    kind, text = worker.error("full")
    assert kind == "exception" and "takes nothing more" not in text
    assert worker.value() == pid


def test_a_job_without_an_apple_gpu_may_say_what_it_likes(load):
    worker = load(APP)
    pid = worker.value()
    assert "takes nothing more" not in worker.error("timeout")[1]
    assert worker.value() == pid
