"""One gateway and workers of several kinds, each kind on a machine of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from beta9.clients.gateway import PoolConfig

from harness import App, Lan, Machines, SplitFleet, Volume, eventually, lan, serve

KINDS = ["native", "runc", "runsc"]

# The smallest first: what asks for nothing goes where the least room is left.
CORES = {"runsc": "1", "runc": "2", "native": "4"}

CODE = {
    "app.py": """
    import os, time

    def where():
        return os.uname().nodename

    def stay():
        print("HERE", os.uname().nodename, "STAYING", flush=True)
        time.sleep(600)

    def reach(targets):
        "Which of the addresses let one connect, all at once since nobody may answer; and from where."
        import select, socket
        waiting, reached = {}, []
        for target in targets:
            probe = socket.socket()
            probe.setblocking(False)
            probe.connect_ex(tuple(target))
            waiting[probe] = target
        until = time.monotonic() + 2
        while waiting and time.monotonic() < until:
            for probe in select.select([], list(waiting), [], 0.1)[1]:
                if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    reached.append(waiting[probe])
                del waiting[probe]
        return reached, os.uname().nodename
    """
}


@pytest.fixture(scope="module")
def mixed(fleet, tmp_path_factory):
    """A native worker beside the gateway, and one of runc and one of gVisor on other machines, which reach the gateway
    by the network, and nothing of it by the disk. The pool of gVisor's is for code that nobody trusts."""
    if os.geteuid() != 0:
        pytest.skip("only root can make containers and networks")
    root = tmp_path_factory.mktemp("mixed")
    settings = {"METAL9_GATEWAY_UNTRUSTED_POOLS": "strangers"}
    # As long as there is this file, no rules can be made on the machine of runc's.
    mixed_up = root / "mixed-up"
    nft = root / "programs" / "nft"
    nft.parent.mkdir()
    nft.write_text(f'#!/bin/sh\n[ -e {mixed_up} ] && echo no rules today >&2 && exit 1\nexec {shutil.which("nft")} "$@"\n')
    nft.chmod(0o755)
    with Lan(["runc", "runsc", "cloud"]) as lan, SplitFleet(
        root, workers=0, environments=fleet.environments, host=lan.address, **settings
    ) as mixed:
        # Jobs in user namespaces could not enter the directories of the tests.
        mixed.env.pop("METAL9_WORKER_WRITABLE", None)
        mixed.lan, mixed.of, mixed.mixed_up = lan, {}, mixed_up
        states = {kind: root / f"of-{kind}" for kind in KINDS}
        hosts = {host.name: host for host in lan.hosts if host.name in KINDS}
        for kind in KINDS:
            states[kind].mkdir()
        for kind in KINDS:
            entrance, programs = [], {}
            if kind == "runc":
                programs["PATH"] = f"{nft.parent}:{mixed.env['PATH']}"
            if host := hosts.get(kind):
                host.hidden = [root / "gateway", *(states[other] for other in KINDS if other != kind)]
                entrance = host.entrance
            mixed.of[kind] = mixed.join_worker(
                state=states[kind],
                pool="strangers" if kind == "runsc" else "default",
                entrance=entrance,
                METAL9_WORKER_RUNTIME=kind,
                METAL9_WORKER_CPU=CORES[kind],
                **programs,
            ).start()
        mixed.wait_for_workers(len(KINDS))
        mixed.hosts = {"native": socket.gethostname(), **{name: name for name in hosts}}
        mixed.machines = Machines(mixed, root)
        yield mixed


@pytest.fixture
def app(mixed, tmp_path):
    app = App(tmp_path, mixed.config)
    yield app
    app.close()


@pytest.fixture
def cordoned(mixed):
    """Cordons workers until the test ends."""
    workers = []

    def cordon(kind):
        workers.append(mixed.of[kind])
        mixed.machines.standing(mixed.of[kind], "cordon")

    yield cordon
    for worker in workers:
        mixed.machines.standing(worker, "uncordon")


def kind_of(mixed, name):
    """Which worker a job runs on, by the name that its machine has for it."""
    for kind, worker in mixed.of.items():
        if name.startswith(f"metal9-{worker.id[-12:]}"):
            return kind
    assert name == mixed.hosts["native"], name
    return "native"


def stub(mixed, name="where", pool="", runtime="", **fields):
    if pool:
        fields["pool"] = PoolConfig(name=pool)
    if runtime:
        fields["env"] = [f"METAL9_RUNTIME={runtime}"]
    return mixed.api.stub(CODE, f"app:{name}", **fields)


def end(mixed, *calls):
    for call in calls:
        mixed.api.cancel(call.task_id)
        mixed.api.wait(call.task_id)
        call.leave()


def test_each_worker_has_a_machine_of_its_own(mixed):
    workers = {worker["id"]: worker for worker in mixed.api.get("/api/v1/status").json()["workers"]}
    assert {kind: workers[mixed.of[kind].id]["hostname"] for kind in KINDS} == mixed.hosts
    assert {kind: workers[mixed.of[kind].id]["runtimes"] for kind in KINDS} == {kind: [kind] for kind in KINDS}
    for kind in ("runc", "runsc"):
        assert "own network" in workers[mixed.of[kind].id]["isolation"], workers
        identity = json.loads((mixed.of[kind].state / "worker.json").read_text())
        assert identity["gateway"] == mixed.grpc and mixed.grpc.startswith(mixed.lan.address)


def test_what_asks_for_nothing_goes_to_the_smallest_that_has_room(mixed):
    calls, seen = [], []
    for _ in range(3):
        calls.append(mixed.api.call(stub(mixed, "stay", cpu=1000, retries=0)).until("STAYING"))
        seen.append(kind_of(mixed, calls[-1].output.split("HERE ")[1].split()[0]))
    end(mixed, *calls)
    assert seen == ["runsc", "runc", "runc"]


PROGRAM = """
import json
from beta9 import Map, Volume, function

def look(text):
    import os, socket
    with socket.create_connection({mirror}, timeout=10) as connection:
        seen = connection.recv(100).decode()
    told, path = Map(name="told"), "./notes/note"
    before = told.get("by"), open(path).read() if os.path.exists(path) else None
    told.set("by", text)
    with open(path, "w") as file:
        file.write(text)
    return os.uname().nodename, seen, before, os.path.realpath("./notes")

notes = dict(volumes=[Volume(name="notes", mount_path="./notes")])

@function(env={{"METAL9_RUNTIME": "native"}}, **notes)
def natively():
    return look("native")

@function(pool="strangers", **notes)
def in_gvisor():
    return look("gvisor")

@function(pool="default", env={{"METAL9_RUNTIME": "runc"}}, **notes)
def in_runc():
    return look("runc")

if __name__ == "__main__":
    print(json.dumps([each.remote() for each in (natively, in_gvisor, in_runc)]))
"""


def test_a_program_has_functions_on_every_machine(mixed, app):
    """By pool and by runtime. All see the same files, and what they tell each other through the gateway."""
    seen = app(PROGRAM.format(mirror=mixed.lan.mirror.server_address)).json
    names, addresses, befores, places = zip(*seen)
    assert [kind_of(mixed, name) for name in names] == ["native", "runsc", "runc"]
    # What comes out of a container has the address of its machine.
    of = {host.name: host.address for host in mixed.lan.hosts}
    assert addresses == (mixed.lan.address, of["runsc"], of["runc"])
    assert befores == ([None, None], ["native"] * 2, ["gvisor"] * 2)
    # Beside the gateway it is the directory itself, and elsewhere a copy.
    volume = Volume(mixed.api, "notes")
    assert places[0] == str(mixed.root / "gateway/volumes" / volume.id)
    assert not any(place.startswith(str(mixed.root / "gateway")) for place in places[1:])
    assert volume.read("note") == b"runc"


ENDPOINT = """
from beta9 import endpoint

@endpoint(pool="default", env={"METAL9_RUNTIME": "runc"}, keep_warm_seconds=60)
def handler(name="nobody"):
    import os
    return {"hello": name, "from": os.uname().nodename}
"""


def test_an_endpoint_is_reached_on_a_machine_that_nobody_can_connect_to(mixed, app):
    served = serve(app, {"http": mixed.http, "token": mixed.facts["token"]}, ENDPOINT)
    answer = served.post(json={"name": "Ada"}).json()
    assert answer["hello"] == "Ada" and kind_of(mixed, answer["from"]) == "runc"


def test_a_cordoned_worker_leaves_its_work_to_the_others(mixed, cordoned):
    anywhere = stub(mixed, pool="default")
    cordoned("native")
    assert kind_of(mixed, mixed.api.call(anywhere).value) == "runc"
    cordoned("runc")
    waits = mixed.api.call(anywhere).until("cordoned")
    mixed.machines.standing(mixed.of["native"], "uncordon")
    assert kind_of(mixed, waits.value) == "native"


def test_a_call_goes_on_elsewhere_when_its_worker_is_drained(mixed, cordoned):
    cordoned("native")
    call = mixed.api.call(stub(mixed, "stay", pool="default", retries=0)).until("STAYING")
    mixed.machines.standing(mixed.of["native"], "uncordon")
    cordoned("runc")
    mixed.machines.standing(mixed.of["runc"], "drain", deadline_seconds=0)
    call.until("STAYING", times=2)
    places = [kind_of(mixed, part.split()[0]) for part in call.output.split("HERE ")[1:]]
    assert places == ["runc", "native"]
    end(mixed, call)


@pytest.mark.parametrize(
    "wish, sentence",
    [
        ({"pool": "default", "runtime": "runsc"}, 'needs runtime "runsc"; 2 workers of pool "default" have native or runc'),
        ({"pool": "strangers"}, "the only worker that can run it is cordoned"),
        ({"runtime": "runc"}, "the only worker that can run it is cordoned"),
    ],
)
def test_what_no_worker_takes_waits_and_says_why(mixed, cordoned, wish, sentence):
    """Code that nobody trusts has no second choice, and neither has a function that names its runtime."""
    for kind in ("runc", "runsc"):
        cordoned(kind)
    end(mixed, mixed.api.call(stub(mixed, **wish)).until(sentence))


LISTEN = """
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for port in sys.argv[1:]:
    waiting.register(socket.create_server(("0.0.0.0", int(port))), selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in waiting.select():
        key.fileobj.accept()[0].close()
"""


@contextmanager
def listening(namespace, *ports):
    """A program on another machine that accepts whoever connects to these ports."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", LISTEN, *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"listening\n"
            yield
        finally:
            server.kill()


def nft(namespace, *words):
    return subprocess.run(["ip", "netns", "exec", namespace, "nft", *words], capture_output=True, text=True)


def test_where_clouds_tell_secrets_no_container_gets(mixed):
    """At addresses that a machine on the network has, and that the worker's machine does reach."""
    hosts = {host.name: host for host in mixed.lan.hosts}
    runc, cloud = hosts["runc"], hosts["cloud"]
    secret = ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]
    assert nft(cloud.namespace, "flush", "ruleset").returncode == 0
    for address in secret:
        lan.ip(f"-n {cloud.namespace} addr add {address}/32 dev lan0")
        lan.ip(f"-n {runc.namespace} route add {address}/32 via {cloud.address}")
    open_ports = [(address, 80) for address in [cloud.address, *secret]]
    # Azure answers there for names, too.
    names = ("168.63.129.16", 53)
    with listening(cloud.namespace, 53, 80):
        direct = "import socket, sys; socket.create_connection((sys.argv[1], 80), timeout=10)"
        for address in secret:
            command = ["ip", "netns", "exec", runc.namespace, sys.executable, "-c", direct, address]
            assert subprocess.run(command).returncode == 0, address
        reach = stub(mixed, "reach", pool="default", runtime="runc")
        reached, _ = mixed.api.call(reach, [*open_ports, names]).value
    assert sorted(reached) == sorted([(cloud.address, 80), names])


def test_rules_that_another_program_takes_away_come_back(mixed):
    """As a firewall's that is loaded again; for containers that run, too. Without rules nothing begins."""
    [runc] = [host for host in mixed.lan.hosts if host.name == "runc"]
    here, port = runc.address, 7100
    beyond = mixed.lan.mirror.server_address
    reach = stub(mixed, "reach", pool="default", runtime="runc", keep_warm_seconds=60)
    rules = nft(runc.namespace, "list", "table", "inet", "metal9").stdout
    assert "drop" in rules
    try:
        with listening(runc.namespace, port):
            reached, name = mixed.api.call(reach, [(here, port), beyond]).value
            assert reached == [beyond]
            assert nft(runc.namespace, "flush", "ruleset").returncode == 0
            listed = lambda: nft(runc.namespace, "list", "table", "inet", "metal9").stdout
            eventually(listed, lambda now: now == rules, what="the rules are there again")
            assert mixed.api.call(reach, [(here, port), beyond]).value == (reached, name)
            # A rule more or less is none of the rules, either.
            assert nft(runc.namespace, "flush", "chain", "inet", "metal9", "input").returncode == 0
            eventually(listed, lambda now: now == rules, what="the chain is as it was")
        mixed.mixed_up.touch()
        assert nft(runc.namespace, "flush", "ruleset").returncode == 0
        other = mixed.api.stub({**CODE, "other": ""}, "app:where", pool=PoolConfig(name="default"), env=["METAL9_RUNTIME=runc"], retries=0)
        failed = mixed.api.call(other).finish()
        assert failed.exit_code != 0
        assert "could not be kept from its worker's machine" in failed.output + mixed.api.task(failed.task_id)["failure_reason"]
    finally:
        mixed.mixed_up.unlink(missing_ok=True)
        lan.nft(lan.FENCE, "ip", "netns", "exec", runc.namespace)
    eventually(listed, lambda now: now == rules, what="the rules are there when they can be")
    assert mixed.api.call(other).value
