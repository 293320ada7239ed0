"""GPUs of containers: what the machine's files say that they need, given to those that were given one.

NVIDIA's library is a small one that stands in for it, and the files name harmless devices of this machine.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from beta9.clients.gateway import PoolConfig
from beta9.clients.image import BuildImageRequest

from harness import SplitFleet

LIBRARY = Path(__file__).parent / "fixtures" / "nvml.c"

# What the library calls the two devices that work.
H100, RTX4090 = "GPU-0", "GPU-3"

PROGRAM = {
    "app.py": """
    import os

    def look():
        names = sorted(name for name in os.listdir("/dev") if name.startswith("m9-"))
        written = {name: open(f"/dev/{name}", "wb", 0).write(b"x") for name in names}
        driver = "/run/m9-driver/version"
        return {
            "nodes": written,
            "zeros": open("/dev/m9-all", "rb").read(4) if "m9-all" in names else b"",
            "hooked": os.path.exists("/etc/m9-hooked"),
            "driver": open(driver).read() if os.path.exists(driver) else None,
            "variables": {name: os.environ.get(name) for name in ("M9_GPU", "M9_ALL", "CUDA_VISIBLE_DEVICES")},
        }
    """
}


def described(place, *names, hook="/bin/false"):
    """A file for these GPUs, of which each has a node and a variable of its own.

    The machine's own files need no hook, and the usual one would fail.
    """
    place.mkdir(parents=True, exist_ok=True)
    driver = place / "version"
    driver.write_text("570.0")
    node = lambda path, source: {"path": path, "hostPath": source}  # noqa: E731
    devices = [
        {
            "name": name,
            "containerEdits": {"deviceNodes": [node(f"/dev/m9-{number}", "/dev/null")], "env": [f"M9_GPU={number}"]},
        }
        for number, name in enumerate(names)
    ]
    common = {
        "env": ["M9_ALL=1"],
        "deviceNodes": [node("/dev/m9-all", "/dev/zero")],
        "mounts": [{"hostPath": str(driver), "containerPath": "/run/m9-driver/version", "options": ["ro", "bind"]}],
        "hooks": [{"hookName": "createContainer", "path": str(hook), "args": [Path(hook).name]}],
    }
    spec = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": common}
    (place / "nvidia.json").write_text(json.dumps(spec))
    return str(place)


@pytest.fixture(scope="module")
def gpus(fleet, tmp_path_factory):
    """A gateway, and the environment of workers that find two GPUs."""
    if os.geteuid() != 0:
        pytest.skip("only root can make containers")
    root = tmp_path_factory.mktemp("gpus")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", root / "libnvidia-ml.so.1", LIBRARY], check=True)
    settings = {"METAL9_GATEWAY_ALLOW_SIMULATED_DEVICES": "true"}
    with SplitFleet(root, workers=0, environments=fleet.environments, **settings) as gpus:
        gpus.env.pop("METAL9_WORKER_WRITABLE", None)
        yield gpus


def worker(gpus, name, runtime, cdi, **settings):
    return gpus.add_worker(
        pool=name, METAL9_WORKER_RUNTIME=runtime, METAL9_WORKER_CDI_DIRS=cdi, **settings
    )


def with_library(gpus):
    return {"LD_LIBRARY_PATH": str(gpus.root)}


def offered(gpus, pool):
    workers = gpus.api.get("/api/v1/status").json()["workers"]
    [mine] = [worker for worker in workers if worker["pool"] == pool]
    return [device["family"] for device in mine["devices"]], mine["machine"]["notes"]


def call(gpus, pool, gpu, count=1):
    return gpus.api.call(
        gpus.api.stub(PROGRAM, "app:look", gpu=gpu, gpu_count=count, pool=PoolConfig(name=pool))
    )


def test_a_container_gets_the_gpu_that_a_file_names_and_no_other(gpus, tmp_path):
    cdi = described(tmp_path / "cdi", H100, RTX4090)
    mine = worker(gpus, "named", "runc", cdi, **with_library(gpus))
    assert offered(gpus, "named")[0] == ["H100", "RTX4090"]
    for number, (gpu, name) in enumerate([("H100", H100), ("RTX4090", RTX4090)]):
        seen = call(gpus, "named", gpu).value
        assert seen["nodes"] == {f"m9-{number}": 1, "m9-all": 1}
        assert (seen["zeros"], seen["driver"], seen["hooked"]) == (bytes(4), "570.0", False)
        assert seen["variables"] == {"M9_GPU": str(number), "M9_ALL": "1", "CUDA_VISIBLE_DEVICES": name}
    plain = gpus.api.call(gpus.api.stub(PROGRAM, "app:look", pool=PoolConfig(name="named"))).value
    assert plain["nodes"] == {} and plain["driver"] is None
    assert plain["variables"] == {"M9_GPU": None, "M9_ALL": None, "CUDA_VISIBLE_DEVICES": ""}
    gpus.remove_worker(mine)


def test_a_gpu_that_no_file_names_is_not_offered_and_who_waits_is_told(gpus, tmp_path):
    cdi = described(tmp_path / "cdi", H100)
    mine = worker(gpus, "partly", "runc", cdi, **with_library(gpus))
    devices, notes = offered(gpus, "partly")
    assert devices == ["H100"]
    [note] = [note for note in notes if "RTX4090" in note]
    assert f"RTX4090 ({RTX4090}) is not offered: containers cannot have it: no file in" in note
    assert "nvidia-ctk cdi generate" in note
    waits = call(gpus, "partly", "RTX4090").until('gpu "RTX4090" is on no worker; there is H100; worker')
    told = gpus.api.get(f"/api/v1/task/{gpus.api.workspace}/{waits.task_id}/explain").json()
    assert "nvidia-ctk cdi generate" in told["sentence"], told
    gpus.api.cancel(waits.task_id)
    waits.leave()
    gpus.remove_worker(mine)


def test_a_file_that_is_gone_when_the_container_starts_is_an_error(gpus, tmp_path):
    cdi = described(tmp_path / "cdi", H100)
    mine = worker(gpus, "gone", "runc", cdi, **with_library(gpus))
    (tmp_path / "cdi" / "nvidia.json").unlink()
    done = call(gpus, "gone", "H100").finish()
    assert done.exit_code != 0 and f"names `nvidia.com/gpu={H100}`" in done.output
    gpus.remove_worker(mine)


def test_processes_of_the_machine_need_no_file(gpus, tmp_path):
    mine = worker(gpus, "native", "native", str(tmp_path), **with_library(gpus))
    assert offered(gpus, "native")[0] == ["H100", "RTX4090"]
    gpus.remove_worker(mine)


def test_gvisor_offers_gpus_if_it_knows_them(gpus, tmp_path):
    cdi = described(tmp_path / "cdi", H100, RTX4090)
    mine = worker(gpus, "gvisor", "runsc", cdi, **with_library(gpus))
    devices, notes = offered(gpus, "gvisor")
    told = [note for note in notes if "passes nothing on to NVIDIA's driver" in note]
    # Debian's is older; whether a later one does it takes a GPU to find out.
    assert (devices, len(told)) in [([], 2), (["H100", "RTX4090"], 0)]
    gpus.remove_worker(mine)


def test_a_simulated_gpu_needs_no_file_and_gets_what_one_says(gpus, tmp_path):
    for pool, names in (("with", ["0"]), ("without", [])):
        cdi = described(tmp_path / pool, *names)
        mine = worker(gpus, pool, "runc", cdi, METAL9_WORKER_SIMULATE_DEVICES="H100")
        seen = call(gpus, pool, "H100").value
        assert seen["nodes"] == ({"m9-0": 1, "m9-all": 1} if names else {})
        assert seen["variables"]["M9_GPU"] == ("0" if names else None)
        gpus.remove_worker(mine)


# As NVIDIA's does it: the container's root stands in the description, which is in the bundle.
HOOK = """#!/usr/bin/python3
import json, os, sys
bundle = json.load(sys.stdin)["bundle"]
root = json.load(open(os.path.join(bundle, "config.json")))["root"]["path"]
open(os.path.join(root, "etc", "m9-hooked"), "w").close()
"""


def test_an_image_gets_the_driver_and_its_hooks_run_in_it(gpus, registry, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(HOOK)
    for path in (hook, *(parent for parent in hook.parents if parent != Path("/"))):
        path.chmod(path.stat().st_mode | 0o755)
    cdi = described(tmp_path / "cdi", H100, hook=hook)
    settings = {"METAL9_IMAGES_INSECURE_REGISTRIES": registry.host, **with_library(gpus)}
    mine = worker(gpus, "image", "runc", cdi, **settings)
    request = BuildImageRequest(python_version="python3.11", existing_image_uri=registry.base)
    built = [message for message in gpus.api.images.build_image(request)][-1]
    assert built.success, built
    stub = gpus.api.stub(
        PROGRAM, "app:look", gpu="H100", gpu_count=1, image_id=built.image_id, pool=PoolConfig(name="image")
    )
    seen = gpus.api.call(stub).value
    assert seen["nodes"] == {"m9-0": 1, "m9-all": 1}
    assert (seen["driver"], seen["hooked"]) == ("570.0", True)
    gpus.remove_worker(mine)
