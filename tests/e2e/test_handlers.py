"""Kinds of functions: async ones, ones that want their context, ones with schemas."""

import cloudpickle
import pytest


def test_an_async_function_is_awaited(app):
    done = app(
        """
        import asyncio, json
        from beta9 import function

        @function()
        async def gather(n):
            async def one(i):
                await asyncio.sleep(0)
                return i * i
            return await asyncio.gather(*[one(i) for i in range(n)])

        if __name__ == "__main__":
            print(json.dumps([gather.remote(4), gather.remote(2)]))
        """
    )
    assert done.json == [[0, 1, 4, 9], [0, 1]]


def test_an_async_caller_can_await_calls(app):
    done = app(
        """
        import asyncio, json
        from beta9 import function

        @function()
        def double(n):
            return 2 * n

        async def main():
            return await asyncio.gather(*[double.async_remote(n) for n in range(5)])

        if __name__ == "__main__":
            print(json.dumps(asyncio.run(main())))
        """
    )
    assert done.json == [0, 2, 4, 6, 8]


def test_a_function_can_ask_for_its_context(app, api):
    done = app(
        """
        import json, os
        from beta9 import function

        @function(timeout=77)
        def tell(first, context):
            return {
                "first": first,
                "task": context.task_id,
                "container": context.container_id,
                "stub": context.stub_id,
                "type": context.stub_type,
                "timeout": context.timeout,
                "env": [os.environ["TASK_ID"], os.environ["CONTAINER_ID"], os.environ["STUB_ID"]],
            }

        if __name__ == "__main__":
            print(json.dumps([tell.remote(5), tell.remote(6)]))
        """
    )
    one, two = done.json
    assert (one["first"], two["first"]) == (5, 6)
    assert one["task"] != two["task"]
    for seen in (one, two):
        assert seen["env"] == [seen["task"], seen["container"], seen["stub"]]
        assert seen["timeout"] == 77
        assert seen["type"] == "function"
        assert seen["container"].startswith("function-")
        [task] = api.tasks(id=[seen["task"]])
        assert (task.status, task.container_id, task.stub_id) == (
            "COMPLETE",
            seen["container"],
            seen["stub"],
        )


SCHEMA = """
import json
from beta9 import function, schema

class Where(schema.Schema):
    city = schema.String()

class Person(schema.Schema):
    name = schema.String()
    age = schema.Integer()
    home = schema.Object(Where)

class Card(schema.Schema):
    text = schema.String()
    year = schema.Integer()

@function(inputs=Person, outputs=Card)
def card(person):
    return {"text": f"{person.name} of {person.home.city}", "year": 2000 - person.age}

if __name__ == "__main__":
    print(json.dumps([
        card.remote(name="Ada", age=36, home={"city": "London"}),
        card.remote(name="Ada", age="many", home={"city": "London"}),
    ]))
"""


def test_schemas_check_and_shape_inputs_and_outputs(app):
    good, bad = app(SCHEMA).json
    assert good == {"text": "Ada of London", "year": 1964}
    assert bad == {"error": "ValidationError", "message": "Expected integer, got str"}


def test_a_lifecycle_function_runs_once_per_container_before_the_first_call(api):
    stub = api.stub(
        {
            "app.py": """
            runs = []

            def prepare():
                runs.append("prepared")
                return "value"

            def ask():
                return list(runs)
            """
        },
        "app:ask",
        on_start="app:prepare",
        keep_warm_seconds=10.0,
    )
    assert api.call(stub).value == ["prepared"]
    assert api.call(stub).value == ["prepared"]


def test_a_lifecycle_function_that_fails_fails_the_call(api):
    stub = api.stub(
        {
            "app.py": """
            def prepare():
                raise RuntimeError("cannot prepare")

            def ask():
                return 1
            """
        },
        "app:ask",
        on_start="app:prepare",
    )
    call = api.call(stub).finish()
    assert call.exit_code == 1
    assert "RuntimeError: cannot prepare" in call.output
    assert api.wait(call.task_id) == "ERROR"


def test_a_handler_that_is_not_there_is_named(api):
    stub = api.stub({"app.py": "def ask():\n    return 1\n"}, "app:absent")
    call = api.call(stub).finish()
    assert call.exit_code == 1
    assert "absent" in call.output
    assert api.wait(call.task_id) == "ERROR"


def test_a_handler_without_a_function_name_is_refused(api):
    object_id = api.upload({"app.py": "def ask():\n    return 1\n"})
    response = api.try_stub(object_id, "nonsense")
    if response.ok:
        call = api.call(response.stub_id).finish()
        assert call.exit_code == 1
        assert "nonsense" in call.output
    else:
        assert "nonsense" in response.err_msg


def test_a_pickled_function_as_notebooks_send_it_can_be_called(api):
    step = 3

    def shifted(value):
        return value + step

    stub = api.stub({"shifted.pkl": cloudpickle.dumps(shifted)}, "shifted.pkl:shifted")
    assert api.call(stub, 4).value == 7


@pytest.mark.parametrize("kind", ["pod/run", "pod/deployment", "sandbox", "bot", "container"])
def test_a_kind_of_workload_that_is_not_there_yet_is_refused_by_name(api, kind):
    object_id = api.upload({"app.py": "def ask():\n    return 1\n"})
    response = api.try_stub(object_id, "app:ask", stub_type=kind)
    assert not response.ok
    assert kind in response.err_msg, response.err_msg


def test_a_generator_inside_a_function_may_be_consumed_there(app):
    done = app(
        """
        import json
        from beta9 import function

        @function()
        def evens(n):
            return list(i for i in range(n) if i % 2 == 0)

        if __name__ == "__main__":
            print(json.dumps(evens.remote(7)))
        """
    )
    assert done.json == [0, 2, 4, 6]


def test_a_function_called_inside_a_function_runs_there(app):
    done = app(
        """
        import json, os
        from beta9 import function

        @function()
        def inner():
            return os.getpid()

        @function()
        def outer():
            return [inner(), inner.remote(), os.getpid()]

        if __name__ == "__main__":
            print(json.dumps(outer.remote()))
        """
    )
    assert len(set(done.json)) == 1
