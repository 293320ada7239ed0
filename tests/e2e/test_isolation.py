"""Jobs that try to get at what is not theirs, and jobs that need what any program needs."""

import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from beta9.clients.gateway import PoolConfig

from harness import Daemon, eventually, processes
from harness.fleet import system_environment

VICTIM = {
    "app.py": """
    import os

    def hold(gate):
        with open("own.txt", "w") as file:
            file.write("the victim's own")
        with open("/tmp/hidden.txt", "w") as file:
            file.write("the victim's own")
        print("pid", os.getpid(), "in", os.getcwd(), flush=True)
        open(gate).read()
    """
}

ATTACKER = {
    "app.py": """
    import ctypes, fcntl, glob, os, platform, pwd, signal, socket, stat, subprocess, sys
    from multiprocessing import Process, shared_memory

    libc = ctypes.CDLL(None, use_errno=True)
    X86 = platform.machine() == "x86_64"

    def c(function, *arguments):
        if function(*arguments) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return "no error"

    def call(x86_64, aarch64, *arguments):
        return c(libc.syscall, x86_64 if X86 else aarch64, *arguments)

    def read(path):
        with open(path, "rb") as file:
            return file.read(64)

    def write(path):
        "Opens it for writing, and leaves it as it is in case that works."
        with open(path, "ab"):
            return "opened"

    def plant(directory):
        with open(directory + "/planted", "x"):
            return "planted"

    def change(path):
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
        return "changed"

    def signal_to(pid):
        return lambda: os.kill(pid, signal.SIGCONT) or "signalled"

    def linked(link, path):
        def attempt():
            name = f"link-{abs(hash((link, path)))}"
            link(path, name)
            return read(name)
        return attempt

    def connect(family, address):
        with socket.socket(family) as to:
            to.settimeout(5)
            to.connect(address)
        return "connected"

    def escape(t):
        worker, shim, victim = t["worker"], t["shim"], t["victim"]
        attempts = {}
        for name, path in t["secrets"].items():
            attempts[f"read {name}"] = lambda path=path: read(path)
            attempts[f"read {name} by /proc/self/root"] = lambda path=path: read("/proc/self/root" + path)
            attempts[f"read {name} by /proc/1/root"] = lambda path=path: read("/proc/1/root" + path)
            attempts[f"read {name} by a symbolic link"] = linked(os.symlink, path)
            attempts[f"read {name} by a hard link"] = linked(os.link, path)
            attempts[f"write {name}"] = lambda path=path: write(path)
            attempts[f"chmod {name}"] = lambda path=path: change(path)
            attempts[f"chown {name}"] = lambda path=path: os.chown(path, os.getuid(), os.getgid()) or "changed"
            attempts[f"move {name}"] = lambda path=path: os.rename(path, path) or "moved"
        for name, path in t["directories"].items():
            attempts[f"list {name}"] = lambda path=path: os.listdir(path)
            attempts[f"write into {name}"] = lambda path=path: plant(path)
            attempts[f"chmod {name}"] = lambda path=path: change(path)
        base = os.path.realpath(sys.executable)
        library = os.path.dirname(os.__file__)
        import beta9
        for path in [base, os.__file__, beta9.__file__, "/usr/bin/env", "/etc/passwd", "/etc/hosts"]:
            attempts[f"write {path}"] = lambda path=path: write(path)
            attempts[f"chmod {path}"] = lambda path=path: change(path)
            attempts[f"touch {path}"] = lambda path=path: os.utime(path) or "changed"
            attempts[f"move {path}"] = lambda path=path: os.rename(path, path) or "moved"
        for path in [sys.prefix, library, os.path.dirname(beta9.__file__), "/", "/usr", "/etc", "/dev", "/var", "/run"]:
            attempts[f"write into {path}"] = lambda path=path: plant(path)
        for path in ["/etc/shadow", "/etc/sudoers", "/etc/ssh/sshd_config", "/root/.ssh", "/proc/kcore"]:
            attempts[f"read {path}"] = lambda path=path: read(path)
        for path in ["/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern",
                     "/sys/kernel/uevent_helper", "/proc/self/oom_score_adj", "/dev/kmsg", "/dev/mem"]:
            attempts[f"write {path}"] = lambda path=path: write(path)
        for path in glob.glob("/sys/fs/cgroup/*/tasks") + glob.glob("/sys/fs/cgroup/cgroup.procs"):
            attempts[f"write {path}"] = lambda path=path: write(path)

        for name, pid in [("worker", worker), ("supervisor", shim), ("victim", victim), ("init", 1)]:
            attempts[f"signal the {name}"] = signal_to(pid)
            for file in ["environ", "mem", "maps", "root/etc/passwd", "cwd/own.txt", "fd/0"]:
                attempts[f"read {file} of the {name}"] = lambda pid=pid, file=file: read(f"/proc/{pid}/{file}")
            attempts[f"trace the {name}"] = lambda pid=pid: c(libc.ptrace, 16, pid, 0, 0)
            attempts[f"limits of the {name}"] = lambda pid=pid: call(
                302, 261, pid, 7, None, (ctypes.c_ulong * 2)())
            buffer = ctypes.create_string_buffer(8)
            iov = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
            attempts[f"read memory of the {name}"] = lambda pid=pid: call(310, 270, pid, iov, 1, iov, 1, 0)
            attempts[f"take a descriptor of the {name}"] = lambda pid=pid: call(438, 438, os.pidfd_open(pid), 0, 0)
            attempts[f"enter the namespaces of the {name}"] = lambda pid=pid: c(libc.setns, os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), 0)
        attempts["priority of the user's processes"] = lambda: c(libc.setpriority, 2, 0, 0)

        attempts["mount"] = lambda: c(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None)
        attempts["unmount"] = lambda: c(libc.umount2, b"/proc", 2)
        attempts["make a user namespace"] = lambda: c(libc.unshare, 0x10000000)
        attempts["make a mount namespace"] = lambda: c(libc.unshare, 0x00020000)
        attempts["clone into a user namespace"] = lambda: call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)
        attempts["clone3"] = lambda: call(435, 435, 0, 0)
        attempts["chroot"] = lambda: os.chroot("/tmp") or "changed"
        attempts["pivot_root"] = lambda: call(155, 41, b"/tmp", b"/tmp")
        attempts["open a tree"] = lambda: call(428, 428, -100, b"/", 1)
        attempts["make a device"] = lambda: os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)) or "made"
        attempts["open the disk"] = lambda: [read(path) for path in glob.glob("/dev/[vs]d?")] or read("/dev/vda")
        attempts["add a key"] = lambda: call(248, 217, b"user", b"name", b"x", 1, -4)
        attempts["read a keyring"] = lambda: call(250, 219, 0, -4, 0)
        attempts["load a program into the kernel"] = lambda: call(321, 280, 0, 0, 0)
        attempts["measure the kernel"] = lambda: call(298, 241, 0, 0, -1, -1, 0)
        attempts["io_uring"] = lambda: call(425, 425, 1, 0)
        attempts["userfaultfd"] = lambda: call(323, 282, 0)
        attempts["open by handle"] = lambda: call(304, 265, 0, 0, 0)
        attempts["set the clock"] = lambda: call(227, 112, 0, (ctypes.c_long * 2)(1, 1))
        attempts["set the host's name"] = lambda: socket.sethostname("mine") or "changed"
        attempts["become another user"] = lambda: os.setuid(1) or f"now {os.getuid()}"
        attempts["read the kernel's log"] = lambda: call(103, 116, 3, ctypes.create_string_buffer(64), 64)
        attempts["type into the terminal"] = lambda: fcntl.ioctl(0, 0x5412, b"x")
        attempts["raw socket"] = lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and "made"
        attempts["packet socket"] = lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and "made"
        attempts["vsock"] = lambda: socket.socket(40, socket.SOCK_STREAM) and "made"
        attempts["abstract socket of another process"] = lambda: connect(socket.AF_UNIX, "\\0" + t["abstract"])
        attempts["socket file of another process"] = lambda: connect(socket.AF_UNIX, t["socket"])
        attempts["an inherited descriptor"] = lambda: {
            fd: os.readlink(f"/proc/self/fd/{fd}") for fd in map(int, os.listdir("/proc/self/fd"))
            if not os.readlink(f"/proc/self/fd/{fd}").startswith(("pipe:", "socket:", "/dev/null", "anon_inode:", f"/proc/{os.getpid()}/fd"))
        }
        attempts["another job's /tmp"] = lambda: read("/tmp/hidden.txt")
        attempts["see other processes"] = lambda: [
            pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) in (1, worker, shim, victim)]

        outcomes = {}
        for name, attempt in attempts.items():
            try:
                outcomes[name] = attempt()
            except Exception as error:
                outcomes[name] = error.__class__.__name__
            else:
                # Empty means that there was nothing to be had.
                outcomes[name] = f"DONE: {outcomes[name]!r}" if outcomes[name] else "nothing"
        capabilities = [line for line in open("/proc/self/status") if line.startswith(("Cap", "NoNewPrivs", "Seccomp:"))]
        sudo = subprocess.run(["sh", "-c", "grep CapEff /proc/self/status"], capture_output=True, text=True)
        return outcomes, capabilities, sudo.stdout.split()[-1]

    def work():
        "What any program may do."
        import concurrent.futures, multiprocessing, sqlite3, ssl, tempfile, threading
        done = {}
        with multiprocessing.Pool(2) as pool:
            done["pool"] = pool.map(abs, [-1, -2])
        block = shared_memory.SharedMemory(create=True, size=4096)
        block.buf[0] = 7
        done["shared memory"] = block.buf[0]
        block.close(); block.unlink()
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            done["threads"] = list(threads.map(abs, [-3]))
        for place in [None, "/tmp", "/var/tmp", "/dev/shm"]:
            with tempfile.NamedTemporaryFile(dir=place) as file:
                file.write(b"x")
        open(os.path.expanduser("~/.config"), "w").close()
        open("made-here", "w").close()
        os.mkdir("deep"); os.rename("made-here", "deep/made-here")
        with open("script.sh", "w") as file:
            file.write("#!/bin/sh\\necho ran")
        os.chmod("script.sh", 0o755)
        done["script"] = subprocess.run(["./script.sh"], capture_output=True, text=True).stdout
        done["shell"] = subprocess.run("ls / | wc -l; id -un", shell=True, capture_output=True, text=True).returncode
        done["sqlite"] = sqlite3.connect("data.db").execute("select 1").fetchone()[0]
        done["certificates"] = len(ssl.create_default_context().get_ca_certs()) > 10
        done["user"] = bool(pwd.getpwuid(os.getuid()).pw_name)
        done["localhost"] = bool(socket.getaddrinfo("localhost", 80))
        with socket.create_server(("127.0.0.1", 0)) as server:
            done["loopback"] = connect(socket.AF_INET, server.getsockname())
        tracee = subprocess.Popen(["sleep", "100"])
        done["trace"] = c(libc.ptrace, 16, tracee.pid, 0, 0)
        os.waitpid(tracee.pid, 0)
        c(libc.ptrace, 17, tracee.pid, 0, 0)
        tracee.kill(); tracee.wait()
        return done

    def reach(targets):
        outcomes = {"interfaces": [name for _, name in socket.if_nameindex()]}
        for name, address in targets.items():
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            try:
                outcomes[name] = connect(family, tuple(address))
            except OSError as error:
                outcomes[name] = error.__class__.__name__
        with socket.create_server(("127.0.0.1", 0)) as server:
            outcomes["own loopback"] = connect(socket.AF_INET, server.getsockname())
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            outcomes["own IPv6 loopback"] = connect(socket.AF_INET6, server.getsockname()[:2])
        return outcomes, os.environ["BETA9_GATEWAY_HOST"], int(os.environ["BETA9_GATEWAY_PORT"])

    def ask_gateway():
        import urllib.request
        host, port = os.environ["BETA9_GATEWAY_HOST_HTTP"], os.environ["BETA9_GATEWAY_PORT_HTTP"]
        request = urllib.request.Request(
            f"http://{host}:{port}/api/v1/workspace/current",
            headers={"Authorization": "Bearer " + os.environ["BETA9_TOKEN"]})
        own = urllib.request.urlopen(request, timeout=10).status
        grpc = os.environ["BETA9_GATEWAY_HOST"], int(os.environ["BETA9_GATEWAY_PORT"])
        return connect(socket.AF_INET, grpc), own, [name for _, name in socket.if_nameindex()]

    def leave():
        "Processes that try to stay."
        daemon = subprocess.Popen(
            ["sh", "-c", "setsid sleep 1000 & echo $!"], stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        return os.getpid(), int(daemon.stdout.readline())
    """
}


@pytest.fixture(scope="module")
def attacker(fleet):
    return {name: fleet.api.stub(ATTACKER, f"app:{name}") for name in ["escape", "work", "leave"]}


@pytest.fixture
def targets(fleet, tmp_path):
    """What an attacker is after."""
    with prey(fleet, tmp_path) as found:
        yield found


@contextmanager
def prey(fleet, gates):
    """Secrets of the system, another job, a process of the worker's user. A job may write `gates`."""
    api = fleet.api
    owner = fleet.state.stat()
    home = fleet.state.parent / "worker-users-home"
    key = home / ".ssh" / "id_ed25519"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("private")
    gate = gates / "gate"
    os.mkfifo(gate)
    call = api.call(api.stub(VICTIM, "app:hold"), str(gate)).until("in /")
    victim, directory = call.output.split("pid ")[1].split("\n")[0].split(" in ")
    [shim] = [processes.parent(int(victim))]
    abstract, path = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    abstract.bind("\0metal9-" + str(os.getpid()))
    path.bind(str(home / "socket"))
    for theirs in [home, key.parent, key, home / "socket", gate]:
        os.chown(theirs, owner.st_uid, owner.st_gid)
    for listener in (abstract, path):
        listener.listen()
    state = fleet.state
    yield {
        "worker": fleet.worker_pid,
        "shim": shim,
        "victim": int(victim),
        "abstract": "metal9-" + str(os.getpid()),
        "socket": str(home / "socket"),
        "secrets": {
            "the gateway's key": str(state / "gateway" / "secret.key"),
            "the gateway's database": str(state / "gateway" / "state.db"),
            "the worker's credential": str(state / "worker" / "worker.json"),
            "a key in the home of the worker's user": str(key),
            "another job's file": str(Path(directory) / "own.txt"),
        },
        "directories": {
            "the state directory": str(state),
            "the gateway's state": str(state / "gateway"),
            "the other containers": str(state / "worker" / "containers"),
            "the other job's directory": directory,
            "the code cache": str(state / "worker" / "code"),
            "the package cache": str(state / "worker" / "env" / "uv-cache"),
            "the home of the worker's user": str(home),
        },
    }
    gate.write_text("go")
    call.finish()
    for listener in (abstract, path):
        listener.close()
    (home / "socket").unlink()
    gate.unlink()


# The directories above the job's own are there, with nothing else in them.
HARMLESS = {"list the state directory", "list the other containers"}


def test_a_job_gets_at_nothing_that_is_not_its_own(api, attacker, targets):
    attack_in_vain(api, attacker["escape"], targets)


def attack_in_vain(api, escape, targets, known=frozenset()):
    """Makes every attempt; none may succeed, but for those that are `known` and documented."""
    before = {path: Path(path).stat() for path in targets["secrets"].values()}
    modes = {path: Path(path).stat().st_mode for path in targets["directories"].values()}
    outcomes, status, effective = api.call(escape, targets).value
    done = {name: outcome for name, outcome in outcomes.items() if outcome.startswith("DONE")}
    assert not set(done) - HARMLESS - known, done
    assert known <= set(done), "the documentation promises less than is kept"
    assert done["list the state directory"] == "DONE: ['worker']"
    own = done["list the other containers"]
    assert own.count("'") == 2, f"it sees more than its own container: {own}"
    assert len(outcomes) > 150
    # Whatever it did in its own walls: outside nothing has changed.
    for path, was in before.items():
        now = Path(path).stat()
        assert (now.st_mode, now.st_uid, now.st_nlink) == (was.st_mode, was.st_uid, was.st_nlink), path
    for path, mode in modes.items():
        assert Path(path).stat().st_mode == mode, path
        assert not (Path(path) / "planted").exists(), path
    for line in status:
        name, value = line.split(":")
        assert int(value, 16) == {"NoNewPrivs": 1, "Seccomp": 2}.get(name, 0), line
    assert int(effective, 16) == 0, "a program that the job executes gets capabilities"


def test_a_job_can_do_what_programs_do(api, attacker):
    assert api.call(attacker["work"]).value == WORKED


WORKED = {
    "pool": [1, 2],
    "shared memory": 7,
    "threads": [3],
    "script": "ran\n",
    "shell": 0,
    "sqlite": 1,
    "certificates": True,
    "user": True,
    "localhost": True,
    "loopback": "connected",
    "trace": "no error",
}


def test_what_an_isolated_call_leaves_behind_is_gone(api, attacker):
    _, daemon = api.call(attacker["leave"]).value
    eventually(lambda: processes.living([daemon]), lambda left: not left, what="the daemon is gone")


@pytest.fixture
def listener():
    """A port of this machine that accepts whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=_accept, args=[server], daemon=True)
        accepting.start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


def _accept(server):
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        pass


def outside(fleet, listener):
    host, port = fleet.facts["grpc"].rsplit(":", 1)
    return {
        "the gateway": (host, int(port)),
        "a port of the machine": listener,
        "elsewhere": ("192.0.2.1", 80),
        "elsewhere by IPv6": ("2001:db8::1", 80),
    }


def refused(outcomes):
    return [name for name, outcome in outcomes.items() if "Error" in outcome]


def test_block_network_leaves_a_job_its_own_loopback(api, fleet, listener):
    targets = outside(fleet, listener)
    open_stub = api.stub(ATTACKER, "app:reach")
    outcomes, _, _ = api.call(open_stub, {"a port of the machine": listener}).value
    assert outcomes["a port of the machine"] == "connected"
    blocked = api.stub(ATTACKER, "app:reach", block_network=True)
    outcomes, _, _ = api.call(blocked, targets).value
    assert outcomes["interfaces"] == ["lo"]
    assert refused(outcomes) == list(targets)
    assert outcomes["own loopback"] == outcomes["own IPv6 loopback"] == "connected"


def test_block_network_and_a_callback_exclude_each_other(api):
    refused = api.try_stub(
        api.upload(ATTACKER), "app:reach", block_network=True, callback_url="http://a.example"
    )
    assert not refused.ok and "callbacks are sent by the function's own process" in refused.err_msg


@pytest.fixture(scope="module")
def relaying(fleet, tmp_path_factory):
    """A second worker, whose jobs reach the gateway only, in a pool of its own."""
    root = tmp_path_factory.mktemp("relaying")
    answer = requests.post(
        f"http://{fleet.facts['http']}/api/v1/worker/join-tokens",
        json={"pool": "relayed", "ttl_seconds": 60, "single_use": True},
        headers={"Authorization": f"Bearer {fleet.facts['token']}"},
        timeout=10,
    )
    env = {**system_environment(), "METAL9_WORKER_NETWORK": "gateway-only"}
    state, log = root / "state", root / "log"
    state.mkdir()
    # Environments are built once.
    (state / "env").symlink_to(fleet.state / "worker" / "env")
    arguments = [fleet.facts["grpc"], "--token", answer.json()["token"], "--state", str(state)]
    join = Daemon("join", ["worker", "join", *arguments], log, env).start()
    assert join.process.wait(30) == 0, join.tail()
    worker = Daemon("worker", ["worker", "run", "--state", str(state)], log, env).start()
    workers = lambda: fleet.api.get("/api/v1/status").json()["workers"]
    eventually(workers, lambda all: any(w["pool"] == "relayed" and w["connected"] for w in all), what="it is there", within=30)
    yield "relayed"
    worker.stop()


def test_a_worker_can_let_jobs_reach_the_gateway_only(api, fleet, listener, relaying):
    targets = outside(fleet, listener)
    stub = api.stub(ATTACKER, "app:reach", pool=PoolConfig(name=relaying))
    outcomes, host, port = api.call(stub, targets).value
    assert outcomes["interfaces"] == ["lo"]
    assert refused(outcomes) == list(targets)
    assert (host, port) != targets["the gateway"]
    asked = api.stub(ATTACKER, "app:ask_gateway", pool=PoolConfig(name=relaying))
    assert api.call(asked).value == ("connected", 200, ["lo"])
    # The stricter of the worker's and the stub's policy counts, also after a spare was made.
    blocked = api.stub(ATTACKER, "app:reach", pool=PoolConfig(name=relaying), block_network=True)
    outcomes, _, port = api.call(blocked, {"the gateway": targets["the gateway"]}).value
    assert refused(outcomes) == ["the gateway"]
    assert int(port) == targets["the gateway"][1], "there is no relay"


def test_the_worker_says_how_it_isolates_jobs(fleet):
    [worker] = [
        worker
        for worker in fleet.api.get("/api/v1/status").json()["workers"]
        if worker["pool"] == "default"
    ]
    assert "landlock" in worker["isolation"] and "seccomp" in worker["isolation"]
