from fake_worker import until


def test_output_of_every_kind_comes_in_order(load):
    app = """
import ctypes, logging, os, subprocess, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
libc = ctypes.CDLL(None)
def main():
    print("1 print")
    print("2 no ", end=""); print("newline")
    sys.stdout.write("3 write\\n")
    sys.stdout.buffer.write(b"4 bytes\\n")
    subprocess.run(["echo", "5 child"])
    os.system("echo 6 shell")
    os.write(1, b"7 descriptor\\n")
    logging.warning("8 logging")
    libc.puts(b"9 c library")
    print("10 print")
    libc.printf(b"11 c library without newline")
"""
    worker = load(app)
    worker.value()
    assert [line.split()[0] for line in worker.stdout().splitlines()] == [str(n) for n in range(1, 12)]


def test_text_without_a_newline_is_out_before_the_call_ends(load):
    app = """
import sys, time, os
def main(flag):
    print("working", end="")
    sys.stderr.write("on it")
    while not os.path.exists(flag): time.sleep(0.01)
"""
    worker = load(app)
    flag = worker._out.parent / "flag"
    number = worker.begin(str(flag))
    until(lambda: worker.stdout() == "working", "the unfinished line")
    until(lambda: worker.stderr() == "on it", "the unfinished error line")
    flag.write_text("")
    assert worker.reply(number)["type"] == "result"


def test_text_that_has_no_utf8_does_not_fail_the_call(load):
    worker = load("def main(): print('\\ud800 é'); return 1\n", options={"env": {"LC_ALL": "C"}})
    assert worker.value() == 1
    assert worker.stdout() == "\\ud800 é\n"


def test_streams_go_to_their_own_descriptors(load):
    worker = load("import sys\ndef main():\n    print('out'); print('err', file=sys.stderr)\n")
    worker.value()
    assert (worker.stdout(), worker.stderr()) == ("out\n", "err\n")


def test_a_large_amount_is_not_cut(load):
    worker = load("def main():\n    for i in range(3000): print('x' * 1000)\n")
    worker.value()
    assert len(worker.stdout()) == 3000 * 1001
