"""Accelerators: who gets them, what jobs see of them, and why calls wait for them.

The devices here are simulated: jobs run on the processor of this machine.
"""

import socket
from typing import Iterator

import pytest

from harness import Api, App, DevFleet, Machines, SplitFleet, eventually, serve

HOST = socket.gethostname()

FILES = {
    "app.py": """
    import json
    import os

    def look():
        return json.loads(os.environ["METAL9_DEVICES"]), os.environ.get("CUDA_VISIBLE_DEVICES")

    def train(gate):
        print("HERE", flush=True)
        open(gate).read()
        return "trained"

    def compute(failure):
        if failure:
            raise RuntimeError(failure)
        return os.getpid()

    def matmul():
        import mlx.core as mx

        mx.set_default_device(mx.cpu)
        left = mx.arange(12, dtype=mx.float32).reshape(3, 4)
        right = mx.arange(20, dtype=mx.float32).reshape(4, 5)
        return (left @ right).tolist()

    def limits():
        import os
        import mlx.core as mx

        names = ["PYTORCH_MPS_HIGH_WATERMARK_RATIO", "PYTORCH_ENABLE_MPS_FALLBACK"]
        return [mx.set_memory_limit(1), *(os.environ.get(name) for name in names)]
    """
}


@pytest.fixture
def machines(devices, tmp_path) -> Iterator[Machines]:
    """Workers with simulated devices, gone after the test."""
    machines = Machines(devices, tmp_path)
    yield machines
    machines.remove()


@pytest.fixture
def api(devices) -> Api:
    """A raw client of their gateway."""
    return devices.api


@pytest.fixture
def app(devices, tmp_path) -> Iterator[App]:
    """Gates for the functions, and users' programs."""
    app = App(tmp_path, devices.config)
    yield app


def stub(api, handler: str, gpu: str, **fields) -> str:
    return api.stub(FILES, f"app:{handler}", gpu=gpu, gpu_count=1, **fields)


# ---- what runs ----


def test_a_job_runs_on_a_simulated_gpu_and_sees_what_it_was_given(api, machines):
    worker = machines.add("M3-Max")
    given, cuda = api.call(stub(api, "look", "MPS")).value
    [device] = given
    assert device["name"] == "M3 Max (simulated)" and device["simulated"] is True
    assert (device["vendor"], device["cores"]) == ("apple", 40)
    assert cuda is None, "there is nothing of NVIDIA's on this machine"
    [offered] = machines.status(worker)["devices"]
    assert offered["memory_mib"] == device["memory_mib"] > 0


def test_an_nvidia_job_sees_its_own_devices_and_others_none(api, machines):
    machines.add("H100", "T4")
    given, cuda = api.call(stub(api, "look", "T4")).value
    assert ([device["name"] for device in given], cuda) == (["T4 (simulated)"], "1")
    plain = api.stub(FILES, "app:look")
    seen = [api.call(plain) for _ in range(6)]
    for given, cuda in (call.value for call in seen):
        assert given == [] and cuda in (None, ""), "a job without a gpu is shown none"


def test_mlx_computes_in_a_job_for_a_macs_gpu(api, machines):
    machines.add("M3-Max")
    image = api.image(python_packages=["mlx[cpu]"])
    product = api.call(stub(api, "matmul", "MPS", image_id=image, memory=512)).value
    left = [[4 * row + column for column in range(4)] for row in range(3)]
    right = [[5 * row + column for column in range(5)] for row in range(4)]
    assert product == [
        [sum(a * right[k][column] for k, a in enumerate(row)) for column in range(5)]
        for row in left
    ]


def test_pytorch_and_mlx_keep_to_the_memory_of_the_job(api, machines):
    machines.add("M3-Max")
    image = api.image(python_packages=["mlx[cpu]"])
    most, ratio, fallback = api.call(stub(api, "limits", "MPS", image_id=image, memory=512)).value
    assert most == 512 * 1024 * 1024
    assert 0 < float(ratio) < 0.1 and fallback == "0"


def test_the_first_choice_is_taken_while_it_is_free(api, machines, app):
    server, mac = machines.add("H100"), machines.add("M4")
    wanted = stub(api, "train", "M4,H100")
    gates = [app.gate(), app.gate()]
    first = api.call(wanted, str(gates[0])).until("HERE\n")
    assert machines.status(mac)["device_users"] == [1]
    second = api.call(wanted, str(gates[1])).until("HERE\n")
    assert machines.status(server)["device_users"] == [1]
    for gate, call in zip(gates, (first, second)):
        gate.open()
        assert call.value == "trained"


def test_one_gpu_runs_one_job_at_a_time_and_the_other_is_told_what_it_waits_for(
    api, machines, app
):
    worker = machines.add("M3-Max")
    gate = app.gate()
    wanted = stub(api, "train", "MPS")
    first = api.call(wanted, str(gate)).until("HERE\n")
    second = api.call(wanted, str(gate))
    assert machines.status(worker)["device_users"] == [1]
    second.until(f"waiting: the GPU of `{HOST}` is busy with `train`; it is next")
    gate.open()
    assert first.value == "trained"
    gate.open()
    assert second.value == "trained"


def test_two_jobs_share_a_gpu_that_was_opened_as_far_as_its_memory_goes(
    api, machines, app
):
    worker = machines.add("M1", METAL9_WORKER_GPU_SLOTS="2", METAL9_WORKER_MEMORY_MIB="65536")
    [device] = machines.status(worker)["devices"]
    assert device["slots"] == 2
    half = device["memory_mib"] // 2
    small = stub(api, "train", "MPS", memory=half)
    gates = [app.gate(), app.gate()]
    calls = [api.call(small, str(gate)).until("HERE\n") for gate in gates]
    assert machines.status(worker)["device_users"] == [2]
    for gate, call in zip(gates, calls):
        gate.open()
        assert call.value == "trained"

    large = stub(api, "train", "MPS", memory=half + 100)
    first = api.call(large, str(gates[0])).until("HERE\n")
    second = api.call(large, str(gates[0]))
    second.until(f"waiting: the GPU of `{HOST}` has too little memory left beside `train`")
    for call in (first, second):
        gates[0].open()
        assert call.value == "trained"


IGNORED = (
    "[METAL] Command buffer execution failed: Ignored (for causing prior/excessive GPU errors) "
    "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)"
)


def test_a_process_whose_gpu_takes_nothing_more_gets_no_further_call(api, machines):
    machines.add("M3-Max")
    wanted = stub(api, "compute", "MPS")
    first = api.call(wanted, None).value
    assert api.call(wanted, None).value == first, "a container is used again"
    failed = api.call(wanted, IGNORED).finish()
    assert failed.exit_code == 1
    assert IGNORED in failed.output and "the next call gets another" in failed.output
    assert api.call(wanted, None).value != first


SERVED = """
import os
from beta9 import endpoint

@endpoint(gpu="any")
def handler(failure=None):
    if failure:
        raise RuntimeError(failure)
    return {"pid": os.getpid()}
"""


def test_an_endpoint_whose_gpu_takes_nothing_more_is_served_by_another_process(
    devices, machines, app
):
    machines.add("M3-Max")
    served = serve(app, {"http": devices.http, "token": devices.facts["token"]}, SERVED)
    first = served.post(json={}).json()
    assert served.post(json={}).json() == first
    failed = served.post(json={"failure": IGNORED})
    assert failed.status_code == 500
    told = failed.json()["error"]
    assert IGNORED in told and "the next call gets another" in told
    again = served.post(json={})
    assert again.status_code == 200 and again.json() != first


# ---- why calls wait ----


def waits(api, gpu: str, sentence: str, **fields):
    """A call that waits for this reason, which its own output tells."""
    return api.call(stub(api, "look", gpu, **fields)).until(f"waiting: {sentence}")


def test_without_a_mac_there_is_no_metal(api, machines):
    call = waits(api, "MPS", 'gpu "MPS" needs a native worker on a Mac; none is connected')
    machines.add("M2")
    assert call.value[0][0]["family"] == "M2"


def test_the_wrong_chip_is_told_what_there_is_instead(api, machines):
    machines.add("M3-Max")
    call = waits(api, "M1 Ultra", 'gpu "M1 Ultra" is on no worker; there is M3 Max (simulated)')
    machines.add("M1-Ultra")
    assert call.value[0][0]["variant"] == "Ultra"


def test_a_list_of_which_nothing_is_there_names_all_of_it(api, machines):
    machines.add("M3-Max", "T4")
    call = waits(
        api, "M4,H100", 'gpu "M4" or "H100" is on no worker; there is M3 Max (simulated), T4'
    )
    machines.add("H100")
    assert call.value[0][0]["family"] == "H100"


PROGRAM = """
from beta9 import function

@function(gpu="H100")
def look():
    import os
    return os.environ["METAL9_DEVICES"]

if __name__ == "__main__":
    print("given", look.remote())
"""


def test_a_program_is_shown_why_its_call_waits(app, machines):
    machines.add("M3-Max")
    program = app.start(PROGRAM)
    program.wait_for('waiting: gpu "H100" is on no worker; there is M3 Max (simulated)')
    machines.add("H100")
    done = program.finish()
    assert done.code == 0 and "H100 (simulated)" in done.stdout.split("given")[1], done


def test_a_linux_guest_on_a_mac_cannot_reach_metal(api, machines):
    machines.pretend(is_guest_on_mac=True, is_virtual=True)
    call = waits(
        api,
        "MPS",
        'gpu "MPS" needs a native worker on a Mac; '
        "1 worker is a Linux guest on a Mac, which cannot reach Metal",
    )
    api.cancel(call.task_id)


def test_a_mac_that_runs_containers_cannot_reach_metal(api, machines):
    machines.pretend(platform="aarch64-apple-darwin", runtimes=["runc"])
    call = waits(
        api,
        "MPS",
        'gpu "MPS" needs a native worker on a Mac; '
        "1 worker on a Mac runs in a container, which cannot reach Metal",
    )
    api.cancel(call.task_id)


def test_a_mac_whose_gpu_cannot_be_used_says_why(api, machines):
    note = "the GPU is paravirtual, which Metal jobs cannot rely on"
    worker = machines.pretend(platform="aarch64-apple-darwin", notes=[note])
    call = waits(
        api,
        "MPS",
        'gpu "MPS" needs a native worker on a Mac; '
        f"worker `{HOST}` (simulated) says: {note}",
    )
    api.cancel(call.task_id)
    assert machines.status(worker)["machine"]["notes"] == [note]


def test_a_gpu_that_jobs_do_not_see_gets_none(api, machines):
    seen = "Apple M3 Max: it does not compute: it makes no command queue"
    worker = machines.pretend("M3-Max", "H100", platform="aarch64-apple-darwin", no_gpu=seen)
    why = (
        "the GPU M3 Max (simulated) is not offered, "
        f"as functions on this worker do not see it: {seen}"
    )
    call = waits(
        api,
        "MPS",
        f'gpu "MPS" needs a native worker on a Mac; worker `{HOST}` (simulated) says: {why}',
    )
    api.cancel(call.task_id)
    status = machines.status(worker)
    assert status["machine"]["notes"] == [why]
    assert [device["family"] for device in status["devices"]] == ["H100"]


def test_a_gpu_that_jobs_see_later_is_offered_then(api, machines):
    worker = machines.pretend("M3-Max", no_gpu="Metal did not answer", look_again_ms=50)
    call = waits(api, "MPS", 'gpu "MPS" needs a native worker on a Mac')
    assert machines.status(worker)["devices"] == []
    running = api.call(api.stub(FILES, "app:look"))
    machines.pretends(look_again_ms=50)
    assert call.value[0][0]["family"] == "M3"
    assert running.value[0] == []
    status = machines.status(worker)
    assert [device["family"] for device in status["devices"]] == ["M3"]
    assert status["machine"]["notes"] == []


def test_a_mac_that_gets_nothing_new_is_told_as_such(api, machines, app):
    worker = machines.add("M3-Max")
    machines.standing(worker, "cordon")
    call = waits(api, "MPS", "the only worker that can run it is cordoned")
    machines.standing(worker, "uncordon")
    assert call.value[0][0]["family"] == "M3"

    gate = app.gate()
    running = api.call(stub(api, "train", "MPS"), str(gate)).until("HERE\n")
    machines.standing(worker, "drain", deadline_seconds=60)
    call = waits(api, "MPS", "the only worker that can run it is being drained")
    gate.open()
    assert running.value == "trained"
    machines.standing(worker, "uncordon")
    assert call.finish().exit_code == 0


def test_a_job_that_needs_more_memory_than_the_gpu_may_use_is_told_how_much_that_is(api, machines):
    worker = machines.add("M1", METAL9_WORKER_MEMORY_MIB="65536")
    most = machines.status(worker)["devices"][0]["memory_mib"]
    sentence = f'needs {most + 1} MiB of memory; the largest gpu "MPS" may use {most}'
    call = waits(api, "MPS", sentence, memory=most + 1)
    api.cancel(call.task_id)


def test_a_hot_mac_begins_no_gpu_jobs_and_finishes_those_it_has(api, machines, app):
    machines.is_doing(thermal="nominal")
    worker = machines.add("M3-Max", condition=True)
    gate = app.gate()
    running = api.call(stub(api, "train", "MPS"), str(gate)).until("HERE\n")
    machines.is_doing(thermal="heavy")
    eventually(lambda: machines.status(worker)["gpus_rest"], what="the gateway knows of the heat")
    assert machines.status(worker)["condition"]["thermal"] == "heavy"
    call = waits(api, "MPS", "the only worker that can run it is too hot to begin more")
    gate.open()
    assert running.value == "trained"
    assert api.status(call.task_id) == "PENDING"
    machines.is_doing(thermal="moderate")
    assert call.value[0][0]["family"] == "M3"


def test_how_busy_a_gpu_is_is_told_and_shown(api, devices, machines):
    usage = {"busy_percent": 42, "memory_used_mib": 3072}
    machines.is_doing(devices=[usage])
    worker = machines.add("M3-Max", condition=True)
    told = lambda: machines.status(worker)["condition"]["devices"]
    eventually(told, lambda seen: seen == [usage], what="the gateway knows how busy it is")
    [device] = machines.status(worker)["devices"]
    shown = devices.metal9("status").stdout
    assert f"M3 Max (simulated) 42 % 3072/{device['memory_mib']} MiB" in shown


def test_a_mac_on_battery_does_what_its_owner_has_set(api, machines):
    machines.is_doing(power="battery")
    machines.add("M3-Max", condition=True, METAL9_WORKER_ON_BATTERY="no-gpu")
    call = waits(
        api,
        "MPS",
        "the only worker that can run it is on battery, on which it begins no gpu jobs "
        "(`worker.on_battery`)",
    )
    machines.is_doing(power="ac")
    assert call.value[0][0]["family"] == "M3"


# ---- simulated devices ----


def test_a_gateway_refuses_simulated_devices_unless_it_was_told_to_accept_them(
    fleet, tmp_path
):
    strict = SplitFleet(tmp_path, workers=0, environments=fleet.environments)
    strict.start()
    try:
        worker = strict.join_worker(arguments=["--simulate-device", "M3-Max"]).start()
        sentence = "this gateway does not accept simulated devices"
        eventually(lambda: sentence in worker.text(), what="the worker is told", within=30)
        assert "--allow-simulated-devices" in worker.text()
        assert strict.connected() == 0
    finally:
        strict.stop()


def test_a_device_that_cannot_be_simulated_is_told_with_a_similar_one(devices):
    worker = devices.join_worker(arguments=["--simulate-device", "M3-Maxx"])
    devices.workers.remove(worker)
    worker.start().process.wait(30)
    assert worker.process.returncode != 0
    assert "`M3-Maxx` is no device that can be simulated" in worker.text()
    assert "hint: did you mean `M3 Max`?" in worker.text()


def test_dev_takes_simulated_devices_and_shows_that_they_are(tmp_path):
    dev = DevFleet(tmp_path / "dev", "--simulate-device", "M3-Max", "--simulate-device", "H100")
    dev.start()
    try:
        shown = dev.metal9("status").stdout
        assert "M3 Max (simulated), H100 (simulated)" in shown
        [worker] = dev.api.get("/api/v1/status").json()["workers"]
        assert [device["simulated"] for device in worker["devices"]] == [True, True]
        assert "M3 Max (simulated)" in dev.beta9("machine", "list").stdout
    finally:
        dev.stop()
