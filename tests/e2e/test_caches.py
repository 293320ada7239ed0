"""What a worker keeps for the next call goes when there is no room, but not from under a running one."""

import pytest

from harness import App, SplitFleet, eventually
from harness.code import HELLO, WAITING


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    """A worker without room for anything that no call uses just now."""
    with SplitFleet(
        tmp_path_factory.mktemp("poor"),
        METAL9_WORKER_CACHE_MIB="0",
        METAL9_WORKER_CACHE_CHECK_SECONDS="1",
    ) as fleet:
        yield fleet


def kept(worker, kind):
    """Names in a cache of a worker."""
    directory = worker.state / kind
    if not directory.exists():
        return set()
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def test_what_no_call_uses_is_removed_and_what_a_running_one_does_stays(poor, tmp_path):
    [worker] = poor.workers
    api = poor.api
    gate = App(tmp_path, poor.config).gate()
    running = api.call(api.stub(WAITING, "app:wait"), str(gate)).until("in")
    environments = kept(worker, "env/envs")
    assert len(environments) == 1

    def no_code():
        eventually(lambda: not kept(worker, "code"), what="unused code is removed", within=30)

    # Its container has a copy.
    no_code()
    assert api.call(api.stub(HELLO, "app:hello", keep_warm_seconds=0)).value == 1
    no_code()
    # So the round before is over, environments included.
    assert kept(worker, "env/envs") == environments, "a running call stands on it"
    gate.open()
    assert running.value == 5

    # Nothing is held at a start.
    worker.stop()
    worker.start()
    poor.wait_for_workers(1)
    eventually(lambda: not kept(worker, "env/envs"), what="the environment is removed", within=30)
