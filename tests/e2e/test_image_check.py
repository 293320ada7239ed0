"""`metal9 image check`: where a program's images can be had."""

import json
import os
import subprocess
import sys

import pytest

from harness.daemon import REPOSITORY, binary
from harness.fleet import system_environment

# It has no wheels for Macs, and Linux needs few bytes of it.
LINUX_ONLY = "nvidia-nvtx-cu12"

PROGRAM = f"""
from metal9 import Image, function

arrays = Image(python_packages=["mlx[cpu]", "numpy"])
traced = Image(python_packages=["{LINUX_ONLY}"])

@function(gpu="m3-max", image=arrays)
def on_a_mac(): ...

@function(gpu=GPU, image=traced)
def traces(): ...

print("a program may print")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of its own, whose package cache the tests share."""
    return tmp_path_factory.mktemp("image-check")


@pytest.fixture
def check(home, tmp_path):
    """Runs the command on a program, or with arguments alone."""

    def run(*arguments, program=None, package=str(REPOSITORY / "python" / "metal9" / "src")):
        env = {**system_environment(), "HOME": str(home), "PYTHONPATH": package}
        env.pop("VIRTUAL_ENV", None)
        if program is not None:
            (tmp_path / "app.py").write_text(program)
            arguments = ["app.py", "--python", sys.executable, *arguments]
        return subprocess.run(
            [str(binary()), "image", "check", *arguments],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def platforms(image):
    return {place["platform"]: place["resolves"] for place in image["platforms"]}


EVERYWHERE = {"x86_64-linux": True, "aarch64-linux": True, "aarch64-apple-darwin": True}


def test_a_program_is_told_where_each_of_its_images_can_be_had(check):
    done = check("--json", program=PROGRAM.replace("GPU", '"H100"'))
    assert done.returncode == 0, done
    answer = json.loads(done.stdout)
    arrays, traced = sorted(answer["images"], key=lambda image: image["users"][0]["name"])
    assert answer["ok"] and arrays["users"] == [{"name": "on_a_mac", "gpu": ["m3-max"]}]
    assert platforms(arrays) == EVERYWHERE
    assert platforms(traced) == {**EVERYWHERE, "aarch64-apple-darwin": False}
    [reason] = [place["reason"] for place in traced["platforms"] if not place["resolves"]]
    assert LINUX_ONLY in reason and "wheels" in reason and "\n" not in reason


def test_an_image_that_a_mac_needs_and_cannot_have_is_an_error(check):
    done = check(program=PROGRAM.replace("GPU", '["MPS", "H100"]'))
    assert done.returncode == 1
    assert "traces: python3, " + LINUX_ONLY in done.stdout, done
    assert "aarch64-apple-darwin (macOS 14.0 and later)  no: " in done.stdout
    assert '`traces` asks for gpu "MPS", and its image cannot be had on' in done.stderr
    assert "on_a_mac" not in done.stderr


def test_packages_can_be_named_without_a_program(check):
    only = ["--python-version", "3.12", "--platform", "aarch64-apple-darwin"]
    done = check("--package", "mlx", "--macos", "15.0", *only)
    assert done.returncode == 0, done
    assert "python3.12, mlx" in done.stdout and "(macOS 15.0 and later)  yes, " in done.stdout
    assert "linux" not in done.stdout
    missing = check("--package", LINUX_ONLY, *only)
    assert missing.returncode == 1
    assert "cannot be had on aarch64-apple-darwin" in missing.stderr


def test_what_needs_a_container_is_said_to(check):
    program = """
from metal9 import Image, function

@function(image=Image(base_image="debian:12"))
def f(): ...
"""
    done = check("--platform", "aarch64-apple-darwin", program=program)
    assert done.returncode == 1
    assert "no: base image `debian:12`: native workers run no container images" in done.stdout


@pytest.mark.parametrize(
    "program, code, said",
    [
        ("raise ValueError('odd')", 1, "ValueError: odd"),
        ("import metal9", 1, "the program has no images"),
        ("import no_such_module", 1, "No module named 'no_such_module'"),
    ],
)
def test_a_program_that_says_nothing_of_images_is_an_error(check, program, code, said):
    done = check(program=program)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_python_without_metal9_is_told_how_to_get_it(check):
    done = check(program="from metal9 import function", package=os.devnull)
    assert done.returncode == 1
    assert "hint: install the Python package metal9" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["app.py", "--package", "six"], ["nowhere.py"]])
def test_what_makes_no_sense_is_a_usage_error(check, arguments):
    assert check(*arguments).returncode == 2
