"""What the caller learns when a function raises."""

import pytest

ERRORS = """
class TooBig(Exception):
    def __init__(self, size):
        super().__init__(f"{size} is too big")
        self.size = size

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words")
"""

PROGRAM = """
import json, sys
from beta9 import RemoteExecutionError, function
from errors import TooBig, Unprintable

def inner(how):
    if how == "builtin":
        return {}["missing"]
    if how == "custom":
        raise TooBig(7)
    if how == "chained":
        try:
            int("x")
        except ValueError as cause:
            raise RuntimeError("outer") from cause
    if how == "unprintable":
        raise Unprintable()
    if how == "unicode":
        raise ValueError("größer als 🙂")
    if how == "exit_zero":
        sys.exit(0)
    if how == "exit_text":
        sys.exit("enough")
    if how == "recursion":
        return inner(how)
    if how == "long":
        raise ValueError("x" * 100_000)

@function()
def fail(how):
    print(f"about to fail: {how}")
    return inner(how)

if __name__ == "__main__":
    report = {}
    for how in sys.argv[1:]:
        try:
            report[how] = ["returned", repr(fail.remote(how)), 0, "", ""]
        except RemoteExecutionError as error:
            report[how] = [
                error.status, error.task_id, error.exit_code, error.output, str(error)[:200]
            ]
    report["after"] = fail.remote("not at all")
    print(json.dumps(report))
"""

HOWS = [
    "builtin",
    "custom",
    "chained",
    "unprintable",
    "unicode",
    "exit_zero",
    "exit_text",
    "recursion",
    "long",
]


@pytest.fixture(scope="module")
def failures(shared_app):
    return shared_app(PROGRAM, files={"errors.py": ERRORS}, arguments=HOWS).json


@pytest.mark.parametrize("how", HOWS)
def test_every_way_to_raise_ends_the_task_as_an_error(failures, api, how):
    status, task_id, exit_code, _, message = failures[how]
    assert status == "ERROR"
    assert exit_code == 1
    assert message.startswith(f"Remote task {task_id} ERROR (exit code 1)")
    assert api.status(task_id) == "ERROR"


@pytest.mark.parametrize(
    "how, texts",
    {
        "builtin": ["KeyError: 'missing'", "in inner", 'return {}["missing"]'],
        "custom": ["errors.TooBig: 7 is too big"],
        "chained": ["ValueError: invalid literal", "direct cause", "RuntimeError: outer"],
        "unprintable": ["Unprintable"],
        "unicode": ["ValueError: größer als 🙂"],
        "exit_text": ["enough"],
        "recursion": ["RecursionError"],
    }.items(),
)
def test_the_traceback_reaches_the_caller(failures, how, texts):
    output = failures[how][3]
    for text in texts:
        assert text in output, output


def test_what_was_printed_before_the_exception_comes_before_the_traceback(api):
    stub = api.warm(
        {
            "app.py": """
            def fail():
                print("one")
                print("two")
                raise ValueError("three")
            """
        },
        "app:fail",
    )
    for _ in range(30):
        output = api.call(stub).finish().output
        assert output.startswith("one\ntwo\nTraceback (most recent call last):\n"), output


def test_the_traceback_shows_no_line_of_the_platform(failures):
    output = failures["builtin"][3]
    assert "app.py" in output
    assert "beta9/runner" not in output and "metal9" not in output, output


def test_the_next_call_is_not_touched_by_an_exception(failures):
    assert failures["after"] is None


def test_an_uncaught_remote_exception_ends_the_program_with_code_one(app):
    done = app(
        """
        from beta9 import function

        @function()
        def fail():
            raise ValueError("loud and clear")

        if __name__ == "__main__":
            fail.remote()
        """
    )
    assert done.code == 1
    assert "ValueError: loud and clear" in done.stdout
    assert "RemoteExecutionError" in done.stderr


def test_a_module_that_fails_to_import_is_told_with_its_traceback(app):
    done = app(
        """
        import json, os
        from beta9 import RemoteExecutionError, function

        if os.getenv("CONTAINER_ID"):
            raise ImportError("this module dislikes workers")

        @function()
        def never():
            return 1

        if __name__ == "__main__":
            try:
                never.remote()
            except RemoteExecutionError as error:
                print(json.dumps([error.status, error.exit_code, error.output]))
        """
    )
    status, exit_code, output = done.json
    assert (status, exit_code) == ("ERROR", 1)
    assert "ImportError: this module dislikes workers" in output


def test_a_missing_package_is_told_by_its_name(app):
    done = app(
        """
        import json
        from beta9 import RemoteExecutionError, function

        @function()
        def needs():
            import a_module_nobody_has

        if __name__ == "__main__":
            try:
                needs.remote()
            except RemoteExecutionError as error:
                print(json.dumps(error.output))
        """
    )
    assert "No module named 'a_module_nobody_has'" in done.json
