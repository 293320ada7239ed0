"""Images that are the root filesystem of containers: pulled, built, refused, cached, kept apart."""

import os
import shutil

import pytest

from harness import IMAGE_ENV, App, Layer, Registry, SplitFleet, eventually, python_layer

KINDS = ["runc", "runsc"]

WHERE = """
import json, os, sys
from beta9 import Image, function

image = Image(python_version="python3.11", base_image="{base}", env_vars={{"FROM_THE_CLIENT": "yes"}})

@function(image=image, pool="{kind}")
def where():
    from beta9 import function
    def write(path):
        try:
            open(path, "w").close()
            return True
        except OSError:
            return False
    return {{
        "marker": open("/etc/made-for").read(),
        "usr": sorted(os.listdir("/usr")),
        "gone": os.path.exists("/etc/gone"),
        "python": sys.executable,
        "env": {{name: os.environ.get(name) for name in ["FROM_THE_IMAGE", "FROM_THE_CLIENT"]}},
        "writes": {{path: write(path) for path in ["/etc/x", "/x", os.environ["HOME"] + "/x", "/tmp/x"]}},
        "names": "nameserver" in open("/etc/resolv.conf").read(),
    }}

if __name__ == "__main__":
    print("RESULT", json.dumps(where.remote()))
"""


@pytest.fixture(scope="module")
def registry():
    registry = Registry()
    extra = Layer().write("etc/made-for", "the tests\n").write("etc/.wh.gone", "")
    layers = [python_layer(), Layer().write("etc/gone", "").packed(), extra.packed()]
    registry.base = registry.put("python", layers, IMAGE_ENV, tag="3.11")
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def mixed(fleet, registry, tmp_path_factory):
    """A gateway with a native worker, and one of each runtime."""
    if os.geteuid() != 0:
        pytest.skip("only root can make containers")
    root = tmp_path_factory.mktemp("images")
    with SplitFleet(root, workers=0, environments=fleet.environments) as mixed:
        mixed.env.pop("METAL9_WORKER_WRITABLE", None)
        mixed.env["METAL9_IMAGES_INSECURE_REGISTRIES"] = registry.host
        mixed.env["METAL9_IMAGES_BASE"] = f"{registry.host}/python:{{version}}"
        mixed.of = {kind: mixed.add_worker(pool=kind, METAL9_WORKER_RUNTIME=kind) for kind in ["native", *KINDS]}
        yield mixed


@pytest.fixture
def app(mixed, tmp_path):
    (tmp_path / "app").mkdir()
    return App(tmp_path / "app", mixed.config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_runs_in_the_image_that_it_names(app, registry, kind):
    done = app(WHERE.format(base=registry.base, kind=kind), within=180)
    assert done.code == 0, done
    print(done)
