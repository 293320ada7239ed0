"""`metal9 devices` on a machine with NVIDIA's library, which a small one stands in for."""

import ctypes
import json
import subprocess
from pathlib import Path

import pytest

from harness.daemon import binary

LIBRARY = Path(__file__).parent / "fixtures" / "nvml.c"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """A directory with the library, for the dynamic linker."""
    place = tmp_path_factory.mktemp("nvml")
    made = place / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, LIBRARY], check=True)
    return place


def devices(*arguments: str, libraries: Path = Path("/not/there")) -> str:
    done = subprocess.run(
        [binary(), "devices", *arguments],
        env={"LD_LIBRARY_PATH": str(libraries), "HOME": "/"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_devices_that_work_are_listed_with_their_use(libraries):
    told = json.loads(devices("--json", libraries=libraries))
    fields = ["vendor", "family", "variant", "cores", "memory_mib", "simulated"]
    assert [[device[field] for field in fields] for device in told["devices"]] == [
        ["nvidia", "H100", "", 16896, 81559, False],
        ["nvidia", "RTX4090", "", 16384, 24564, False],
    ]
    assert told["condition"]["devices"] == [
        {"busy_percent": 71, "memory_used_mib": 1024},
        {"busy_percent": 5, "memory_used_mib": 512},
    ]


def test_devices_with_a_fault_are_not_listed_and_the_fault_is_told(libraries):
    lost, faulty = json.loads(devices("--json", libraries=libraries))["machine"]["notes"]
    assert lost.startswith("NVIDIA device 1 (unknown) is not offered: it cannot be asked: ")
    assert faulty == (
        "NVIDIA device 2 (NVIDIA A100 80GB PCIe) is not offered: "
        "its memory had 3 errors that could not be corrected"
    )


def test_a_name_is_explained_against_what_is_there(libraries):
    text = devices("--explain", "rtx-4090", libraries=libraries)
    assert text == "`rtx-4090` means GPUs of the model RTX4090\nthis machine has RTX4090\n"
    text = devices("--explain", "A100", libraries=libraries)
    assert "nothing on this machine matches\nnote: NVIDIA device 1" in text


def test_without_the_library_there_is_nothing_and_no_complaint():
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
        has_library = True
    except OSError:
        has_library = False
    # That stderr is empty is asserted by `devices`.
    told = json.loads(devices("--json"))
    if not has_library:
        assert not any(device["vendor"] == "nvidia" for device in told["devices"])
        assert not any("NVIDIA" in note for note in told["machine"]["notes"])
