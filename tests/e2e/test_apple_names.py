"""`gpu="MPS"` from a client: the package metal9, the SDK's command line, and the SDK alone."""

import json
import sys

import pytest

from harness.daemon import REPOSITORY

# As if the package were installed beside the SDK.
PACKAGE = str(REPOSITORY / "python" / "metal9" / "src")
USES = {"PYTHONPATH": PACKAGE}

# Loaded in the container, where nobody has asked for a GPU: only `here` runs.
BOTH = """
import json
from metal9 import Image, apple, function

@function(gpu="MPS", image=Image())
def train():
    return "trained"

@function(gpu=[apple.M4, "H100"])
def either():
    return "either"

@function()
def here():
    import metal9
    return [train.local(), either.local(), metal9.__file__]

if __name__ == "__main__":
    print(json.dumps(here.remote()))
"""


def test_a_program_that_imports_metal9_is_loaded_in_a_container(app):
    trained, either, source = app(BOTH, env=USES, within=120).json
    assert (trained, either) == ("trained", "either")
    # The container's own, not the client's.
    assert not source.startswith(PACKAGE)


def waiting(app, command, directory, within=60):
    """Starts a program whose call waits for a GPU, and returns what it is told."""
    program = app.launch(command, directory, USES)
    told = program.line("waiting: ", within)
    program.interrupt()
    program.finish()
    return told


@pytest.mark.parametrize(
    "imports, gpu, told",
    [
        ("from metal9 import function", '"m1 ultra"', '"M1 Ultra"'),
        ("import metal9; from beta9 import function", '["Metal", "H100"]', '"METAL" or "H100"'),
        ("from beta9 import function", '"any"', '"ANY"'),
    ],
)
def test_the_gateway_is_asked_for_what_was_written(app, imports, gpu, told):
    directory = app.directory()
    (directory / "app.py").write_text(
        f"{imports}\n\n@function(gpu={gpu})\ndef f():\n    return 1\n\n"
        'if __name__ == "__main__":\n    f.remote()\n'
    )
    assert told in waiting(app, [sys.executable, "app.py"], directory)


ONLY_BETA9 = 'from beta9 import function\n\n@function(gpu="M3 Max")\ndef f():\n    return 1\n'
WITH_METAL9 = "import metal9\n" + ONLY_BETA9


def deploy(app, module, source):
    """What `beta9 deploy` comes to with a file, asked for as `python -m MODULE deploy`."""
    directory = app.directory()
    (directory / "app.py").write_text(source)
    command = [sys.executable, "-m", module, "deploy", "app.py:f", "--name", "apple-names", "--json"]
    return app.launch(command, directory, USES).finish()


@pytest.mark.parametrize(
    "module, source", [("metal9", ONLY_BETA9), ("metal9", WITH_METAL9), ("beta9", WITH_METAL9)]
)
def test_the_sdks_command_line_takes_a_file_that_names_apple_gpus(app, module, source):
    done = deploy(app, module, source)
    assert done.code == 0, done
    made = json.loads(done.stdout[done.stdout.index("{") :])
    assert (made["deployment_name"], made["status"]) == ("apple-names", "accepted")


def test_the_sdk_alone_refuses_the_name_on_its_command_line(app):
    done = deploy(app, "beta9", ONLY_BETA9)
    assert done.code != 0 and "Invalid GPU type" in done.stdout + done.stderr, done


def test_the_sdk_alone_refuses_the_name_in_a_program(app):
    directory = app.directory()
    (directory / "app.py").write_text(ONLY_BETA9 + "\nf.remote()\n")
    done = app.launch([sys.executable, "app.py"], directory).finish()
    assert "Invalid GPU type" in done.stdout + done.stderr, done
