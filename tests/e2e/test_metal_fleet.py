"""One program for the GPUs of a mixed fleet, as a user of the package `metal9` writes it.

The devices are simulated and MLX computes on the processor; gateway, workers and jobs are real.
"""

import socket
from typing import Iterator

import pytest

from harness import App, Machines, eventually
from harness.daemon import REPOSITORY

HOST = socket.gethostname()

USES = {"PYTHONPATH": str(REPOSITORY / "python" / "metal9" / "src")}

# MLX for the processor where there is no Mac.
PROGRAM = """
import json
import sys
from metal9 import Image, function

image = Image(python_packages=["mlx[cpu]"])

def compute(numbers):
    import os
    import mlx.core as mx

    [device] = json.loads(os.environ["METAL9_DEVICES"])
    return device["name"], mx.array(numbers).sum().item()

@function(gpu="MPS", image=image)
def on_any_apple(numbers):
    return compute(numbers)

@function(gpu=["M4", "H100"], image=image)
def on_m4_or_h100(numbers):
    return compute(numbers)

@function(gpu="M1 Ultra", image=image)
def on_m1_ultra(numbers):
    return compute(numbers)

if __name__ == "__main__":
    functions = [on_any_apple, on_m4_or_h100, on_m1_ultra]
    print(json.dumps([each.remote([1, 2, 3]) for each in functions]))
"""


@pytest.fixture
def machines(devices, tmp_path_factory) -> Iterator[Machines]:
    """Workers with simulated devices, gone after the test."""
    machines = Machines(devices, tmp_path_factory.mktemp("machines"))
    yield machines
    machines.remove()


@pytest.fixture
def app(devices, tmp_path) -> Iterator[App]:
    """Users' programs against them."""
    app = App(tmp_path, devices.config)
    yield app
    app.close()


def test_each_function_runs_on_the_machine_that_it_names(app, machines):
    machines.add("M3-Max")
    m4 = machines.add("M4")
    machines.add("H100")
    machines.add("M1-Ultra")
    any_apple, listed, ultra = app(PROGRAM, env=USES, within=300).json
    apples = [f"{name} (simulated)" for name in ("M3 Max", "M4", "M1 Ultra")]
    assert any_apple[0] in apples and any_apple[1] == 6
    assert listed == ["M4 (simulated)", 6], "the first of the list is free"
    assert ultra == ["M1 Ultra (simulated)", 6]

    machines.standing(m4, "cordon")
    any_apple, listed, ultra = app(PROGRAM, env=USES, within=300).json
    assert any_apple[0] in apples and any_apple[0] != "M4 (simulated)"
    assert listed == ["H100 (simulated)", 6], "the second of the list is"
    assert ultra == ["M1 Ultra (simulated)", 6]


def test_the_same_program_is_told_why_a_linux_guest_on_a_mac_is_not_enough(app, machines):
    machines.pretend(is_guest_on_mac=True, is_virtual=True)
    program = app.start(PROGRAM, env=USES)
    program.wait_for(
        'waiting: gpu "MPS" needs a native worker on a Mac; '
        "1 worker is a Linux guest on a Mac, which cannot reach Metal",
        within=240,
    )
    program.interrupt()
    assert program.finish().code != 0


# ---- every sentence, in the output of a user's own program ----

ASKING = """
import json
import os
from metal9 import function

@function(gpu={gpu!r}, memory={memory})
def look(gate=""):
    print("HERE", flush=True)
    if gate:
        open(gate).read()
    return json.loads(os.environ["METAL9_DEVICES"])[0]["name"]

if __name__ == "__main__":
    print(json.dumps([look.remote({gate!r})]))
"""


def asking(gpu: str = "MPS", memory: int = 128, gate: object = "") -> str:
    return ASKING.format(gpu=gpu, memory=memory, gate=str(gate))


def no_mac(machines):
    return "MPS", 128, 'gpu "MPS" needs a native worker on a Mac; none is connected'


def only_containers(machines):
    machines.pretend(platform="aarch64-apple-darwin", runtimes=["runc"])
    reason = "1 worker on a Mac runs in a container, which cannot reach Metal"
    return "MPS", 128, f'gpu "MPS" needs a native worker on a Mac; {reason}'


def unusable_gpu(machines):
    note = "the GPU is paravirtual, which Metal jobs cannot rely on"
    machines.pretend(platform="aarch64-apple-darwin", notes=[note])
    return "MPS", 128, f"worker `{HOST}` (simulated) says: {note}"


def cordoned(machines):
    machines.standing(machines.add("M3-Max"), "cordon")
    return "MPS", 128, "the only worker that can run it is cordoned"


def too_little_memory(machines):
    worker = machines.add("M1", METAL9_WORKER_MEMORY_MIB="65536")
    most = machines.status(worker)["devices"][0]["memory_mib"]
    sentence = f'needs {most + 1} MiB of memory; the largest gpu "MPS" may use {most}'
    return "MPS", most + 1, sentence


def too_hot(machines):
    machines.is_doing(thermal="heavy")
    worker = machines.add("M3-Max", condition=True)
    eventually(lambda: machines.status(worker)["gpus_rest"], what="the gateway knows of the heat")
    return "MPS", 128, "the only worker that can run it is too hot to begin more"


def on_battery(machines):
    machines.is_doing(power="battery")
    machines.add("M3-Max", condition=True, METAL9_WORKER_ON_BATTERY="no-gpu")
    return "MPS", 128, "the only worker that can run it is on battery"


def wrong_chip(machines):
    machines.add("M3-Max")
    return "M1 Ultra", 128, 'gpu "M1 Ultra" is on no worker; there is M3 Max (simulated)'


@pytest.mark.parametrize(
    "situation",
    [
        no_mac,
        only_containers,
        unusable_gpu,
        cordoned,
        too_little_memory,
        too_hot,
        on_battery,
        wrong_chip,
    ],
    ids=lambda situation: situation.__name__,
)
def test_a_program_shows_why_its_call_waits(app, machines, situation):
    gpu, memory, sentence = situation(machines)
    program = app.start(asking(gpu, memory), env=USES)
    shown = program.wait_for(sentence)
    [line] = [line for line in shown.splitlines() if sentence in line]
    assert "waiting: " in line and "HERE" not in shown
    program.interrupt()
    program.finish()


def test_a_program_shows_whose_end_it_waits_for_and_runs_then(app, machines):
    worker = machines.add("M3-Max")
    gate = app.gate()
    first = app.start(asking(gate=gate), env=USES)
    first.wait_for("HERE")
    second = app.start(asking(), env=USES)
    second.wait_for(f"waiting: the GPU of `{HOST}` is busy with `look`; it is next")
    machines.standing(worker, "drain", deadline_seconds=60)
    second.wait_for("waiting: the only worker that can run it is being drained")
    gate.open()
    assert first.finish().json == ["M3 Max (simulated)"]
    machines.standing(worker, "uncordon")
    assert second.finish().json == ["M3 Max (simulated)"]
