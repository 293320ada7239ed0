"""An SDK of another shape is told in one sentence."""

import sys

import pytest

from client import Client

LAZY = """
def __getattr__(name):
    import importlib
    return getattr(importlib.import_module("beta9.type"), name)
"""
ENUM = "import enum\nclass GpuType(str, enum.Enum):\n    H100 = 'H100'\n"

SHAPES = {
    "no enum": ("", "beta9.type.GpuType is not an enum of texts"),
    "a class": ("class GpuType: pass", "beta9.type.GpuType is not an enum of texts"),
    "an enum of numbers": ("import enum\nclass GpuType(enum.IntEnum):\n    H100 = 1", "is not an enum of texts"),
    "a spelling of its own": (ENUM + "def normalize_gpu_type(gpu): return 'H100'", "it takes 'MPS' for 'H100'"),
    "a list of its own": (ENUM + "def normalize_gpu_type(gpu): raise ValueError(gpu)", "it refuses 'MPS'"),
}


@pytest.fixture
def doctored(tmp_path):
    """Runs programs with an SDK whose `beta9/type.py` is the given text."""

    def run(text, source, *, cli=None):
        package = tmp_path / "sdk" / "beta9"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(LAZY)
        (package / "type.py").write_text(text)
        if cli is not None:
            (package / "cli").mkdir()
            (package / "cli" / "__init__.py").write_text("")
            (package / "cli" / "main.py").write_text(cli)
        return Client(sys.executable, tmp_path).program(source, path=[package.parent])

    return run


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_is_not_known_is_told_when_the_sdk_is_imported(doctored, shape):
    text, problem = SHAPES[shape]
    done = doctored(text, "from metal9 import GpuType")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("metal9._names.SdkError: metal9 0.1.0 cannot teach beta9 "), last
    assert problem in last and 'use gpu="any"' in last


def test_it_is_told_again_at_the_next_import(doctored):
    source = """
        import metal9

        for _ in range(2):
            try:
                from beta9 import GpuType
            except ImportError as error:
                print(error)
    """
    assert doctored("", source).stdout.count("is not an enum of texts") == 2


def test_inside_a_container_nothing_is_refused(doctored):
    text = ENUM + "def normalize_gpu_type(gpu): return 'H100'"
    done = doctored(text, "import metal9.runner\nfrom metal9 import GpuType\nprint(GpuType('M3Max').value)")
    assert (done.returncode, done.stdout.strip()) == (0, "M3Max"), done.stderr


def test_the_command_line_says_it_without_a_traceback(doctored):
    done = doctored("", "from metal9.cli import main\nmain()", cli="from beta9.type import GpuType")
    assert done.returncode == 1
    assert done.stderr.startswith("error: metal9 0.1.0 cannot teach beta9 ") and done.stderr.count("\n") == 1


def test_a_command_line_that_is_elsewhere_is_said_to_be(doctored):
    done = doctored(ENUM, "from metal9.cli import main\nmain()")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the beta9 package has no command line that metal9 knows")


def test_a_missing_sdk_is_said_to_be(tmp_path):
    done = Client(sys.executable, tmp_path).run(
        "-S", "-c", "from metal9 import function", PYTHONHOME="", PYTHONNOUSERSITE="1"
    )
    assert done.returncode == 1
    assert "metal9 needs the Beta9 SDK, which is not installed; run `pip install beta9`" in done.stderr
