"""Jobs that call functions and put into queues themselves."""

from harness import Served

MAPS = """
import json
from beta9 import function

@function()
def square(number):
    return number * number

@function()
def cube(number):
    return number ** 3

@function()
def outer(numbers):
    with open("scratch.txt", "w") as scratch:
        scratch.write("what a job writes beside its code")
    squares = sorted(square.map(numbers))
    try:
        refused = repr(list(cube.map([2])))
    except BaseException as error:
        refused = repr(error)
    return {"squares": squares, "refused": refused}

if __name__ == "__main__":
    assert square.remote(2) == 4
    print(json.dumps(outer.remote([1, 2, 3])))
"""

ENQUEUES = """
import json
from beta9 import endpoint, task_queue

@task_queue(cpu=0.1)
def double(number):
    return {"double": number * 2}

@endpoint(keep_warm_seconds=30)
def handler(number):
    return {"task": double.put(number).id}

if __name__ == "__main__":
    double.put(1)
    assert handler.parent.prepare_runtime(
        func=handler.func, stub_type=handler.base_stub_type, force_create_stub=True
    )
    print(json.dumps(handler.parent.stub_id))
"""


def test_a_function_maps_another_of_its_program(app):
    done = app(MAPS)
    told = done.json
    assert told["squares"] == [1, 4, 9]
    # That nobody has called or deployed yet: a job makes nothing.
    assert "8" not in told["refused"]
    assert "a running job may not make a stub" in done.stdout + done.stderr


def test_an_endpoint_puts_into_a_queue(app, fleet, api):
    served = Served(fleet.facts["http"], api.token, "endpoint", app(ENQUEUES).json)
    task = served.post(json={"number": 21}).json()["task"]
    assert api.wait(task) == "COMPLETE"
    assert api.task(task)["result"] == {"double": 42}
