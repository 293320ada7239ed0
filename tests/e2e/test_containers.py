"""Workers that make containers: what they take, serve and leave. Fleets of several machines are in
`test_mixed_fleet.py`."""

import os
import signal
from pathlib import Path

import pytest
from beta9.clients.gateway import PoolConfig

from harness import App, SplitFleet, eventually, processes, serve
from test_isolation import ATTACKER, listener, outside, refused  # noqa: F401

KINDS = ["native", "runc", "runsc"]

PROGRAM = {
    "app.py": """
    import os, time

    def where(*_):
        return os.uname().nodename, os.getpid()

    def stay():
        print("here", flush=True)
        time.sleep(600)
    """
}


@pytest.fixture(scope="module")
def mixed(fleet, tmp_path_factory):
    """One gateway, and three workers in pools that are called as what makes their containers."""
    if os.geteuid() != 0:
        pytest.skip("only root can make containers")
    root = tmp_path_factory.mktemp("mixed")
    settings = {"METAL9_GATEWAY_UNTRUSTED_POOLS": "runsc, strangers"}
    with SplitFleet(root, workers=0, environments=fleet.environments, **settings) as mixed:
        # Jobs in user namespaces could not enter the directories of the tests.
        mixed.env.pop("METAL9_WORKER_WRITABLE", None)
        mixed.of = {
            kind: mixed.add_worker(pool=kind, METAL9_WORKER_RUNTIME=kind) for kind in KINDS
        }
        yield mixed


def stub(mixed, name, kind, **fields):
    return mixed.api.stub(PROGRAM, f"app:{name}", pool=PoolConfig(name=kind), **fields)


def test_a_function_is_never_isolated_by_less_than_it_asks_for(mixed):
    asks = stub(mixed, "where", "native", env=["METAL9_RUNTIME=runsc"])
    sentence = 'waiting: needs runtime "runsc"; 1 worker of pool "native" has native'
    waits = mixed.api.call(asks).until(sentence)
    told = mixed.api.get(f"/api/v1/task/{mixed.api.workspace}/{waits.task_id}/explain").json()
    assert told["sentence"] == sentence and '1 worker: without runtime "runsc"' in told["detail"]
    mixed.api.cancel(waits.task_id)
    waits.leave()


@pytest.mark.parametrize(
    "pool, runtime, told",
    [
        ("native", "docker", "`docker` in METAL9_RUNTIME is no runtime"),
        ("strangers", "runc", "functions of pool `strangers` run in gVisor (runsc) only"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused(mixed, pool, runtime, told):
    code, fields = mixed.api.upload(PROGRAM), {"env": [f"METAL9_RUNTIME={runtime}"]}
    answer = mixed.api.try_stub(code, "app:where", pool=PoolConfig(name=pool), **fields)
    assert not answer.ok and told in answer.err_msg


def test_what_nobody_trusts_runs_in_gvisor_only(mixed):
    """Workers with anything else are not let into the pool, and its functions go to no other."""
    waits = mixed.api.call(stub(mixed, "where", "strangers")).until('pool "strangers" has no workers')
    weak = mixed.join_worker(pool="strangers", METAL9_WORKER_RUNTIME="runc")
    weak.start()
    refusal = "is for code that nobody trusts"
    eventually(weak.log.read_text, lambda text: refusal in text and "this one has runc" in text, what="it is refused", within=30)
    assert not mixed.is_connected(weak)
    weak.stop()
    mixed.workers.remove(weak)
    strong = mixed.add_worker(pool="strangers", METAL9_WORKER_RUNTIME="runsc")
    assert strong.id[-12:] in waits.value[0]
    workers = mixed.api.get("/api/v1/status").json()["workers"]
    untrusted = {worker["pool"] for worker in workers if worker["untrusted"]}
    assert untrusted == {"runsc", "strangers"}
    mixed.remove_worker(strong)


@pytest.fixture
def without_rules(mixed, tmp_path):
    """A search path on which `nft` is one that fails."""
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\necho no rules today >&2\nexit 1\n")
    nft.chmod(0o755)
    return f"{tmp_path}:{mixed.env['PATH']}"


def test_what_nobody_trusts_does_not_share_a_machines_network(mixed, without_rules):
    weak = mixed.join_worker(pool="strangers", METAL9_WORKER_RUNTIME="runsc", PATH=without_rules).start()
    refusal = "containers of this worker have no networks of their own"
    eventually(weak.log.read_text, lambda text: refusal in text, what="it is refused", within=30)
    assert not mixed.is_connected(weak)
    weak.stop()
    mixed.workers.remove(weak)


def test_what_containers_lack_is_told_and_can_be_required(mixed, without_rules):
    worker = mixed.add_worker(METAL9_WORKER_RUNTIME="runc", PATH=without_rules)
    workers = mixed.api.get("/api/v1/status").json()["workers"]
    [notes] = [each["machine"]["notes"] for each in workers if each["id"] == worker.id]
    gap = "containers share the machine's network and reach its ports"
    assert any(note.startswith(gap) and "`ip` failed: no rules today" in note for note in notes), notes
    mixed.remove_worker(worker)
    worker.env["METAL9_WORKER_ISOLATION"] = "required"
    begun = worker.size()
    worker.start()
    assert worker.process.wait(30) != 0
    told = worker.text(begun)
    assert 'isolation = "required" cannot be met on this machine' in told and gap in told, told


@pytest.mark.parametrize("kind", ["runc", "runsc"])
def test_a_worker_that_is_killed_leaves_nothing(mixed, kind):
    """Not even where its supervisors are killed with it."""
    running = mixed.api.call(stub(mixed, "stay", kind, retries=0)).until("here")
    worker = mixed.of[kind]
    shims, prefix = worker.shims(), f"metal9-{worker.id[-12:]}-"
    below = [pid for shim in shims for pid in processes.children(shim)]
    assert below and networks(prefix)
    for pid in [worker.pid, *shims]:
        os.kill(pid, signal.SIGSTOP)
    for pid in [*shims, worker.pid]:
        os.kill(pid, signal.SIGKILL)
    worker.process.wait(10)
    running.leave()
    worker.start()
    eventually(lambda: mixed.is_connected(worker), what="it is back", within=30)
    assert not processes.living(below)
    # The one that it tries at its start goes a moment later.
    eventually(lambda: networks(prefix) - alive(worker, prefix), lambda left: not left, what="networks are gone")
    groups = {path.name for path in Path("/sys/fs/cgroup").glob(f"*/{prefix}*")}
    assert groups <= alive(worker, prefix)
    assert mixed.api.call(stub(mixed, "where", kind)).value


def networks(prefix):
    found = Path("/run/netns").iterdir() if Path("/run/netns").exists() else []
    return {path.name for path in found if path.name.startswith(prefix)}


def alive(worker, prefix):
    """What containers and spares that are there now are called."""
    return {prefix + path.name for path in (worker.state / "containers").iterdir()}


@pytest.fixture(scope="module", params=["runc", "runsc"])
def narrow(request, mixed):
    """A worker in a pool of its own, whose containers reach the gateway only and have no more of the processor than they asked for."""
    worker = mixed.add_worker(
        pool=f"narrow-{request.param}",
        METAL9_WORKER_RUNTIME=request.param,
        METAL9_WORKER_NETWORK="gateway-only",
        METAL9_WORKER_CPU_LIMIT_PERCENT="100",
    )
    worker.pool = PoolConfig(name=f"narrow-{request.param}")
    yield worker
    mixed.remove_worker(worker)


def test_a_worker_can_let_containers_reach_the_gateway_only(mixed, narrow, listener):  # noqa: F811
    targets = outside(mixed, listener)
    outcomes, host, port = mixed.api.call(mixed.api.stub(ATTACKER, "app:reach", pool=narrow.pool), targets).value
    assert outcomes["interfaces"] == ["lo"] and outcomes["own loopback"] == "connected"
    assert refused(outcomes) == list(targets)
    assert (host, port) != targets["the gateway"], "there is no relay"
    asked = mixed.api.stub(ATTACKER, "app:ask_gateway", pool=narrow.pool)
    assert mixed.api.call(asked).value == ("connected", 200, ["lo"])


def test_a_container_has_no_more_of_the_processor_than_it_may(mixed, narrow):
    """Nor has what makes it: all of gVisor is in the group."""
    running = mixed.api.call(mixed.api.stub(PROGRAM, "app:stay", pool=narrow.pool, cpu=250, retries=0)).until("here")
    [pids] = [below for shim in narrow.shims() if any(map(is_held, below := list(descendants(shim))))]
    assert all(map(is_held, pids)), pids
    mixed.api.cancel(running.task_id)
    mixed.api.wait(running.task_id)
    running.leave()


def descendants(pid):
    for child in processes.children(pid):
        yield child
        yield from descendants(child)


def is_held(pid):
    """Whether a process is in a group, or below one, that has a quarter of a processor at the most."""
    groups = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, kinds, group in groups:
        name = "cpu.cfs_quota_us" if "cpu" in kinds.split(",") else "cpu.max"
        for root in Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir():
            place = root / group.strip("/")
            for above in place, *place.parents:
                limit = above / name
                if limit.is_file() and limit.read_text().split()[0] == "25000":
                    return True
    return False


ENDPOINT = """
from beta9 import endpoint

@endpoint(pool="{pool}", keep_warm_seconds=60)
def handler(name="nobody"):
    return {{"hello": name}}
"""


@pytest.fixture
def app(mixed, tmp_path):
    app = App(tmp_path, mixed.config)
    yield app
    app.close()


def test_an_endpoint_is_served_out_of_a_container(mixed, app):
    facts = {"http": mixed.http, "token": mixed.facts["token"]}
    served = serve(app, facts, ENDPOINT.format(pool="runc"))
    assert served.post(json={"name": "Ada"}).json() == {"hello": "Ada"}


def test_what_gvisor_cannot_serve_is_refused_by_name(mixed, app):
    """Sockets come out of gVisor since May 2023; Debian's is older."""
    facts = {"http": mixed.http, "token": mixed.facts["token"]}
    served = serve(app, facts, ENDPOINT.format(pool="runsc"))
    answer = served.post(json={})
    workers = mixed.api.get("/api/v1/status").json()["workers"]
    [isolation] = [worker["isolation"] for worker in workers if worker["pool"] == "runsc"]
    if "runsc 0.0" in isolation:
        assert answer.status_code >= 500
        assert "lets no socket out" in answer.text
    else:
        assert answer.json() == {"hello": "nobody"}


VOLUME = """
from beta9 import function, Volume

@function(pool="{pool}", volumes=[Volume(name="notes", mount_path="./notes")])
def note(text):
    import os
    path = "./notes/note"
    before = open(path).read() if os.path.exists(path) else None
    with open(path, "w") as file:
        file.write(text)
    return before

if __name__ == "__main__":
    print("BEFORE", note.remote("{pool}"))
"""


def test_a_volume_is_the_same_whatever_the_job_is_in(mixed, app):
    seen = []
    for kind in KINDS:
        done = app(VOLUME.format(pool=kind))
        assert done.code == 0, done
        seen.append(done.stdout.split("BEFORE ")[1].split()[0])
    assert seen == ["None", "native", "runc"]


def test_settings_that_contradict_each_other_are_refused(fleet, tmp_path_factory):
    root = tmp_path_factory.mktemp("refused")
    with SplitFleet(root, workers=0, environments=fleet.environments) as refused:
        worker = refused.join_worker(METAL9_WORKER_RUNTIME="runc", METAL9_WORKER_ISOLATION="off")
        worker.start()
        assert worker.process.wait(30) != 0
        told = worker.log.read_text()
        assert 'runtime = "runc" cannot be met' in told and 'isolation = "off"' in told
        refused.workers.remove(worker)
