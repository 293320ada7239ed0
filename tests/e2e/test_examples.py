"""The examples do what their pages say."""

import shutil
import sys

import pytest

from harness.daemon import REPOSITORY

EXAMPLES = REPOSITORY / "examples"

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
}


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_as_it_is(app, name):
    directory = app.directory()
    shutil.copy(EXAMPLES / name, directory)
    done = app.launch([sys.executable, name], directory).finish(within=180)
    assert done.code == 0, done
    for text in EXPECTED[name]:
        assert text in done.stdout, done
