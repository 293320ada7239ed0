"""Programs that ask for an Apple GPU, on a simulated Mac: `metal9 dev --simulate-device M3-Max`."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import requests

from harness import App, DevFleet
from harness.daemon import REPOSITORY
from harness.tiny_model import write_tiny_model

USES = {"PYTHONPATH": str(REPOSITORY / "python" / "metal9" / "src")}


@pytest.fixture(scope="module")
def mac(gates):
    """A gateway and a worker that pretends to be a Mac."""
    place = Path(tempfile.mkdtemp(prefix=".e2e-mac-", dir=Path.home()))
    fleet = DevFleet(place / "state", "--simulate-device", "M3-Max")
    try:
        fleet.start()
        yield fleet
        fleet.stop()
    finally:
        if fleet.daemon.running:
            fleet.daemon.kill()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def app(mac, tmp_path):
    """Runs users' programs against it."""
    app = App(tmp_path, mac.config)
    yield app
    app.close()


# MLX for the processor, since this is no Mac.
PROGRAM = """
import json
{imports}

@function(gpu={gpu}, image=Image(python_packages=["mlx[cpu]"]))
def total(numbers):
    import mlx.core as mx
    return mx.array(numbers).sum().item()

if __name__ == "__main__":
    print(json.dumps([total.remote([1, 2, 3])]))
"""


@pytest.mark.parametrize(
    "imports, gpu",
    [
        ("from metal9 import Image, function", '"m3-max"'),
        ("import metal9; from beta9 import Image, function", '["M1 Ultra", "Apple M3"]'),
        ("from beta9 import Image, function", '"any"'),
    ],
)
def test_a_program_gets_the_gpu_however_it_imports_the_sdk(app, imports, gpu):
    done = app(PROGRAM.format(imports=imports, gpu=gpu), env=USES, within=240)
    assert done.json == [6]
    assert "waiting: " not in done.stdout


def test_a_client_without_metal9_reaches_the_mac_by_its_pool(app, mac):
    [worker] = mac.api.get("/api/v1/status").json()["workers"]
    imports = "from beta9 import Image, function"
    source = PROGRAM.format(imports=imports, gpu=f'"any", pool="{worker["pool"]}"')
    assert app(source, within=240).json == [6]


def test_an_endpoint_for_apples_gpu_is_deployed_and_answers(app, mac):
    directory = app.directory()
    (directory / "app.py").write_text(
        "import json, os\nfrom metal9 import endpoint\n\n"
        '@endpoint(gpu="MPS")\ndef given():\n    return json.loads(os.environ["METAL9_DEVICES"])\n'
    )
    command = [sys.executable, "-m", "metal9", "deploy", "app.py:given", "--name", "given", "--json"]
    done = app.launch(command, directory, USES).finish(120)
    assert done.code == 0, done
    made = json.loads(done.stdout[done.stdout.index("{") :])
    headers = {"Authorization": f"Bearer {mac.facts['token']}"}
    answer = requests.post(made["invoke_url"], json={}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert [device["name"] for device in answer.json()] == ["M3 Max (simulated)"]


def test_an_image_that_macs_cannot_have_is_refused_before_anything_runs(app):
    # It has no wheels for Macs.
    source = """
        from metal9 import Image, function

        @function(gpu="MPS", image=Image(python_packages=["nvidia-nvtx-cu12"]))
        def never():
            return "it ran"

        if __name__ == "__main__":
            print("end:", never.remote())
    """
    done = app(source, env=USES, within=240)
    said = done.stdout + done.stderr
    assert "nvidia-nvtx-cu12" in said and "has no wheels with a matching platform tag" in said, done
    assert 'gpu "MPS" is in Macs only' in said and "hint: " in said, done
    assert "end: it ran" not in said and "Running app:never" not in said


def run_example(app, name, *arguments, within=240, prepare=lambda directory: None):
    """An example as it is, in a directory of its own."""
    directory = app.directory()
    shutil.copy(REPOSITORY / "examples" / name, directory)
    prepare(directory)
    return app.launch([sys.executable, name, *arguments], directory, USES).finish(within)


def test_the_matrix_example_runs_as_it_is(app):
    done = run_example(app, "mlx_matmul.py")
    assert done.code == 0, done
    assert "multiplying on Device(cpu, 0)" in done.stdout, done
    assert "1024 x 1024: " in done.stdout and "billion operations a second" in done.stdout


def test_the_text_example_writes_with_a_model_that_is_sent_along(app):
    def prepare(directory):
        write_tiny_model(directory / "model")

    question = "What is the sea made of?"
    done = run_example(app, "mlx_lm_generate.py", question, "model", within=400, prepare=prepare)
    assert done.code == 0, done
    assert "loading model" in done.stdout, done
    words = int(done.stdout.split(" words")[0].split()[-1])
    assert 0 < words <= 300, done


@pytest.fixture
def torch() -> None:
    """PyTorch from PyPI for Linux brings CUDA along, whatever it is for."""
    if not os.environ.get("METAL9_E2E_TORCH"):
        pytest.skip("PyTorch for Linux is 3 GB to download; METAL9_E2E_TORCH=1 does it")


def test_the_training_example_says_that_there_is_no_apple_gpu_and_trains(app, torch):
    done = run_example(app, "mps_training.py", within=1800)
    assert done.code == 0, done
    assert "training on the processor: PyTorch is built without MPS" in done.stdout, done
    share = float(done.stdout.split("% of the points")[0].split()[-1])
    assert share > 90, done


def test_the_example_for_any_gpu_fails_on_a_machine_with_none_and_says_so(app, torch):
    done = run_example(app, "any_of.py", within=1800)
    assert "this worker has neither CUDA nor an Apple GPU for PyTorch" in done.stdout, done
