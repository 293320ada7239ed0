"""The same jobs as processes of the machine, in containers of runc, and in gVisor."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from beta9.clients.gateway import PoolConfig

from harness import DevFleet, eventually, processes
from test_isolation import ATTACKER, WORKED, listener, outside, refused  # noqa: F401

RUNTIMES = ["native", "runc", "runsc"]

PROGRAM = {
    "app.py": """
    import os, resource, signal, subprocess, sys, time

    def give(value):
        return value

    def both():
        print("out: grüße ☃", flush=True)
        print("err: grüße ☃", file=sys.stderr, flush=True)

    def flood(lines):
        for number in range(lines):
            print(f"{number:08}", "x" * 90)

    def leave(code):
        os._exit(code)

    def ask():
        return sys.stdin.read(), subprocess.run(["cat"], capture_output=True).stdout

    def exit(code):
        sys.exit(code)

    def die(number):
        os.kill(os.getpid(), number)
        time.sleep(60)

    def fail():
        raise ValueError("such is life")

    def environment():
        return dict(os.environ), os.getcwd(), os.listdir("/proc/self/fd"), resource.getrlimit(resource.RLIMIT_CORE)

    def eat(mib):
        block = bytearray(mib << 20)
        for at in range(0, len(block), 4096):
            block[at] = 1
        return len(block)

    def fork(most):
        pids = []
        try:
            for _ in range(most):
                pid = os.fork()
                if pid == 0:
                    time.sleep(100)
                    os._exit(0)
                pids.append(pid)
        except OSError as error:
            return len(pids), type(error).__name__
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        return len(pids), None

    def clock():
        before = time.time()
        try:
            time.clock_settime(time.CLOCK_REALTIME, 1)
        except OSError as error:
            return type(error).__name__, time.time() - before < 10
        return "set", False

    def stray(seconds):
        subprocess.Popen(["sh", "-c", f"setsid sleep {seconds} & echo started"], start_new_session=True).wait()

    def sleepers(seconds):
        # Asked inside, since what is in gVisor is nothing outside.
        found = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                found += open(f"/proc/{pid}/cmdline", "rb").read() == f"sleep\\0{seconds}\\0".encode()
            except OSError:
                pass
        return found

    def peer(host, port):
        import socket
        with socket.create_connection((host, port), timeout=10) as connection:
            return connection.recv(100).decode()

    def datagram(host):
        import socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 53))
            try:
                probe.send(b"?")
            except OSError as error:
                return type(error).__name__
            # Of one that is let go nothing is heard, or that nobody listens there.
            probe.settimeout(1)
            try:
                probe.recv(1)
            except ConnectionRefusedError:
                return "sent"
            except OSError as error:
                return type(error).__name__

    def listen():
        import socket
        with socket.create_server(("0.0.0.0", 7001)) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("198.51.100.2", 9))
                print(f"at <{probe.getsockname()[0]}>", flush=True)
            time.sleep(600)

    def stay():
        print("here", flush=True)
        time.sleep(600)

    def where():
        return os.listdir("/"), os.uname().nodename, os.getuid()

    def write(directory):
        "Which of the directory and those below take a file, and how they are mounted."
        taken = []
        for place, _, _ in os.walk(directory):
            try:
                open(f"{place}/mine", "w").close()
                taken.append(place)
            except OSError:
                pass
        mounts = [line.split() for line in open("/proc/self/mountinfo")]
        return taken, {words[4]: words[5].split(",") for words in mounts if words[4].startswith(directory)}

    def keep(name):
        path = f"/tmp/{name}"
        there = os.path.exists(path)
        open(path, "w").close()
        return there
    """
}


@pytest.fixture(scope="module", params=RUNTIMES)
def place(request, fleet, registry):
    """`metal9 dev` whose worker makes containers like this; environments are built once."""
    runtime = request.param
    if runtime != "native" and os.geteuid() != 0:
        pytest.skip("only root can make containers")
    # Not among the directories of the tests, which jobs may write, and not in a `/tmp`.
    root = Path(tempfile.mkdtemp(prefix=f".e2e-{runtime}-", dir="/home"))
    state = root / "state"
    (state / "worker").mkdir(parents=True)
    # Users of containers have to get to what jobs may read.
    root.chmod(0o711)
    # A directory that jobs may read, with another file system below, which anybody may write.
    readable, below = root / "readable", root / "readable/plain/below"
    below.mkdir(parents=True)
    readable.chmod(0o777)
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777", "tmpfs", below], check=True)
    (state / "worker" / "env").symlink_to(fleet.environments)
    dev = DevFleet(
        state,
        METAL9_WORKER_RUNTIME=runtime,
        METAL9_WORKER_PIDS="200",
        METAL9_WORKER_READABLE=str(readable),
        METAL9_IMAGES_INSECURE_REGISTRIES=registry.host,
    )
    dev.daemon.env.pop("METAL9_WORKER_WRITABLE", None)
    dev.runtime, dev.readable, dev.below = runtime, readable, below
    dev.stubs = {}
    try:
        dev.start()
        yield dev
        dev.stop()
    finally:
        if dev.daemon.running:
            dev.daemon.kill()
        if below.is_mount():
            subprocess.run(["umount", below], check=True)
        shutil.rmtree(root)


def call(place, name, *arguments, **fields):
    """Calls a function of the program."""
    key = (name, tuple(sorted(fields.items())))
    if key not in place.stubs:
        place.stubs[key] = place.api.stub(PROGRAM, f"app:{name}", **fields)
    return place.api.call(place.stubs[key], *arguments)


def test_the_worker_says_what_makes_its_containers(place):
    [worker] = place.api.get("/api/v1/status").json()["workers"]
    expected = {"native": "landlock", "runc": ", user namespace, own network", "runsc": "runsc "}
    assert expected[place.runtime] in worker["isolation"]


@pytest.mark.parametrize("value", [7, None, "grüße ☃ \0", b"\xff\x00", {"a": [1, 2.5]}, "x" * 3_000_000])
def test_values_come_back_as_they_went(place, value):
    assert call(place, "give", value).value == value


def test_what_is_written_arrives(place):
    done = call(place, "both").finish()
    assert "out: grüße ☃" in done.output and "err: grüße ☃" in done.output


def test_nobody_answers_a_job_that_asks(place):
    assert call(place, "ask").value == ("", b"")


def test_all_of_a_flood_arrives(place):
    lines = 0
    stub = place.api.stub(PROGRAM, "app:flood")
    for piece in place.api.call(stub, 50_000).pieces():
        lines += piece.count("\n")
    assert lines >= 50_000


def test_an_exception_is_told(place):
    done = call(place, "fail").finish()
    assert done.exit_code == 1 and "ValueError: such is life" in done.output


@pytest.mark.parametrize("name", ["leave", "exit"])
def test_exit_codes_are_told(place, name):
    done = call(place, name, 7).finish()
    assert done.exit_code != 0
    if name == "leave":
        assert "exited with code 7" in place.api.task(done.task_id)["failure_reason"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_signals_are_told(place, number):
    done = call(place, "die", int(number)).finish()
    assert done.exit_code == 128 + number
    assert f"killed by signal {number.value} ({number.name})" in place.api.task(done.task_id)["failure_reason"]


def test_the_environment_is_the_jobs_own(place):
    variables, directory, descriptors, core = call(place, "environment").value
    assert variables["HOME"] != os.path.expanduser("~")
    assert Path(variables["HOME"]).name == "home" and Path(directory).name == "code"
    assert {name for name in variables if name.startswith("METAL9_")} == {"METAL9_DEVICES"}
    assert core == (0, 0)
    # The three that every program has, the worker's, the pipes of what is written, and this listing.
    assert len(descriptors) < 12


def test_memory_that_was_not_asked_for_is_refused_by_name(place):
    assert call(place, "eat", 64, memory=256).value == 64 << 20
    done = call(place, "eat", 2048, memory=256).finish()
    assert done.exit_code != 0
    assert "memory" in place.api.task(done.task_id)["failure_reason"]


def test_a_fork_bomb_is_held(place):
    forked = call(place, "fork", 1000, memory=2048)
    if place.runtime == "runsc":
        # gVisor itself needs a thread for what is started, and ends where it gets none.
        assert forked.finish().exit_code != 0
        assert "limit of 200 processes" in forked.output
    else:
        started, error = forked.value
        assert started < 200 and error == "BlockingIOError"
    assert call(place, "give", "well").value == "well"


def test_the_clock_is_everybodys(place):
    assert call(place, "clock").value == ("PermissionError", True)


def test_what_a_call_leaves_behind_is_gone(place):
    seconds = 4000 + RUNTIMES.index(place.runtime)
    stub = place.api.stub(
        {"app.py": PROGRAM["app.py"] + "\n    def both_of(what, seconds):\n        return stray(seconds) if what else sleepers(seconds)\n"},
        "app:both_of",
    )
    place.api.call(stub, True, seconds).finish()
    assert place.api.call(stub, False, seconds).value == 0
    sleeping = [seen for seen in processes.mentioning(place.state) if str(seconds) in str(seen)]
    assert not sleeping


def test_a_call_is_stopped_where_it_is(place):
    running = call(place, "stay").until("here")
    place.api.cancel(running.task_id)
    assert place.api.wait(running.task_id) == "CANCELLED"
    running.leave()


def test_a_call_is_held_to_its_time(place):
    stub = place.api.stub(PROGRAM, "app:stay", timeout=1)
    done = place.api.call(stub).finish()
    assert place.api.status(done.task_id) == "TIMEOUT"


def test_a_container_that_is_killed_while_it_starts_leaves_nothing(place):
    """Many at a time, given up as soon as one of them has something on the disk."""
    begun = lambda: {path.stem for path in (place.state / "worker/containers").iterdir() if path.stem.isdigit()}
    stubs = [place.api.stub({**PROGRAM, "n.txt": str(n)}, "app:stay") for n in range(4)]
    before = begun()
    calls = [place.api.call(stub, headless=True) for stub in stubs]
    new = eventually(lambda: begun() - before, what="a container begins")
    for running in calls:
        place.api.cancel(running.task_id)
    for running in calls:
        assert place.api.wait(running.task_id) == "CANCELLED"
        running.leave()
    eventually(lambda: begun() & new, lambda left: not left, what="nothing of it is left")
    assert call(place, "give", 1).value == 1


def test_a_job_has_a_tmp_of_its_own(place):
    first = place.api.stub({**PROGRAM, "a": ""}, "app:keep")
    second = place.api.stub({**PROGRAM, "b": ""}, "app:keep")
    assert place.api.call(first, "mine").value is False
    assert place.api.call(second, "mine").value is False


def test_what_may_be_read_is_not_written_whatever_is_mounted_below(place):
    taken, mounts = call(place, "write", str(place.readable)).value
    assert taken == []
    assert place.runtime == "runsc" or str(place.below) in mounts
    for options in mounts.values():
        assert "ro" in options, mounts
        assert place.runtime != "runc" or {"nosuid", "nodev"} <= set(options), mounts


def test_a_container_has_a_name_and_a_root_of_its_own(place):
    names, host, user = call(place, "where").value
    assert "work" not in names and "usr" in names
    if place.runtime != "native":
        assert host != socket.gethostname() and host.startswith("metal9-")
        assert user == 0


def test_a_job_can_do_what_programs_do(place):
    stub = place.api.stub(ATTACKER, "app:work")
    assert place.api.call(stub).value == WORKED


def test_block_network_leaves_a_job_its_own_loopback(place, listener):  # noqa: F811
    targets = outside(place, listener)
    stub = place.api.stub(ATTACKER, "app:reach", block_network=True)
    outcomes, _, _ = place.api.call(stub, targets).value
    assert outcomes["interfaces"] == ["lo"]
    assert refused(outcomes) == list(targets)
    assert outcomes["own loopback"] == outcomes["own IPv6 loopback"] == "connected"


@pytest.fixture(scope="module")
def beyond():
    """A machine on another network than this one's, which says whom it sees."""
    if os.geteuid() != 0:
        pytest.skip("only root can make networks")
    name, link = f"m9t{os.getpid()}", f"m9t{os.getpid()}"
    inside = f"addr add {BEYOND[0]}/24 dev eth0\naddr add {NEIGHBOUR[0]}/24 dev eth0\nlink set eth0 up\nlink set lo up\n"
    try:
        for words in (
            f"netns add {name}",
            f"link add {link} type veth peer name eth0 netns {name}",
            f"addr add {HERE}/24 dev {link}",
            f"link set {link} up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run(["ip", "-n", name, "-batch", "-"], input=inside, text=True, check=True)
        server = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", ECHO, str(BEYOND[1])], stdout=subprocess.PIPE
        )
        assert server.stdout.readline() == b"listening\n"
        yield BEYOND
        server.kill()
        server.wait()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


# Addresses for documentation, which no network has.
HERE, BEYOND, NEIGHBOUR = "198.51.100.1", ("198.51.100.2", 7000), ("198.51.100.3", 7000)
ECHO = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as server:
    print("listening", flush=True)
    while True:
        connection, (peer, _) = server.accept()
        connection.sendall(peer.encode())
        connection.close()
"""


def test_the_network_of_a_job(place, beyond, listener):  # noqa: F811
    """A container reaches the world and the gateway, and nothing of the machine or of its neighbours."""
    targets = {"beyond": beyond, "a port of the machine": listener, "by another address": (HERE, listener[1])}
    targets["where clouds tell secrets"] = ("169.254.169.254", 80)
    outcomes, host, port = place.api.call(place.api.stub(ATTACKER, "app:reach"), targets).value
    assert outcomes["beyond"] == "connected"
    if place.runtime == "native":
        assert outcomes["a port of the machine"] == "connected"
        return
    assert refused(outcomes) == [name for name in targets if name != "beyond"]
    assert (host, str(port)) != tuple(place.facts["grpc"].rsplit(":", 1)), "there is no relay"
    asked = place.api.call(place.api.stub(ATTACKER, "app:ask_gateway")).value
    assert asked[:2] == ("connected", 200)
    assert call(place, "peer", *beyond).value == HERE, "the address is not translated"


def test_a_job_is_held_to_its_allow_list(place, beyond, listener):  # noqa: F811
    """Of what a container may reach at all, and by a spare process as by one that is started for it."""
    stub = place.api.stub(ATTACKER, "app:reach", allow_list=[beyond[0]])
    if place.runtime == "native":
        waits = place.api.call(stub, {}).until("waiting: the function has an `allow_list`")
        place.api.cancel(waits.task_id)
        waits.leave()
        return
    assert call(place, "peer", *NEIGHBOUR).value == HERE, "nobody is there"
    targets = {"beyond": beyond, "its neighbour": NEIGHBOUR, "elsewhere": ("192.0.2.1", 80)}
    outcomes, _, _ = place.api.call(stub, targets).value
    assert outcomes["beyond"] == "connected"
    # At once, rather than after a time without an answer.
    assert outcomes["its neighbour"] == outcomes["elsewhere"] == "ConnectionRefusedError", outcomes
    assert outcomes["own loopback"] == "connected"
    wide = place.api.stub(ATTACKER, "app:reach", allow_list=["0.0.0.0/0", "::/0"])
    targets |= {
        "a port of the machine": listener,
        "by another address": (HERE, listener[1]),
        "where clouds tell secrets": ("169.254.169.254", 80),
    }
    outcomes, _, _ = place.api.call(wide, targets).value
    assert outcomes["beyond"] == outcomes["its neighbour"] == "connected"
    assert set(refused(outcomes)) == set(targets) - {"beyond", "its neighbour"}
    # The way to the gateway is the worker's, and no part of the list.
    asking = place.api.stub(ATTACKER, "app:ask_gateway", allow_list=["192.0.2.0/24"])
    assert place.api.call(asking).value[:2] == ("connected", 200)
    assert call(place, "peer", *NEIGHBOUR).value == HERE, "the list is anothers', too"


def test_names_are_not_looked_up_beside_a_list(place, beyond):
    """What is asked of a resolver leaves the machine, so only one on the list is asked."""
    if place.runtime == "native":
        return
    stub = place.api.stub(PROGRAM, "app:datagram", allow_list=[beyond[0]])
    sent, refused_ = place.api.call(stub, beyond[0]).value, place.api.call(stub, NEIGHBOUR[0]).value
    assert sent == "sent" and refused_ != "sent", (sent, refused_)


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"allow_list": ["api.example.com"]}, "`api.example.com` in `allow_list` is no address"),
        ({"allow_list": ["10.0.0.0/99"]}, "`10.0.0.0/99` in `allow_list` is no address"),
        ({"allow_list": ["169.254.169.254/32"]}, "link-local network, which no job reaches"),
        ({"allow_list": [f"10.0.0.{n}" for n in range(65)]}, "has 65 entries, and may have 64"),
        ({"allow_list": ["10.0.0.1"], "block_network": True}, "leave one of them out"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(fleet, fields, told):
    answer = fleet.api.try_stub(fleet.api.upload(PROGRAM), "app:give", **fields)
    assert not answer.ok and told in answer.err_msg, answer


def test_containers_do_not_reach_each_other(place):
    if place.runtime == "native":
        return
    # Output may come in pieces, so what is waited for is its end.
    server = call(place, "listen").until(">")
    address = server.output.split("<")[1].split(">")[0]
    outcomes, _, _ = place.api.call(place.api.stub(ATTACKER, "app:reach"), {"neighbour": (address, 7001)}).value
    place.api.cancel(server.task_id)
    server.leave()
    assert refused(outcomes) == ["neighbour"]


# What a container's own machinery shows of itself.
OWN = {"see other processes", "list the state directory", "list the other containers"}


def test_a_job_gets_at_nothing_that_is_not_its_own(place):
    """The attempts of test_isolation, which knows more of what is around a native job."""
    attempt_everything(place)


def test_a_job_in_an_image_gets_at_nothing_either(place, registry):
    if place.runtime == "native":
        return
    image = place.api.image(python_version="python3.11", existing_image_uri=registry.base)
    attempt_everything(place, image_id=image)


def attempt_everything(place, **fields):
    """Everything that the attacker tries is refused, but for what docs/security.md lists."""
    state, api = place.state, place.api
    victim = call(place, "stay").until("here")
    shims = [pid for pid in processes.children(place.worker_pid) if processes.is_shim(pid)]
    theirs = [child for pid in shims for child in processes.children(pid)]
    targets = {
        "worker": place.worker_pid,
        "shim": shims[0],
        "victim": theirs[0],
        "abstract": "metal9-nobody",
        "socket": str(state / "worker" / "nobody"),
        "secrets": {
            "the gateway's key": str(state / "gateway" / "secret.key"),
            "the gateway's database": str(state / "gateway" / "state.db"),
            "the worker's credential": str(state / "worker" / "worker.json"),
        },
        "directories": {
            "the state directory": str(state),
            "the gateway's state": str(state / "gateway"),
            "the other containers": str(state / "worker" / "containers"),
            "the code cache": str(state / "worker" / "code"),
        },
    }
    before = {path: Path(path).stat() for path in targets["secrets"].values()}
    stub = api.stub(ATTACKER, "app:escape", **fields)
    outcomes, status, effective = api.call(stub, targets).value
    api.cancel(victim.task_id)
    victim.leave()
    # The first process of a container is its own.
    own = () if place.runtime == "native" else ("of the init", "the init")
    done = {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome.startswith("DONE") and not name.endswith(own)
    }
    surprising = {name: outcome for name, outcome in done.items() if name not in OWN | INSIDE[place.runtime]}
    assert not surprising, "\n".join(map(str, surprising.items()))
    assert len(outcomes) > 120
    for path, was in before.items():
        now = Path(path).stat()
        assert (now.st_mode, now.st_uid, now.st_nlink) == (was.st_mode, was.st_uid, was.st_nlink), path
    capabilities = {line.split(":")[0]: int(line.split(":")[1], 16) for line in status}
    assert all(value == 0 for name, value in capabilities.items() if name.startswith("Cap")), capabilities
    assert int(effective, 16) == 0, "a program that the job executes gets capabilities"


# What works inside because it is the container's own, which docs/security.md lists: of gVisor most of all, whose
# kernel nobody else uses.
INSIDE = {
    "native": set(),
    "runc": {"write /proc/self/oom_score_adj"},
    "runsc": {
        "write into /dev",
        "write /dev/kmsg",
        "write /dev/mem",
        "priority of the user's processes",
        "make a mount namespace",
        "clone into a user namespace",
        "read the kernel's log",
    },
}


def test_nothing_is_left_on_the_machine(place):
    """Neither mounts nor cgroups nor networks, whatever has run before."""
    def left():
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place.state) in line]
        [worker] = place.api.get("/api/v1/status").json()["workers"]
        running = {path.name for path in (place.state / "worker" / "containers").iterdir()}
        prefix = f"metal9-{worker['id'][-12:]}-"
        groups = [
            str(path)
            for path in Path("/sys/fs/cgroup").glob(f"*/{prefix}*")
            if path.name[len(prefix):] not in running
        ]
        spaces = Path("/run/netns").iterdir() if Path("/run/netns").exists() else ()
        names = [path.name for path in spaces if path.name.startswith(prefix)]
        return mounts + groups + [name for name in names if name[len(prefix):] not in running]

    eventually(left, lambda found: not found, what="nothing is left", within=30)
