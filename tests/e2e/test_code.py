"""The user's files are there, as they are here."""

import stat

import pytest


def test_functions_find_modules_packages_and_data_files(app):
    done = app(
        """
        import json
        from beta9 import function
        import helpers
        from package.inner import deep

        @function()
        def read():
            import package.lazy
            with open("data/words.txt") as words:
                return [helpers.NAME, deep.NAME, package.lazy.NAME, words.read().split()]

        if __name__ == "__main__":
            print(json.dumps(read.remote()))
        """,
        files={
            "helpers.py": "NAME = 'helpers'\n",
            "package/__init__.py": "",
            "package/lazy.py": "NAME = 'lazy'\n",
            "package/inner/__init__.py": "",
            "package/inner/deep.py": "NAME = 'deep'\n",
            "data/words.txt": "one two\nthree\n",
        },
    )
    assert done.json == ["helpers", "deep", "lazy", ["one", "two", "three"]]


def test_files_keep_their_permission_to_run(app):
    directory = app.directory()
    script = directory / "tool.sh"
    script.write_text("#!/bin/sh\necho ran with $1\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    done = app(
        """
        import json, os, subprocess
        from beta9 import function

        @function()
        def run():
            out = subprocess.run(["./tool.sh", "care"], capture_output=True, text=True, check=True)
            return [out.stdout, os.access("app.py", os.X_OK)]

        if __name__ == "__main__":
            print(json.dumps(run.remote()))
        """,
        directory=directory,
    )
    assert done.json == ["ran with care\n", False]


def test_a_function_in_a_nested_module_can_be_called(app):
    done = app(
        """
        import json
        from jobs.math.squares import square

        if __name__ == "__main__":
            print(json.dumps([square.remote(12), square.remote(2)]))
        """,
        files={
            "jobs/__init__.py": "",
            "jobs/math/__init__.py": "",
            "jobs/math/squares.py": """
            from beta9 import function
            from jobs.base import power

            @function()
            def square(n):
                return power(n, 2)
            """,
            "jobs/base.py": "def power(n, e):\n    return n ** e\n",
        },
    )
    assert done.json == [144, 4]


def test_several_functions_of_one_program_do_not_disturb_each_other(app):
    done = app(
        """
        import json
        from beta9 import function

        @function()
        def one():
            return 1

        @function(cpu=0.25)
        def two():
            return 2

        if __name__ == "__main__":
            print(json.dumps([one.remote(), two.remote(), one.remote(), two.remote()]))
        """
    )
    assert done.json == [1, 2, 1, 2]


VERSIONED = """
import json
from beta9 import function
import answer

@function()
def ask():
    return answer.VALUE

if __name__ == "__main__":
    print(json.dumps([ask.remote()]))
"""


def test_changed_code_is_used_by_the_next_run(app):
    directory = app.directory()
    seen = [
        app(VERSIONED, files={"answer.py": f"VALUE = {value}\n"}, directory=directory).json
        for value in (41, 42)
    ]
    assert seen == [[41], [42]]


def test_what_a_function_writes_beside_its_code_stays_out_of_the_users_files(app):
    program = app(
        """
        import json, os
        from beta9 import function

        @function()
        def write():
            with open("made.txt", "w") as made:
                made.write("remote")
            return os.path.exists("made.txt")

        if __name__ == "__main__":
            print(json.dumps([write.remote(), os.path.exists("made.txt")]))
        """
    )
    assert program.json == [True, False]


def test_files_left_out_by_the_ignore_file_are_not_there(app):
    done = app(
        """
        import json, os
        from beta9 import function

        @function()
        def look():
            return sorted(os.listdir("."))

        if __name__ == "__main__":
            print(json.dumps(look.remote()))
        """,
        files={".beta9ignore": "secret.txt\n", "secret.txt": "s", "open.txt": "o"},
    )
    assert "open.txt" in done.json and "app.py" in done.json
    assert "secret.txt" not in done.json


@pytest.mark.parametrize("name", ["data file.bin", "größe.bin"])
def test_file_names_and_contents_survive(app, name):
    contents = bytes(range(256)) * 3
    done = app(
        """
        import json, sys
        from beta9 import function

        @function()
        def read(name):
            return open(name, "rb").read()

        if __name__ == "__main__":
            print(json.dumps(read.remote(sys.argv[1]).hex()))
        """,
        files={name: contents},
        arguments=[name],
    )
    assert bytes.fromhex(done.json) == contents
