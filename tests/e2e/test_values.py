"""What goes in and comes out of a call."""

import math
import re

import pytest

VALUES = {
    "none": None,
    "true": True,
    "small_int": -7,
    "big_int": 2**200 + 1,
    "float": 0.1,
    "infinity": math.inf,
    "minus_infinity": -math.inf,
    "empty_text": "",
    "text": "naïve café, 東京, 🙂\n\ttab",
    "empty_bytes": b"",
    "every_byte": bytes(range(256)),
    "complex": 3 - 4j,
    "tuple": (1, ("two", [3.0])),
    "empty_list": [],
    "nested": {"a": [1, {"b": (None, {2, 3})}], 7: frozenset({"x"})},
    "range": range(3, 9, 2),
    "long_list": list(range(20_000)),
}

ECHO = f"""
import json, math
from beta9 import function
from math import inf

VALUES = {VALUES!r}

@function()
def echo(value):
    return value

@function()
def kind(value):
    return type(value).__name__

if __name__ == "__main__":
    report = {{}}
    for name, value in VALUES.items():
        report[name] = {{"came": repr(echo.remote(value)), "kind": kind.remote(value)}}
    report["nan"] = {{"came": repr(echo.remote(math.nan)), "kind": kind.remote(math.nan)}}
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def echoed(shared_app):
    return shared_app(ECHO).json


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_went(echoed, name):
    assert echoed[name]["came"] == repr(VALUES[name])


@pytest.mark.parametrize("name", VALUES)
def test_a_value_arrives_as_the_type_it_is(echoed, name):
    assert echoed[name]["kind"] == type(VALUES[name]).__name__


def test_not_a_number_stays_not_a_number(echoed):
    assert echoed["nan"] == {"came": "nan", "kind": "float"}


ARGUMENTS = """
import json
from beta9 import function

@function()
def describe(first, second=2, *rest, key="k", **others):
    return [first, second, list(rest), key, others]

if __name__ == "__main__":
    print(json.dumps([
        describe.remote(1),
        describe.remote(1, 3, 4, 5, key="other", extra=True),
        describe.remote(first="named", second=None),
        describe.local("here"),
    ]))
"""


def test_arguments_are_bound_as_in_a_local_call(app):
    assert app(ARGUMENTS).json == [
        [1, 2, [], "k", {}],
        [1, 3, [4, 5], "other", {"extra": True}],
        ["named", None, [], "k", {}],
        ["here", 2, [], "k", {}],
    ]


def test_wrong_arguments_are_the_users_type_error(app):
    done = app(
        """
        import json
        from beta9 import RemoteExecutionError, function

        @function()
        def two(a, b):
            return a + b

        if __name__ == "__main__":
            try:
                two.remote(1)
            except RemoteExecutionError as error:
                print(json.dumps([error.status, error.exit_code, error.output]))
        """
    )
    status, exit_code, output = done.json
    assert (status, exit_code) == ("ERROR", 1)
    assert "TypeError: two() missing 1 required positional argument: 'b'" in output


SHAPES = """
from dataclasses import dataclass

@dataclass
class Box:
    width: int
    height: int

    def area(self):
        return self.width * self.height
"""


def test_an_instance_of_a_class_in_a_sibling_module_goes_both_ways(app):
    done = app(
        """
        import json
        from beta9 import function
        from shapes import Box

        @function()
        def turn(box):
            assert isinstance(box, Box), type(box)
            return Box(box.height, box.width)

        if __name__ == "__main__":
            turned = turn.remote(Box(2, 5))
            print(json.dumps([isinstance(turned, Box), turned.width, turned.area()]))
        """,
        files={"shapes.py": SHAPES},
    )
    assert done.json == [True, 5, 10]


def test_lambdas_and_closures_can_be_passed_and_returned(app):
    done = app(
        """
        import json
        from beta9 import function

        @function()
        def apply(callback, value):
            return callback(value)

        @function()
        def adder(step):
            def add(value):
                return value + step
            return add

        def make(factor):
            total = [0]
            def scale(value):
                total[0] += 1
                return [value * factor, total[0]]
            return scale

        if __name__ == "__main__":
            print(json.dumps([
                apply.remote(lambda x: x + 1, 41),
                apply.remote(make(3), 5),
                adder.remote(10)(7),
            ]))
        """
    )
    assert done.json == [42, [15, 1], 17]


def test_a_numpy_array_keeps_its_type_and_values(app):
    done = app(
        """
        import json
        import numpy
        from beta9 import Image, function

        @function(image=Image(python_packages=["numpy==2.2.6"]), memory=512)
        def double(array):
            return array * 2

        if __name__ == "__main__":
            array = numpy.arange(6, dtype="float32").reshape(2, 3)
            result = double.remote(array)
            print(json.dumps([str(result.dtype), result.tolist()]))
        """,
        within=120,
    )
    assert done.json == ["float32", [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]]


FAILING = """
import json
from beta9 import RemoteExecutionError, function

class Local:
    pass

@function()
def give(what):
    if what == "lock":
        import threading
        return threading.Lock()
    return what

@function()
def nothing(value):
    return None

if __name__ == "__main__":
    import only_here
    seen = {}
    for name, call in {
        "result": lambda: give.remote("lock"),
        "argument": lambda: nothing.remote(only_here.Secret()),
    }.items():
        try:
            call()
        except RemoteExecutionError as error:
            seen[name] = [error.status, error.exit_code, error.output]
    print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def refused(shared_app):
    outside = shared_app.root / "outside"
    outside.mkdir()
    (outside / "only_here.py").write_text("class Secret:\n    pass\n")
    return shared_app(FAILING, env={"PYTHONPATH": str(outside)}).json


def test_a_result_that_cannot_be_pickled_is_an_error_that_says_so(refused):
    status, exit_code, output = refused["result"]
    assert (status, exit_code) == ("ERROR", 1)
    assert "cannot pickle" in output and "lock" in output


def test_an_argument_whose_module_is_missing_there_is_an_error_that_names_it(refused):
    status, exit_code, output = refused["argument"]
    assert (status, exit_code) == ("ERROR", 1)
    assert "only_here" in output


def test_twelve_mebibytes_go_both_ways(app):
    done = app(
        """
        import hashlib, json, os
        from beta9 import function

        @function(memory=512)
        def reverse(data):
            return data[::-1]

        if __name__ == "__main__":
            data = os.urandom(12 << 20)
            print(json.dumps({"same": reverse.remote(data) == data[::-1]}))
        """
    )
    assert done.json == {"same": True}


LIMITS = """
import json
from beta9 import RemoteExecutionError, function

@function(memory=512)
def make(size):
    return bytes(size)

if __name__ == "__main__":
    report = {"largest": len(make.remote((16 << 20) - (128 << 10)))}
    try:
        make.remote(17 << 20)
    except RemoteExecutionError as error:
        report["too_large"] = [error.status, error.exit_code, error.output]
    report["after"] = len(make.remote(3))
    print(json.dumps(report))
"""


def test_a_result_over_the_limit_is_an_error_that_names_the_limit(app):
    report = app(LIMITS).json
    assert report["largest"] == (16 << 20) - (128 << 10)
    status, exit_code, output = report["too_large"]
    assert (status, exit_code) == ("ERROR", 1)
    assert "result" in output and "MiB" in output and "16" in output
    assert report["after"] == 3


def test_arguments_over_the_limit_are_refused_before_anything_runs(app, tmp_path):
    witness = tmp_path / "ran"
    done = app(
        """
        import sys
        from beta9 import function

        @function()
        def touch(data, path):
            open(path, "w").close()

        if __name__ == "__main__":
            touch.remote(bytes(17 << 20), sys.argv[1])
        """,
        arguments=[witness],
    )
    assert done.code == 1
    assert "Resource limit exceeded" in done.stderr
    assert "larger than max" in done.stderr
    assert not witness.exists()


def test_fifty_threads_each_get_their_own_answer(app):
    done = app(
        """
        import json
        from concurrent.futures import ThreadPoolExecutor
        from beta9 import function

        @function()
        def square(n):
            print(f"squaring {n}")
            return n * n

        if __name__ == "__main__":
            with ThreadPoolExecutor(50) as threads:
                print(json.dumps(list(threads.map(square.remote, range(50)))))
        """
    )
    assert done.json == [n * n for n in range(50)]
    shown = [int(number) for number in re.findall(r"squaring (\d+)", done.stdout)]
    assert sorted(shown) == list(range(50))
