"""Promises of the wire that the SDK relies on but seldom shows."""

import cloudpickle
import grpc
import pytest
from beta9.clients.function import FunctionInvokeRequest
from beta9.clients.gateway import HeadObjectRequest

from harness import eventually
from harness.code import WAITING

COUNTED = {
    "app.py": """
    def count(path, text):
        with open(path, "a") as log:
            log.write("x")
        print(text, end="", flush=True)
        return text
    """
}


def test_the_first_message_registers_the_task_and_says_nothing_else(api):
    call = api.call(api.stub(COUNTED, "app:count"), "/dev/null", "hello")
    first = call.messages[0]
    assert first.task_id and not first.output and not first.done
    call.finish()
    assert {message.task_id for message in call.messages} == {call.task_id}


def test_exactly_the_last_message_is_done_and_it_carries_the_result(api):
    call = api.call(api.stub(COUNTED, "app:count"), "/dev/null", "hello").finish()
    assert [message.done for message in call.messages].count(True) == 1
    last = call.messages[-1]
    assert last.done and cloudpickle.loads(last.result) == "hello"
    assert list(call._stream) == []


def test_a_request_that_is_sent_twice_runs_once(api, tmp_path):
    log = tmp_path / "log"
    stub = api.stub(COUNTED, "app:count")
    _, pairs = api.fresh_request()
    one = api.invoke(stub, str(log), "once", pairs=pairs)
    two = api.invoke(stub, str(log), "once", pairs=pairs)
    assert one.task_id == two.task_id
    assert one.value == two.value == "once"
    late = api.invoke(stub, str(log), "once", pairs=pairs)
    assert late.value == "once" and late.task_id == one.task_id
    assert log.read_text() == "x"


def test_requests_with_different_ids_run_each(api, tmp_path):
    log = tmp_path / "log"
    stub = api.stub(COUNTED, "app:count")
    for _ in range(2):
        _, pairs = api.fresh_request()
        assert api.invoke(stub, str(log), "again", pairs=pairs).value == "again"
    assert log.read_text() == "xx"


TEXT = "plain é 東京 🙂 end"


@pytest.mark.parametrize("offset", [0, 6, 8, len(TEXT.encode()) - 3, len(TEXT.encode())])
def test_a_client_that_comes_back_gets_the_output_from_where_it_was(api, offset):
    stub = api.warm(COUNTED, "app:count")
    call = api.call(stub, "/dev/null", TEXT)
    assert call.value == TEXT and call.output == TEXT
    again = api.attach(stub, call.task_id, offset)
    assert again.value == TEXT
    assert again.output.encode() == TEXT.encode()[offset:]


def test_a_client_that_comes_back_while_the_call_runs_misses_nothing(api, app):
    gate = app.gate()
    stub = api.warm(
        {
            "app.py": """
            def talk(gate):
                print("first", flush=True)
                open(gate).read()
                print("second", flush=True)
                return 7
            """
        },
        "app:talk",
    )
    call = api.call(stub, str(gate)).until("first\n")
    call.leave()
    again = api.attach(stub, call.task_id, len("first\n"))
    gate.open()
    assert again.value == 7
    assert again.output == "second\n"


def test_two_clients_can_follow_one_task(api, app):
    gate = app.gate()
    stub = api.stub(WAITING, "app:wait")
    one = api.call(stub, str(gate)).until("in")
    two = api.attach(stub, one.task_id).until("in")
    gate.open()
    assert one.value == two.value == 5


def code_and_details(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_coming_back_to_a_task_that_is_not_there_is_refused(api):
    stub = api.stub(COUNTED, "app:count")
    task = "00000000-0000-7000-8000-000000000000"
    code, details = code_and_details(lambda: api.attach(stub, task))
    assert code == grpc.StatusCode.NOT_FOUND
    assert task in details


@pytest.mark.parametrize("stub", ["00000000-0000-7000-8000-000000000000", "nonsense", ""])
def test_calling_a_stub_that_is_not_there_is_refused(api, stub):
    code, details = code_and_details(lambda: api.call(stub))
    assert code == grpc.StatusCode.NOT_FOUND
    assert f"stub `{stub}` does not exist" in details and "\nhint: " in details, details


def test_arguments_that_are_no_pickle_fail_the_call_and_not_the_worker(api):
    stub = api.stub(COUNTED, "app:count")
    request = FunctionInvokeRequest(stub_id=stub, args=b"\x00not a pickle")
    [*_, last] = api.functions.function_invoke(request)
    assert last.done and last.exit_code == 1
    assert api.call(stub, "/dev/null", "fine").value == "fine"


@pytest.mark.parametrize(
    "method",
    [
        "/pod.PodService/CreatePod",
        "/shell.ShellService/CreateStandaloneShell",
        "/disk.DiskService/ListDisks",
        "/bot.BotService/PopBotTask",
    ],
)
def test_what_is_not_there_yet_says_so_in_a_sentence(api, method):
    code, details = code_and_details(lambda: api.raw(method))
    # Of this code the SDK shows what is said.
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "does not support" in details and len(details.split()) >= 4, details


def test_a_method_nobody_has_heard_of_is_unimplemented(api):
    code, _ = code_and_details(lambda: api.raw("/nobody.NoService/Nothing"))
    assert code == grpc.StatusCode.UNIMPLEMENTED


def test_the_health_service_says_serving(api):
    assert api.raw("/grpc.health.v1.Health/Check") == b"\x08\x01"


def test_reflection_lists_the_services(api):
    # ServerReflectionRequest{list_services: "*"}: field 7, one byte long.
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    answer = api.raw_stream(method, b"\x3a\x01*")
    for service in (b"gateway.GatewayService", b"function.FunctionService", b"image.ImageService"):
        assert service in answer


def test_identical_stubs_are_one_stub_unless_a_new_one_is_asked_for(api):
    one = api.stub(COUNTED, "app:count", force_create=False)
    two = api.stub(COUNTED, "app:count", force_create=False)
    other = api.stub(COUNTED, "app:count", force_create=False, cpu=250)
    assert one == two
    assert other != one


def test_code_that_is_already_there_is_not_asked_for_again(api):
    object_id = api.upload(COUNTED)
    assert api.upload(COUNTED) == object_id
    answer = api.gateway.head_object(HeadObjectRequest(hash="0" * 64))
    assert answer.ok and not answer.exists


def test_an_archive_that_climbs_out_of_its_directory_is_refused(api, tmp_path):
    name = f"../../../../../../../../../../..{tmp_path}/escaped.py"
    try:
        object_id = api.upload({name: "x = 1\n", "app.py": "def one():\n    return 1\n"})
    except (AssertionError, grpc.RpcError):
        pass
    else:
        call = api.call(api.try_stub(object_id, "app:one").stub_id).finish()
        assert call.exit_code != 0
        assert "escaped.py" in call.output
    assert not (tmp_path / "escaped.py").exists()


def test_times_of_a_task_are_in_order(api):
    call = api.call(api.stub(COUNTED, "app:count"), "/dev/null", "x").finish()

    def seen():
        [task] = api.tasks(id=[call.task_id])
        return task

    task = eventually(seen, lambda task: task.status == "COMPLETE", what="the task is complete")
    assert task.created_at <= task.started_at <= task.ended_at
