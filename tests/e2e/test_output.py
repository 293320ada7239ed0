"""What functions write, as their callers see it."""

import re

PRELUDE = """
import os, subprocess, sys
"""


def test_a_line_arrives_while_the_function_still_runs(app):
    gate = app.gate()
    program = app.start(
        """
        import sys
        from beta9 import function

        @function()
        def talk(gate):
            print("before the gate")
            open(gate).read()
            print("after the gate")

        if __name__ == "__main__":
            talk.remote(sys.argv[1])
        """,
        arguments=[gate],
    )
    early = program.wait_for("before the gate\n")
    assert "after the gate" not in early
    gate.open()
    done = program.finish()
    assert done.code == 0, done
    assert done.stdout.index("before the gate") < done.stdout.index("after the gate")


def test_a_piece_of_a_line_arrives_before_the_line_is_whole(api, app):
    gate = app.gate()
    stub = api.warm(
        {
            "app.py": """
            def dots(gate):
                print("working...", end="", flush=True)
                open(gate).read()
                print(" done", end="")
            """
        },
        "app:dots",
    )
    call = api.call(stub, str(gate)).until("working...")
    assert "done" not in call.output
    gate.open()
    assert call.value is None
    assert call.output == "working... done"


def test_lines_keep_their_order(app):
    done = app(
        """
        from beta9 import function

        @function()
        def count():
            for number in range(2000):
                print("line", number)

        if __name__ == "__main__":
            count.remote()
        """
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(2000)]


def written(api, body, *args):
    """The output of a function with this body, byte for byte."""
    source = PRELUDE + "def run(*args):\n" + "".join(f"    {line}\n" for line in body)
    call = api.call(api.warm({"app.py": source}, "app:run"), *args)
    assert call.value is None
    return call


def test_stderr_is_shown_too(api):
    call = written(api, ['print("complaint", file=sys.stderr)'])
    assert call.output == "complaint\n"


def test_the_output_of_child_processes_is_shown(api):
    call = written(
        api,
        [
            'subprocess.run(["echo", "from a child"], check=True)',
            'subprocess.run(["sh", "-c", "echo to stderr >&2"], check=True)',
        ],
    )
    assert sorted(call.output.splitlines()) == ["from a child", "to stderr"]


def test_what_a_call_wrote_last_is_there_before_its_end(api):
    call = written(api, ['os.write(1, b"last words, no newline")'])
    assert call.output == "last words, no newline"
    assert call.messages[-1].done and not any(m.done for m in call.messages[:-1])


def test_characters_that_are_written_byte_by_byte_arrive_whole(api):
    text = "é🙂東" * 20
    call = written(api, [f"for byte in {text.encode()!r}:", "    os.write(1, bytes([byte]))"])
    assert call.output == text


def test_bytes_that_are_no_text_are_replaced_and_break_nothing(api):
    call = written(api, ['os.write(1, b"before \\xff\\xfe after\\n")'])
    assert call.output.startswith("before ") and call.output.endswith(" after\n")
    assert "\ufffd" in call.output


def test_a_very_long_line_arrives_complete(api):
    call = written(api, ['print("x" * 3_000_000)'])
    assert call.output == "x" * 3_000_000 + "\n"


def test_control_characters_arrive_as_they_are(api):
    call = written(api, ['sys.stdout.write("a\\rb\\x1b[31mred\\x1b[0m\\x00\\tz\\n")'])
    assert call.output == "a\rb\x1b[31mred\x1b[0m\x00\tz\n"


def test_output_is_in_the_order_of_calls_and_not_mixed_between_them(app):
    done = app(
        """
        import json
        from concurrent.futures import ThreadPoolExecutor
        from beta9 import RemoteExecutionError, function

        @function()
        def fail(number):
            print(f"I am {number}")
            raise ValueError(number)

        def outcome(number):
            try:
                fail.remote(number)
            except RemoteExecutionError as error:
                return error.output

        if __name__ == "__main__":
            with ThreadPoolExecutor(8) as threads:
                print(json.dumps(list(threads.map(outcome, range(8)))))
        """
    )
    for number, output in enumerate(done.json):
        assert re.findall(r"I am (\d)", output) == [str(number)]


def test_the_environment_says_that_output_is_unbuffered(api):
    call = written(api, ['print("plain print")', 'os.write(1, b"raw write\\n")'])
    assert call.output == "plain print\nraw write\n"
