"""Gateways and workers that die, and what becomes of the calls."""

import re

from harness import eventually, processes

WAITING = {
    "app.py": """
    import os

    def wait(gate):
        print(os.getpid(), "HERE", flush=True)
        open(gate).read()
        return "finished"

    def quick():
        return "quick"
    """
}


def runner_of(call):
    """Waits until the function runs; returns the process it runs in."""
    return int(re.search(r"(\d+) HERE", call.until(" HERE\n").output)[1])


def test_a_client_gets_its_result_although_the_gateway_was_killed(split, split_app):
    gate = split_app.gate()
    program = split_app.start(
        """
        import json, os, sys
        from beta9 import function

        @function()
        def wait(gate):
            print("HERE", os.getpid(), os.environ["TASK_ID"])
            open(gate).read()
            print("through the gate")
            return "finished"

        if __name__ == "__main__":
            print(json.dumps(wait.remote(sys.argv[1])))
        """,
        arguments=[gate],
    )
    pid, task = program.line("HERE ", within=120).split()
    before = split.api.call(split.api.stub(WAITING, "app:quick")).finish()

    split.gateway.kill()
    assert processes.alive(int(pid)), "the job goes on without the gateway"
    split.start_gateway()
    split.wait_for_workers(1)
    assert split.api.status(before.task_id) == "COMPLETE", "what was finished is remembered"
    assert processes.alive(int(pid)), "the gateway took the job back"

    gate.open()
    done = program.finish()
    assert done.json == "finished"
    assert done.stdout.count("HERE") == 1 and done.stdout.count("through the gate") == 1
    assert split.api.wait(task) == "COMPLETE"


def test_a_job_that_ends_while_the_gateway_is_away_is_not_lost(split, split_app):
    gate = split_app.gate()
    api = split.api
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate), headless=True)
    pid = runner_of(call)
    split.gateway.kill()
    gate.open()
    split.start_gateway()
    again = split.api.attach(stub, call.task_id)
    assert again.value == "finished"
    assert again.output.count("HERE") == 1 and f"{pid} HERE\n" in again.output


def test_an_accepted_task_that_had_not_begun_is_run_after_a_restart(split):
    api = split.api
    stub = api.stub(WAITING, "app:quick")
    split.workers[0].stop()
    split.wait_for_workers(0)
    call = api.call(stub, headless=True)
    assert api.status(call.task_id) == "PENDING"
    split.gateway.kill()
    split.start_gateway()
    assert split.api.status(call.task_id) == "PENDING"
    split.workers[0].start()
    assert split.api.attach(stub, call.task_id).value == "quick"


def test_a_call_without_retries_ends_when_its_worker_is_killed(split, split_app):
    gate = split_app.gate()
    api = split.api
    call = api.call(api.stub(WAITING, "app:wait", retries=0), str(gate))
    runner_of(call)
    split.workers[0].kill()
    call.finish()
    assert call.exit_code == 1
    assert "worker" in call.output.splitlines()[-1]
    assert api.wait(call.task_id) == "ERROR"


def test_a_worker_without_time_to_drain_ends_at_once_and_its_call_runs_again(split, split_app):
    gate = split_app.gate()
    api = split.api
    [worker] = split.workers
    assert worker.stop() == 0
    worker.env = {**worker.env, "METAL9_WORKER_DRAIN_SECONDS": "0"}
    worker.start()
    split.wait_for_workers(1)
    call = api.call(api.stub(WAITING, "app:wait", retries=1), str(gate))
    first = runner_of(call)
    assert worker.stop(within=5) == 0
    assert not processes.alive(first)
    worker.start()
    eventually(gate.try_open, what="the call runs again", within=60)
    assert call.value == "finished"


def test_a_call_whose_client_vanished_is_cancelled_after_a_grace_time(split, split_app):
    gate = split_app.gate()
    api = split.api
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate))
    pid = runner_of(call)
    call.leave()
    assert api.wait(call.task_id) == "CANCELLED"
    eventually(lambda: processes.alive(pid), lambda alive: not alive, what="the job is gone")


def test_a_call_whose_client_comes_back_in_time_goes_on(split, split_app):
    gate = split_app.gate()
    api = split.api
    stub = api.stub(WAITING, "app:wait")
    call = api.call(stub, str(gate))
    runner_of(call)
    call.leave()
    again = api.attach(stub, call.task_id)
    gate.open()
    assert again.value == "finished"


def test_a_client_without_a_gateway_is_told_so(split, split_app):
    split.gateway.kill()
    done = split_app(
        """
        from beta9 import function

        @function()
        def hello():
            return 1

        if __name__ == "__main__":
            hello.remote()
        """
    )
    assert done.code == 1
    assert "Unable to connect to gateway." in done.stderr
