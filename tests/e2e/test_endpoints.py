"""Functions behind HTTP: `@endpoint`."""

import pytest

from harness import eventually, serve


@pytest.fixture(scope="module")
def calculator(fleet, shared_app):
    """An endpoint that is called in most of these tests."""
    return serve(
        shared_app,
        fleet.facts,
        """
        import os
        from beta9 import endpoint

        def load():
            return {"loaded": os.getpid()}

        @endpoint(on_start=load, keep_warm_seconds=30)
        def handler(context, a=1, b=2, **rest):
            if rest.get("fail"):
                raise ValueError("no luck")
            if rest.get("interrupt"):
                raise KeyboardInterrupt
            return {
                "sum": a + b,
                "rest": rest,
                "loaded": context.on_start_value,
                "pid": os.getpid(),
                "task": context.task_id,
                "type": context.stub_type,
            }
        """,
    )


def test_a_json_body_becomes_arguments_and_the_value_becomes_json(calculator, api):
    answer = calculator.post(json={"a": 20, "b": 22})
    assert answer.status_code == 200, answer.text
    value = answer.json()
    assert value["sum"] == 42
    assert value["loaded"] == {"loaded": value["pid"]}
    assert value["task"] == answer.headers["X-Task-Id"]
    assert value["type"] == "endpoint"
    assert answer.headers["X-Beta9-Stub-Id"] == calculator.stub


def test_args_and_kwargs_query_and_an_empty_body_are_understood(calculator):
    sums = [
        calculator.post(json={"kwargs": {"a": 3, "b": 4}}),
        calculator.post(json={"args": [], "kwargs": {"a": 3}}, params={"b": "4"}),
        calculator.get(params={"a": "3", "b": "4"}),
        calculator.post(),
    ]
    assert [answer.json()["sum"] for answer in sums] == [7, 7, 7, 3]
    repeated = calculator.get(params={"word": ["x", "y"], "n": "1.5"}).json()
    assert repeated["rest"] == {"word": ["x", "y"], "n": 1.5}


def test_an_exception_is_a_500_with_its_traceback_and_the_task_is_an_error(calculator, api):
    answer = calculator.post(json={"fail": True})
    assert answer.status_code == 500
    assert "ValueError: no luck" in answer.json()["error"]
    task = eventually(
        lambda: api.tasks(id=[answer.headers["X-Task-Id"]]),
        lambda tasks: tasks and tasks[0].status == "ERROR",
        what="the task is an error",
    )[0]
    assert task.container_id and task.stub_id == calculator.stub


def test_every_request_is_a_task_that_ends(calculator, api):
    answer = calculator.post(json={"a": 1})
    eventually(
        lambda: api.tasks(id=[answer.headers["X-Task-Id"]]),
        lambda tasks: tasks and tasks[0].status == "COMPLETE",
        what="the task is complete",
    )


def test_what_cannot_be_read_is_refused_and_says_why(calculator):
    refused = calculator.post(data=b"{nonsense")
    assert refused.status_code == 400 and "not JSON" in refused.json()["error"]
    refused = calculator.post(json=[1, 2])
    assert refused.status_code == 400 and "JSON object" in refused.json()["error"]
    refused = calculator.post(data=b"[" * 100_000)
    assert refused.status_code == 400 and "not JSON" in refused.json()["error"]
    assert calculator.request("PUT").status_code == 405


def test_what_is_no_usual_exception_is_told_too(calculator):
    answer = calculator.post(json={"interrupt": True})
    assert answer.status_code == 500 and "KeyboardInterrupt" in answer.json()["error"]
    assert calculator.post(json={"a": 1}).status_code == 200


def test_who_asked_is_told_that_the_container_had_too_little_memory(app, fleet):
    source = """
        from beta9 import endpoint

        @endpoint(memory=128)
        def handler():
            return len(b"x" * (1 << 29))
        """
    answer = serve(app, fleet.facts, source).post()
    assert answer.status_code == 502
    assert "memory limit exceeded" in answer.json()["error"], answer.text


def test_without_a_good_token_nothing_is_told(calculator):
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = calculator.post(json={}, headers=headers)
        assert answer.status_code == 401 and "message" in answer.json()
        unknown = calculator.session.get(
            f"http://{calculator.host}/endpoint/id/00000000-0000-0000-0000-000000000000",
            headers=headers,
        )
        assert unknown.status_code == 401
    unknown = calculator.session.get(
        f"http://{calculator.host}/endpoint/id/nothing", headers=calculator.headers
    )
    assert unknown.status_code == 404
    public = f"http://{calculator.host}/endpoint/public/{calculator.stub}"
    assert calculator.session.get(public, headers=calculator.headers).status_code == 404


def test_a_token_in_the_query_is_good_and_does_not_reach_the_function(calculator):
    answer = calculator.get(headers={}, params={"auth_token": calculator.token, "a": "5"})
    assert answer.status_code == 200 and answer.json()["rest"] == {}


def test_health_and_warmup_answer_without_a_task(calculator):
    well = calculator.get("/health")
    assert well.status_code == 200
    warm = calculator.post("/warmup")
    assert warm.status_code == 200
    for answer in (well, warm):
        assert answer.headers["X-Beta9-Stub-Id"] == calculator.stub
        assert "X-Task-Id" not in answer.headers


def test_anybody_may_call_a_public_endpoint(app, fleet):
    public = serve(
        app,
        fleet.facts,
        """
        from beta9 import endpoint

        @endpoint(authorized=False)
        def handler(name="you"):
            return f"hello {name}"
        """,
    )
    url = f"http://{public.host}/endpoint/public/{public.stub}"
    assert public.session.get(url, params={"name": "ann"}).json() == "hello ann"
    assert public.get(headers={}).json() == "hello you"
    assert public.session.get(url + "/").json() == "hello you"
    assert public.session.post(url + "/warmup").status_code == 200


def test_generators_are_streams_and_responses_pass_as_they_are(app, fleet):
    gate = app.gate()
    served = serve(
        app,
        fleet.facts,
        f"""
        from beta9 import endpoint

        @endpoint()
        async def handler(kind):
            from starlette.responses import Response
            if kind == "response":
                return Response("teapot", status_code=418, headers={{"x-mine": "1"}})
            if kind == "unserialisable":
                return object()
            async def count():
                import asyncio
                yield {{"n": 1}}
                await asyncio.to_thread(lambda: open({str(gate)!r}).read())
                yield 2
            return count()
        """,
    )
    with served.post(json={"kind": "stream"}, stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b'data: {"n": 1}'
        gate.open()
        assert [line for line in lines if line] == [b'data: {"data": 2}']
    teapot = served.post(json={"kind": "response"})
    assert (teapot.status_code, teapot.text, teapot.headers["x-mine"]) == (418, "teapot", "1")
    assert "error" in served.post(json={"kind": "unserialisable"}).json()


def test_schemas_validate_inputs(app, fleet):
    served = serve(
        app,
        fleet.facts,
        """
        from beta9 import endpoint
        from beta9.schema import Schema, Integer, String

        class In(Schema):
            count = Integer()

        class Out(Schema):
            text = String()

        @endpoint(inputs=In, outputs=Out)
        def handler(inputs):
            return {"text": "x" * inputs.count}
        """,
    )
    assert served.post(json={"count": 3}).json() == {"text": "xxx"}
    assert "Expected integer" in served.post(json={"count": "three"}).text


def test_code_that_cannot_be_loaded_is_told_to_who_waits(app, fleet):
    served = serve(
        app,
        fleet.facts,
        """
        from beta9 import endpoint, env

        if env.is_remote():
            raise ImportError("no such thing")

        @endpoint()
        def handler():
            return 1
        """,
    )
    for _ in range(2):
        answer = served.get()
        assert answer.status_code == 500 and "no such thing" in answer.json()["error"]
    paused = served.get()
    assert paused.status_code == 503 and int(paused.headers["Retry-After"]) >= 1
    assert "no such thing" in paused.json()["error"]
