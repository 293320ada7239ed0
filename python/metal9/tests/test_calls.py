import cloudpickle
import pytest

MIB = 1 << 20


def test_values_come_back(load):
    worker = load("def main(*args, **kwargs): return args, kwargs\n")
    for value in [None, 0, "", "text", b"bytes", {"a": [1, 2.5]}, {1, 2}]:
        assert worker.value(value, key=value) == ((value,), {"key": value})


def test_arguments_may_be_json(load):
    worker = load("def main(*args, **kwargs): return args, kwargs\n")
    for payload, expected in [
        (b'{"args": [1, "two"], "kwargs": {"three": 3}}', ((1, "two"), {"three": 3})),
        (b'{"args": null, "kwargs": null}', ((), {})),
        (b"{}", ((), {})),
    ]:
        reply = worker.reply(worker.begin_raw(payload))
        assert cloudpickle.loads(reply["data"]) == expected


@pytest.mark.parametrize(
    "payload,words",
    [
        (b"", "could not be read"),
        (b"\xff\xfe", "could not be read"),
        (b"[1]", "must be a map"),
        (b'{"args": 5}', "must be a list"),
        (b'{"kwargs": [1]}', "must be a list"),
        (b"\x80\x05\x8c\x07no_suchq\x00\x8c\x05Thing\x93.", "could not be read"),
    ],
)
def test_bad_arguments_are_an_error_of_the_call_only(load, payload, words):
    worker = load("def main(): return 'fine'\n")
    number = worker.begin_raw(payload)
    reply = worker.connection.receive()
    assert (reply["type"], reply["id"], reply["kind"]) == ("error", number, "bad_arguments")
    assert words in reply["text"]
    assert worker.value() == "fine"


def test_arguments_from_a_missing_package_name_it(load):
    worker = load("def main(x): return x\n")
    payload = b"\x80\x04c" + b"absent_package\nThing\n" + b"."
    text = worker.reply(worker.begin_raw(payload))["text"]
    assert "absent_package" in text


def test_an_exception_is_an_error_with_a_traceback_of_user_frames(load):
    worker = load("def inner(): raise ValueError('bad\\ninput')\ndef main(): inner()\n")
    assert worker.error() == ("exception", "ValueError: bad input")
    stderr = worker.stderr()
    assert "in inner" in stderr and "ValueError: bad" in stderr
    assert "metal9" not in stderr and "beta9" not in stderr


def test_the_sdk_wrapper_stays_out_of_the_traceback(load):
    worker = load("from beta9 import function\n@function()\ndef main(): return 1 / 0\n")
    assert worker.error()[1] == "ZeroDivisionError: division by zero"
    assert "site-packages" not in worker.stderr()


def test_wrong_arguments_are_an_exception(load):
    worker = load("def main(x): return x\n")
    kind, text = worker.error()
    assert kind == "exception" and text.startswith("TypeError: main() missing 1 required")


def test_leaving_the_interpreter_is_an_error_and_the_process_stays(load):
    app = """
import sys
def main(how):
    if how == "int": raise KeyboardInterrupt
    if how == "text": sys.exit("all is lost")
    if how == "none": sys.exit()
    if how != "fine": sys.exit(how)
    return how
"""
    worker = load(app)
    assert worker.error(3) == ("exception", "SystemExit: 3")
    assert worker.error(0) == ("exception", "SystemExit: 0")
    assert worker.error("none") == ("exception", "SystemExit")
    assert worker.error("text") == ("exception", "SystemExit: all is lost")
    assert worker.error("int") == ("exception", "KeyboardInterrupt")
    assert worker.value("fine") == "fine"


def test_exceptions_that_cannot_be_shown_are_still_reported(load):
    app = """
class Odd(Exception):
    def __str__(self): raise RuntimeError("no text")
def main(): raise Odd
"""
    assert load(app).error()[1].startswith("app.Odd")


def test_a_hard_exit_is_seen_as_the_end_of_the_connection(load):
    worker = load("import os\ndef main(): os._exit(7)\n")
    assert worker.outcome() is None
    assert worker.wait() == 7


def test_a_crash_leaves_a_message(load):
    worker = load("import faulthandler\ndef main(): faulthandler._sigsegv()\n")
    assert worker.outcome() is None
    assert worker.wait() == -11
    assert "Segmentation fault" in worker.stderr()


def test_async_handlers_are_awaited_on_one_loop(load):
    app = """
import asyncio
LOOPS = []
async def main(x):
    LOOPS.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    if x == "exit": raise SystemExit(4)
    if x == "fail": raise ValueError("async")
    return x, LOOPS[0] is LOOPS[-1]
"""
    worker = load(app)
    assert worker.value(1) == (1, True)
    assert worker.error("fail") == ("exception", "ValueError: async")
    assert worker.error("exit") == ("exception", "SystemExit: 4")
    assert worker.value(2) == (2, True)
    assert "never retrieved" not in worker.stderr()


def test_sync_handlers_may_run_their_own_loop(load):
    app = "import asyncio\nasync def f(): return 5\ndef main(): return asyncio.run(f())\n"
    worker = load(app)
    assert worker.value() == 5
    assert worker.value() == 5


def test_the_context_is_passed_by_name(load):
    app = """
def main(x, context):
    return x, context.task_id, context.stub_id, context.stub_type, context.container_id, context.timeout
"""
    worker = load(app)
    assert worker.value(1) == (1, "task-1", "stub-1", "function", "function-1", 60)
    assert worker.value(2)[1] == "task-2"


def test_a_context_in_front_of_positional_arguments_collides_as_in_the_sdk(load):
    worker = load("def main(context, x=0): return x, context.task_id\n")
    assert worker.value(x=4) == (4, "task-1")
    assert "multiple values for argument 'context'" in worker.error(4)[1]


SCHEMA = '{"fields": {"n": {"type": "Integer"}}}'


def test_schemas_are_the_sdks(load):
    worker = load("def main(inp): return {'n': inp.n + 1}\n", inputs=SCHEMA, outputs=SCHEMA)
    assert worker.value(n=1) == {"n": 2}
    assert worker.value(input={"n": 5}) == {"n": 6}
    refused = worker.value(n="one")
    assert refused["error"] == "ValidationError" and "integer" in refused["message"]


def test_no_schema_may_be_written_as_null(load):
    assert load("def main(x): return x\n", inputs="null", outputs="null").value(1) == 1


def test_calls_share_module_state(load):
    worker = load("N = 0\ndef main():\n    global N\n    N += 1\n    return N\n")
    assert [worker.value() for _ in range(3)] == [1, 2, 3]


def test_what_a_call_does_to_directory_and_streams_is_undone(load, code):
    app = """
import io, os, shutil, signal, sys, tempfile
def main(how):
    if how == "cd":
        gone = tempfile.mkdtemp(); os.chdir(gone); shutil.rmtree(gone)
    if how == "streams": sys.stdout = io.StringIO(); sys.stderr = None
    if how == "close": sys.stdout.close()
    if how == "signal": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "look":
        print("seen")
        return os.getcwd(), signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
"""
    worker = load(app)
    for how in ["cd", "streams", "close", "signal"]:
        worker.value(how)
    assert worker.value("look") == (str(code()), True)
    assert worker.stdout() == "seen\n"


def test_a_traceback_is_shown_even_if_the_handler_redirected_stderr(load):
    worker = load("import io, sys\ndef main(): sys.stderr = io.StringIO(); raise ValueError('seen')\n")
    worker.error()
    assert "ValueError: seen" in worker.stderr()


def test_a_result_at_the_limit_is_sent_and_one_beyond_is_refused(load):
    from metal9.runner.calls import MAX_RESULT

    worker = load("def main(n): return b'x' * n\n")
    overhead = len(cloudpickle.dumps(b"x" * MIB)) - MIB
    exact = MAX_RESULT - overhead
    assert len(worker.outcome(exact)["data"]) == MAX_RESULT
    kind, text = worker.error(exact + 1)
    assert kind == "result_too_large"
    assert "%d bytes" % (MAX_RESULT + 1) in text and "%d bytes" % MAX_RESULT in text
    assert "volume" in text
    assert worker.value(1) == b"x"


def test_a_result_that_cannot_be_pickled_names_its_type(load):
    worker = load("import threading\ndef main(g):\n    return (i for i in []) if g else {'lock': threading.Lock()}\n")
    kind, text = worker.error(False)
    assert kind == "exception"
    assert "lock" in text and "type dict" in text and "app:main" in text
    assert "type generator" in worker.error(True)[1]
    assert "Traceback" in worker.stderr()


def test_classes_of_the_users_module_are_returned_by_reference(load):
    worker = load("class Point:\n    pass\ndef main(): return Point()\n")
    data = worker.outcome()["data"]
    assert len(data) < 200 and b"app" in data


def test_a_function_object_called_inside_runs_locally(load):
    app = """
from beta9 import function
@function()
def other(x): return x * 10
AT_IMPORT = other.remote(1)
@function()
def main(x): return other.remote(x), AT_IMPORT
"""
    assert load(app).value(2) == (20, None)


def test_the_sdks_channel_uses_the_token_of_the_call(load):
    app = """
import os
from beta9 import function
import beta9.abstractions.base as base
@function()
def main():
    channel = base.get_channel()
    tokens = {channel._interceptor._token, os.environ["BETA9_TOKEN"]}
    if hasattr(channel, "config"):  # older SDKs keep no settings with the channel
        tokens |= {channel.config.token, main.parent.config_context.token}
    return tokens
"""
    worker = load(app, env={"BETA9_TOKEN": "old", "BETA9_GATEWAY_HOST": "127.0.0.1", "BETA9_GATEWAY_PORT": "9"})
    for token in ["first", "second"]:
        reply = worker.reply(worker.begin_raw(b"{}", token=token))
        assert cloudpickle.loads(reply["data"]) == {token}


def test_spawned_children_do_not_start_a_runner(load):
    app = """
import multiprocessing
def square(x): return x * x
def main():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(square, [1, 2, 3])
"""
    worker = load(app)
    assert worker.value() == [1, 4, 9]


def test_forked_children_can_be_terminated_and_do_not_answer(load):
    app = """
import multiprocessing, os, sys, time
def main():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start(); child.terminate(); child.join()
    codes = [child.exitcode]
    for how in ["return", "exit"]:
        pid = os.fork()
        if pid == 0:
            if how == "exit": sys.exit(5)
            return "from the child"
        codes.append(os.waitpid(pid, 0)[1] >> 8)
    return codes
"""
    assert load(app).value() == [-15, 0, 5]


def test_a_surviving_child_does_not_hide_the_end_of_the_process(load):
    app = """
import os, subprocess, time
def main():
    subprocess.Popen(["sleep", "60"], close_fds=False)
    if os.fork() == 0:
        time.sleep(5); os._exit(0)
    os._exit(9)
"""
    worker = load(app)
    assert worker.outcome() is None
    assert worker.wait() == 9


def test_standard_input_is_empty(load):
    worker = load("import sys\ndef main(): return sys.stdin.read()\n")
    assert worker.value() == ""


def test_a_call_without_a_handler_is_an_error(start):
    worker = start()
    worker.ready()
    assert "no handler" in worker.error()[1]


QUEUE = """
from beta9 import task_queue

class Flaky(Exception):
    pass

class Flakier(Flaky):
    pass

@task_queue(retry_for=[Flaky])
def main(kind):
    if kind == "value": return {"n": [1, None]}
    if kind == "nothing": return None
    if kind == "object": return object()
    raise {"named": Flaky, "derived": Flakier, "other": ValueError}[kind]("no")
"""


def queue_reply(worker, kind):
    return worker.reply(worker.begin_raw(b'{"args": ["%s"]}' % kind.encode()))


def test_a_queues_results_are_json(load):
    worker = load(QUEUE, stub_type="taskqueue/deployment")
    assert queue_reply(worker, "value")["data"] == b'{"n": [1, null]}'
    assert queue_reply(worker, "nothing")["data"] == b"null"


def test_a_queues_result_that_is_no_json_is_told(load):
    worker = load(QUEUE, stub_type="taskqueue")
    assert queue_reply(worker, "object")["data"] == b"null"
    assert "of type object, is no JSON" in worker.stderr()


def test_only_what_a_queue_names_is_to_be_tried_again(load):
    worker = load(QUEUE, stub_type="taskqueue")
    kinds = {kind: queue_reply(worker, kind)["kind"] for kind in ("named", "derived", "other")}
    assert kinds == {"named": "retry_for", "derived": "exception", "other": "exception"}
