"""What is installed: the package as its wheel, with the SDK that it asks for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from client import Client

PACKAGE = Path(__file__).resolve().parent.parent


def uv(*arguments):
    """Runs the uv beside the interpreter, or the one on the search path."""
    beside = Path(sys.executable).parent / "uv"
    program = str(beside) if beside.exists() else shutil.which("uv")
    assert program, "the tests need uv: python -m pip install -r python/dev.txt"
    done = subprocess.run(
        [program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of an environment with nothing but the package's wheel and what that asks for."""
    place = tmp_path_factory.mktemp("wheel")
    # A copy, so that a build leaves nothing in the sources.
    source = place / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    uv("build", "--wheel", "--out-dir", place / "dist", source)
    [wheel] = (place / "dist").glob("metal9-*.whl")
    uv("venv", "--python", sys.executable, place / "env")
    uv("pip", "install", "--python", place / "env/bin/python", wheel)
    return place / "env/bin"


def test_the_command_line_is_installed_by_its_name(installed, tmp_path):
    # Like the SDK's own script: Python runs it, with the sources of this tree out of reach.
    client = Client(str(installed / "python"), tmp_path)
    done = client.run(installed / "metal9-beta9", "--version", PYTHONPATH="")
    assert done.returncode == 0 and "version" in done.stdout, done.stderr


def test_what_is_imported_is_the_wheel(installed, tmp_path):
    client = Client(str(installed / "python"), tmp_path)
    source = """
        import metal9
        from beta9 import function

        function(gpu="M3 Max")
        print(metal9.__file__)
    """
    done = client.program(source, PYTHONPATH="")
    assert done.returncode == 0 and str(installed.parent) in done.stdout, done.stderr
