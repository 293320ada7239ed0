"""Many calls at once."""

import pytest


def test_two_hundred_inputs_give_two_hundred_results(app):
    done = app(
        """
        import json
        from beta9 import function

        @function()
        def square(n):
            return n * n

        if __name__ == "__main__":
            print(json.dumps(sorted(square.map(list(range(200))))))
        """
    )
    assert done.json == [n * n for n in range(200)]
    assert "Completed 200 calls" in done.stdout


def test_tuples_are_spread_and_lists_are_too(app):
    done = app(
        """
        import json
        from beta9 import function

        @function()
        def power(base, exponent=2):
            return base ** exponent

        if __name__ == "__main__":
            print(json.dumps(sorted(power.map([(2, 5), [3, 3], 4, (5,)]))))
        """
    )
    assert done.json == [16, 25, 27, 32]


FAILING = """
import json
from beta9 import function

@function()
def halve(n):
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n // 2

if __name__ == "__main__":
    results = list(halve.map(list(range(10))))
    print(json.dumps(sorted(results, key=lambda r: -1 if r is None else r)))
"""


@pytest.fixture(scope="module")
def half_failed(shared_app):
    return shared_app(FAILING)


def test_inputs_that_fail_leave_the_others_alone(half_failed):
    assert half_failed.json == [None] * 5 + [0, 1, 2, 3, 4]


def test_inputs_that_fail_are_reported_by_number_and_reason(half_failed):
    for number in (1, 3, 5, 7, 9):
        assert f"Input {number + 1} failed: Remote task" in half_failed.stderr
        assert f"ValueError: {number} is odd" in half_failed.stderr


def test_ctrl_c_in_a_map_stops_every_call(app, api):
    gate = app.gate()
    program = app.start(
        """
        from beta9 import function

        @function()
        def wait(number):
            print(f"task {number} waits", flush=True)
            open(GATE).read()

        if __name__ == "__main__":
            list(wait.map([1, 2, 3]))
        """.replace("GATE", repr(str(gate))),
    )
    for number in (1, 2, 3):
        program.wait_for(f"task {number} waits")
    running = {task.id for task in api.tasks(status=["RUNNING"])}
    assert len(running) >= 3
    program.interrupt()
    done = program.finish()
    assert done.code == 1
    assert "Mapped functions will be terminated." in done.stderr
    mine = [task for task in running if api.wait(task) == "CANCELLED"]
    assert len(mine) == 3
