import cloudpickle
import pytest


def load_failure(start, directory, handler="app:main", **more):
    worker = start()
    reply = worker.load(directory, handler, **more)
    assert reply["type"] == "load_failed", reply
    assert "\n" not in reply["text"]
    return reply["text"], worker.stderr()


def test_a_spare_says_who_it_is(start):
    worker = start()
    ready = worker.ready()
    assert ready["pid"] == worker.process.pid
    assert ready["python"].startswith("3.")
    assert ready["versions"]["beta9"][0].isdigit()


def test_a_handler_with_the_sdk_decorator_is_loaded(load):
    worker = load("from beta9 import function\n@function()\ndef main(x): return x + 1\n")
    assert worker.value(1) == 2


def test_a_handler_in_a_package_and_its_sibling_modules_are_found(start, code):
    work = "from helper import twice\ndef run(x): return twice(x)\n"
    directory = code(pkg__work=work, helper="def twice(x): return 2 * x\n")
    worker = start()
    assert worker.load(directory, "pkg.work:run")["type"] == "loaded"
    assert worker.value(4) == 8


def test_data_files_are_found_by_relative_path(load, code):
    (code() / "data.txt").write_text("hello")
    worker = load("def main(): return open('data.txt').read()\n")
    assert worker.value() == "hello"


def test_a_pickled_handler_is_loaded(start, code):
    directory = code()

    def greet(name):
        return "hello " + name

    greet.__module__ = "__main__"
    (directory / "greet.pkl").write_bytes(cloudpickle.dumps(greet))
    worker = start()
    assert worker.load(directory, "greet.pkl:greet")["type"] == "loaded"
    assert worker.value("you") == "hello you"


def test_a_pickle_that_is_not_callable_is_refused(start, code):
    directory = code()
    (directory / "n.pkl").write_bytes(cloudpickle.dumps(3))
    text, _ = load_failure(start, directory, "n.pkl:n")
    assert "not callable" in text


@pytest.mark.parametrize("as_module", [False, True])
def test_user_modules_named_like_ours_do_no_harm(start, code, as_module):
    ours = ["session", "frames", "calls", "output", "runner", "handler", "sdk", "errors", "msgpack", "callback"]
    ours += ["process", "start"]
    files = {name: "NAME = %r\n" % name for name in ours}
    files["app"] = "import %s\ndef main(): return [m.NAME for m in (%s,)]\n" % (", ".join(ours), ", ".join(ours))
    directory = code(**files)
    worker = start(as_module=as_module, cwd=directory)
    assert worker.load(directory)["type"] == "loaded"
    assert worker.value() == ours


def test_the_code_directory_comes_first_and_ours_last(load, code):
    worker = load("import sys\ndef main(): return sys.path\n")
    path = worker.value()
    assert path[0] == str(code())
    assert path[-1].endswith("python/metal9/src")
    assert not any("metal9/runner" in entry for entry in path)


def test_the_stub_decides_the_environment(load):
    app = "import os\nSEEN = dict(os.environ)\ndef main(): return SEEN, dict(os.environ)\n"
    options = {"env": {"PYTHONDONTWRITEBYTECODE": "1", "METAL9_SECRET": "x"}}
    worker = load(app, options=options, env={"GREETING": "hi", "BETA9_TOKEN": "t0"}, on_start="")
    at_import, at_call = worker.value()
    assert at_import["GREETING"] == "hi"
    assert at_import["CONTAINER_ID"] == "function-1"
    assert at_import["STUB_ID"] == "stub-1"
    assert at_import["BETA9_TOKEN"] == "t0"
    assert at_import["BETA9_IMPORTING_USER_CODE"] == "true"
    assert "BETA9_IMPORTING_USER_CODE" not in at_call
    assert at_call["TASK_ID"] == "task-1"
    assert at_call["BETA9_TOKEN"] == "token-of-the-call"
    assert not [name for name in at_call if name.startswith("METAL9_")]
    assert "PYTHONDONTWRITEBYTECODE" not in at_call


def test_on_start_runs_once_and_its_value_reaches_the_context(load):
    app = """
N = []
def boot():
    N.append(1)
    return len(N)
def main(context): return context.on_start_value, len(N)
"""
    worker = load(app, on_start="app:boot")
    assert worker.value() == (1, 1)
    assert worker.value() == (1, 1)


def test_on_start_may_be_async(load):
    app = "async def boot(): return 'up'\ndef main(context): return context.on_start_value\n"
    assert load(app, on_start="app:boot").value() == "up"


def test_failures_to_load_are_told_in_a_sentence(start, code):
    directory = code(
        app="def main(): pass\n",
        broken="def main(:\n",
        fails="def deep():\n    raise ValueError('no model')\ndeep()\n",
        quits="import sys\nsys.exit(3)\n",
        boots="def boot():\n    raise KeyError('weights')\ndef main(): pass\n",
    )
    assert "No module named 'nowhere'" in load_failure(start, directory, "nowhere:main")[0]
    assert "no attribute 'other'" in load_failure(start, directory, "app:other")[0]
    assert "SyntaxError" in load_failure(start, directory, "broken:main")[0]
    assert "module:function" in load_failure(start, directory, "app")[0]
    assert load_failure(start, directory, "quits:main")[0] == "SystemExit: 3"
    assert "does not exist" in load_failure(start, directory / "gone")[0]
    assert load_failure(start, directory, "boots:main", on_start="boots:boot")[0] == "KeyError: 'weights'"
    assert "cannot be read" in load_failure(start, directory, inputs="{oops")[0]

    text, stderr = load_failure(start, directory, "fails:main")
    assert text == "ValueError: no model"
    assert stderr.startswith("Traceback (most recent call last):")
    assert 'fails.py", line 3, in <module>' in stderr
    assert "importlib" not in stderr and "runner" not in stderr


def test_a_file_hidden_by_a_standard_module_is_named(start, code):
    directory = code(queue="def main(): pass\n")
    text, _ = load_failure(start, directory, "queue:main")
    assert "queue" in text and "rename" in text


def test_a_second_load_is_refused(load, code):
    from fake_worker import load_message

    worker = load("def main(): return 1\n")
    worker.connection.send(load_message(code(), "app:main"))
    assert worker.connection.receive()["type"] == "load_failed"
    assert worker.value() == 1


def test_started_without_a_socket_it_explains_itself(start):
    worker = start(env={"METAL9_RUNNER_FD": "nonsense"})
    assert worker.wait() == 2
    assert "METAL9_RUNNER_FD" in worker.stderr()


def test_an_environment_without_the_sdk_is_told_over_the_socket(start, tmp_path):
    fake = tmp_path / "fake" / "beta9" / "runner"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").write_text("")
    (fake / "__init__.py").write_text("")
    (fake / "common.py").write_text("config = 1\n")
    worker = start(env={"PYTHONPATH": str(tmp_path / "fake")})
    reply = worker.connection.receive()
    assert reply["type"] == "load_failed"
    assert "FunctionHandler" in reply["text"]
    assert worker.wait() == 78
