"""Fixtures: one running system for all tests, programs to run against it, raw clients."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Iterator, List

# Both are read when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.pop("CONTAINER_ID", None)
# A shell that runs this in the background makes it ignore Ctrl-C, and its programs with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from harness import (
    IMAGE_ENV,
    Api,
    App,
    DevFleet,
    Layer,
    Registry,
    SplitFleet,
    let_jobs_write,
    python_layer,
    second_workspace,
)

WARM_UP = """
from beta9 import function

@function()
def hello():
    return "hello"

if __name__ == "__main__":
    assert hello.remote() == "hello"
"""


@pytest.fixture(scope="session", autouse=True)
def gates(tmp_path_factory) -> None:
    """Functions may stand at the tests' gates and leave signs of what they did."""
    let_jobs_write(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def fleet(gates, tmp_path_factory) -> Iterator[DevFleet]:
    """The system, started once; its default environment is built."""
    # Not below what jobs may write, nor in `/tmp`, which is each job's own.
    place = Path(tempfile.mkdtemp(prefix=".e2e-", dir=Path.home()))
    fleet = DevFleet(place / "state")
    try:
        fleet.start()
        app = App(tmp_path_factory.mktemp("warm-up"), fleet.config)
        # The first call of all builds the default environment, which downloads packages.
        done = app(WARM_UP, within=240)
        assert done.code == 0, f"{done!r}\n{fleet.daemon.tail()}"
    except AssertionError as error:
        if fleet.daemon.running:
            fleet.daemon.kill()
        # Without the system no test can say anything.
        pytest.exit(f"the system does not start: {error}", returncode=1)
    yield fleet
    try:
        fleet.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def app(fleet: DevFleet, tmp_path: Path) -> Iterator[App]:
    """Runs users' programs: `app(source, files=…)` or `app.start(…)`."""
    app = App(tmp_path, fleet.config)
    yield app
    app.close()


@pytest.fixture(scope="module")
def shared_app(fleet: DevFleet, tmp_path_factory) -> Iterator[App]:
    """The same for fixtures that run one program for several tests."""
    app = App(tmp_path_factory.mktemp("shared"), fleet.config)
    yield app
    app.close()


@pytest.fixture
def api(fleet: DevFleet) -> Api:
    """A raw client of the system."""
    return fleet.api


@pytest.fixture(scope="module")
def split_fleet(fleet: DevFleet, tmp_path_factory) -> Iterator[SplitFleet]:
    """A gateway and a worker as separate processes, which this module's tests may kill."""
    with SplitFleet(
        tmp_path_factory.mktemp("split"),
        environments=fleet.environments,
        METAL9_GATEWAY_WORKER_SUSPECT_SECONDS="1",
        METAL9_GATEWAY_WORKER_LOST_SECONDS="3",
        METAL9_GATEWAY_CLIENT_GRACE_SECONDS="1",
    ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Iterator[SplitFleet]:
    """A gateway of the module's own, without workers."""
    with SplitFleet(tmp_path_factory.mktemp("alone"), workers=0) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def devices(fleet: DevFleet, tmp_path_factory) -> Iterator[SplitFleet]:
    """A gateway of the module's own that accepts simulated devices, and one worker without any."""
    with SplitFleet(
        tmp_path_factory.mktemp("devices"),
        environments=fleet.environments,
        METAL9_GATEWAY_ALLOW_SIMULATED_DEVICES="true",
    ) as split:
        yield split


@pytest.fixture
def split(split_fleet: SplitFleet, request) -> SplitFleet:
    """The separate gateway and worker, running."""
    request.node.stash[LOGS] = split_fleet.logs
    split_fleet.restore()
    return split_fleet


@pytest.fixture(scope="module")
def stranger(split_fleet: SplitFleet) -> Iterator[Api]:
    """A raw client of another workspace of the separate gateway."""
    split_fleet.gateway.stop()
    token = second_workspace(split_fleet)
    split_fleet.restore()
    other = Api(split_fleet.grpc, split_fleet.http, token)
    yield other
    other.close()


@pytest.fixture
def split_app(split: SplitFleet, tmp_path: Path) -> Iterator[App]:
    """Runs users' programs against the separate gateway."""
    app = App(tmp_path, split.config)
    yield app
    app.close()


LOGS = pytest.StashKey()


@pytest.fixture(autouse=True)
def quiet_logs(fleet: DevFleet, request) -> Iterator[None]:
    """The system neither panics nor logs errors while a test runs."""
    start = fleet.daemon.size()
    request.node.stash.setdefault(LOGS, lambda: fleet.daemon.text(start)[-12000:])
    yield
    if not fleet.daemon.running:
        pytest.exit(f"the system ended during {request.node.name}:\n{fleet.daemon.tail()}", 1)
    mark = request.node.get_closest_marker("logs_errors")
    complaints = fleet.daemon.complaints(start, allowed=mark.args[0] if mark else "")
    assert not complaints, "the system complained:\n" + "\n".join(complaints)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the system logged during a test that failed."""
    report = yield
    if report.failed and LOGS in item.stash:
        report.sections.append(("what the system logged", item.stash[LOGS]()))
    return report


@pytest.fixture(scope="session")
def python_image() -> List[bytes]:
    """The layers of an image with a Python."""
    extra = Layer().write("etc/made-for", "the tests\n").write("etc/.wh.gone", "")
    return [python_layer(), Layer().write("etc/gone", "").packed(), extra.packed()]


@pytest.fixture(scope="session")
def registry(python_image) -> Iterator[Registry]:
    """A registry with that image, which it calls `base`."""
    with Registry() as registry:
        registry.base = registry.put("python", python_image, IMAGE_ENV, tag="3.11")
        yield registry
