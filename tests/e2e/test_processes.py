"""The processes behind calls: which are kept, and which must be gone."""

import os

from harness import eventually, processes

STRAYS = {
    "app.py": """
    import os, subprocess, sys, time

    def leave():
        new_session = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        plain = subprocess.Popen(["sleep", "1000"])
        reader, writer = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                os.write(writer, str(os.getpid()).encode())
                os.closerange(0, 64)
                os.execvpe("sleep", ["sleep", "1000"], {"PATH": os.defpath})
            os._exit(0)
        os.wait()
        daemon = int(os.read(reader, 32))
        return [os.getpid(), new_session.pid, plain.pid, daemon]
    """
}


def test_processes_that_a_call_leaves_behind_are_gone_when_it_is_over(api):
    stub = api.stub(STRAYS, "app:leave")
    runner, *strays = api.call(stub).value
    eventually(
        lambda: processes.living(strays), lambda left: not left, what="no stray is left", within=5
    )
    assert processes.alive(runner), "the runner itself is kept for the next call"


COUNTER = {
    "app.py": """
    import os

    calls = 0

    def count():
        global calls
        calls += 1
        return os.getpid(), calls
    """
}


def test_the_next_call_is_served_by_the_same_warm_process(api):
    stub = api.stub(COUNTER, "app:count", keep_warm_seconds=10.0)
    first, second, third = (api.call(stub).value for _ in range(3))
    assert first[0] == second[0] == third[0]
    assert [first[1], second[1], third[1]] == [1, 2, 3]


def test_a_warm_process_serves_a_later_run_of_the_same_program(app):
    directory = app.directory()
    source = """
        import json, os
        from beta9 import function

        @function()
        def pid():
            return os.getpid()

        if __name__ == "__main__":
            print(json.dumps([pid.remote()]))
        """
    assert app(source, directory=directory).json == app(source, directory=directory).json


def test_a_warm_process_ends_after_its_time(api):
    stub = api.stub(COUNTER, "app:count", keep_warm_seconds=1.0)
    pid, _ = api.call(stub).value
    eventually(lambda: processes.alive(pid), lambda alive: not alive, what="the idle process ends")
    other, calls = api.call(stub).value
    assert other != pid and calls == 1


def test_calls_at_the_same_time_have_a_process_each(api, app):
    gates = [app.gate(), app.gate()]
    stub = api.stub(
        {
            "app.py": """
            import os

            def stay(gate):
                print("in", flush=True)
                open(gate).read()
                return os.getpid()
            """
        },
        "app:stay",
    )
    calls = [api.call(stub, str(gate)) for gate in gates]
    for call in calls:
        call.until("in")
    for gate in gates:
        gate.open()
    one, two = (call.value for call in calls)
    assert one != two


def test_a_job_cannot_see_the_descriptors_of_the_worker(api):
    stub = api.stub(
        {
            "app.py": """
            import os

            def open_files():
                found = {}
                for number in os.listdir("/proc/self/fd"):
                    try:
                        found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
                    except OSError:
                        pass
                return found
            """
        },
        "app:open_files",
    )
    found = api.call(stub).value
    own = {number: target for number, target in found.items() if number > 2}
    for target in own.values():
        assert "sqlite" not in target and ".db" not in target, own
    # The runner's own channel and what the SDK opens; not the worker's listening sockets.
    assert len(own) < 12, own


def test_a_job_does_not_dump_core(api):
    stub = api.stub(
        {
            "app.py": """
            import resource

            def limit():
                return list(resource.getrlimit(resource.RLIMIT_CORE))
            """
        },
        "app:limit",
    )
    assert api.call(stub).value[0] == 0


def test_jobs_run_below_the_system_and_not_below_the_test(api, fleet):
    stub = api.stub(COUNTER, "app:count")
    pid, _ = api.call(stub).value
    ancestors = []
    while pid > 1:
        pid = processes.parent(pid)
        ancestors.append(pid)
    assert fleet.pid in ancestors and ancestors.index(fleet.pid) < ancestors.index(os.getpid())
