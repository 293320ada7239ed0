"""The examples do what their pages say."""

import json
import shutil
import sys

import pytest

from harness.daemon import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
PACKAGE = REPOSITORY / "python" / "metal9" / "src"

EXPECTED = {
    "quickstart.py": [
        "hello, world",
        "20/20  pi is about 3.1",
        "the machine your functions run on",
    ],
    "word_count.py": ["different ones. The most frequent:"],
    "packages.py": ["fitted by numpy 2.2.6", "y = 3.000 x + 1.003"],
    "failures.py": [
        "ZeroDivisionError",
        "status ERROR, exit code 1",
        "status TIMEOUT, exit code 124",
        "returned 3",
    ],
    "endpoint.py": ["200 {'count': 3, 'mean': 2.0}", "'mean': 49.5", "without a token: 401"],
    "web_app.py": ["{'square': 144}", "1 …", "lift-off"],
    "realtime_chat.py": ["HELLO!", "IS ANYBODY THERE!"],
    "task_queue.py": ["put 8 pictures in", "all 8 are done: 2800 pixels"],
    "every_minute.py": ["called by hand", "task "],
    "volume.py": ["wrote 2", "2.txt: note 2, as text in a file"],
    "shared_state.py": ["no two looked at one: 38 looks", "primes: 2 3 5 7 11 13 17 19 23 29 31 37"],
    "output.py": ["bytes that need no token", "with another address: 40"],
}

# Resolved for where they are meant to run.
RESOLVED = {
    "any_of.py": ["x86_64-linux", "aarch64-apple-darwin"],
    "mlx_lm_generate.py": ["aarch64-apple-darwin"],
    "mps_training.py": ["aarch64-apple-darwin"],
}

# These run in test_apple_gpu.py; those with PyTorch only if that is asked for.
ON_A_MAC = {"any_of.py", "mlx_lm_generate.py", "mlx_matmul.py", "mps_training.py"}

# This one runs in test_images.py, which has a registry and a worker that makes containers.
IN_AN_IMAGE = {"base_image.py"}


def test_every_example_is_tested():
    run = {*EXPECTED, *ON_A_MAC, *IN_AN_IMAGE}
    assert {path.name for path in EXAMPLES.glob("*.py")} == run and ON_A_MAC > {*RESOLVED}


@pytest.mark.parametrize("name", RESOLVED)
def test_an_example_for_other_machines_is_imported_and_its_image_resolved(fleet, name):
    platforms = [word for platform in RESOLVED[name] for word in ("--platform", platform)]
    command = ["image", "check", str(EXAMPLES / name), "--python", sys.executable, "--json"]
    done = fleet.metal9(*command, *platforms, PYTHONPATH=str(PACKAGE))
    [image] = json.loads(done.stdout)["images"]
    assert all(place["resolves"] for place in image["platforms"]) and len(image["users"]) == 1


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_as_it_is(app, name):
    directory = app.directory()
    shutil.copy(EXAMPLES / name, directory)
    done = app.launch([sys.executable, name], directory).finish(within=180)
    assert done.code == 0, done
    for text in EXPECTED[name]:
        assert text in done.stdout, done
