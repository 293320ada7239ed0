"""What `metal9 selftest` runs as jobs. Each says what it found as one line of JSON after `MARK`."""

import http.client
import json
import os
import socket
import sys
import time

MARK = "metal9-selftest: "


def say(**facts):
    print(MARK + json.dumps(facts), flush=True)


def hello(name):
    say(python=sys.version.split()[0], directory=os.getcwd(), name=name)
    return "hello " + name


def stream(seconds):
    """Says something, and something else later: the first must not wait for the second."""
    say(part=1)
    time.sleep(seconds)
    say(part=2)


def hold(file):
    """Leaves a file in its own directory and stays until it is ended."""
    with open(file, "w") as own:
        own.write("another job's own")
    say(pid=os.getpid(), directory=os.getcwd())
    while True:
        time.sleep(60)


def reach(files, directories, name):
    """Tries to read files, to see them in their directories, and to leave a file in directories."""
    reached = []
    for path in files:
        try:
            with open(path, "rb") as file:
                file.read(1)
            reached.append("read " + path)
        except OSError:
            pass
        try:
            # The way to what a job may use shows, with nothing else in it.
            if os.path.basename(path) in os.listdir(os.path.dirname(path)):
                reached.append("see " + path)
        except OSError:
            pass
    for path in directories:
        # Whether it is there is for others to say: a job has a /tmp of its own, and so what is below it.
        try:
            with open(os.path.join(path, name), "x"):
                pass
        except OSError:
            pass
    say(reached=reached)


def connect(host, port):
    """Tries to connect, and says how that went."""
    try:
        with socket.create_connection((host, port), timeout=5):
            say(connected=True)
    except OSError as error:
        say(connected=False, error=str(error))


def hog(mebibytes):
    """Uses memory, a mebibyte at a time, and says so if nobody minds."""
    held = []
    for _ in range(mebibytes):
        held.append(bytearray(os.urandom(1) * (1 << 20)))
    say(used=len(held))


def dial(tcp, udp, name):
    """Tries to reach the gateway, and everything else that is given."""
    facts = {}
    host, port = (os.environ["BETA9_GATEWAY_" + which + "_HTTP"] for which in ("HOST", "PORT"))
    try:
        gateway = http.client.HTTPConnection(host, int(port), timeout=10)
        gateway.request("GET", "/")
        gateway.getresponse()
    except (OSError, http.client.HTTPException) as error:
        facts["unreached"] = "%s port %s: %r" % (host, port, error)
    reached = []
    for host, port in tcp:
        try:
            socket.create_connection((host, port), timeout=5).close()
            reached.append("connect to %s port %s" % (host, port))
        except OSError:
            pass
    # Whether this arrives is for the other end to say.
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"from a job", (udp[0], udp[1]))
    except OSError:
        pass
    if name:
        try:
            socket.getaddrinfo(name, 443)
            reached.append("look up " + name)
        except OSError:
            pass
    say(reached=reached, **facts)


def scatter(stay):
    """Leaves processes that nobody is the parent of, in sessions of their own or of one that died."""
    pids = []
    for early in (False, True):
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            if early:
                os.setsid()
            if os.fork() != 0:
                os._exit(0)
            if not early:
                os.setsid()
            os.write(writing, b"%d\n" % os.getpid())
            while True:
                time.sleep(60)
        os.waitpid(between, 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            pids.append(int(pipe.readline()))
    say(pids=pids)
    while stay:
        time.sleep(60)


def mlx_hog(mebibytes):
    """Uses memory by MLX's buffers, which are the GPU's if there is one."""
    import mlx.core as mx

    held = []
    for at in range(0, mebibytes, 32):
        try:
            held.append(mx.full((32, 1 << 18), float(at), dtype=mx.float32))
            mx.eval(held[-1])
        except RuntimeError as error:
            return say(used=32 * (len(held) - 1), refused=str(error).splitlines()[0])
    say(used=32 * len(held))


def torch_hog(mebibytes):
    """The same by PyTorch's on the GPU."""
    import torch

    held = []
    for at in range(0, mebibytes, 32):
        try:
            held.append(torch.full((32, 1 << 18), float(at), device="mps"))
            torch.mps.synchronize()
        except RuntimeError as error:
            return say(used=32 * len(held), refused=str(error).splitlines()[0])
    say(used=32 * len(held))


def mlx_matmul(size):
    """Multiplies matrices on MLX's best device and on the processor, and compares."""
    import mlx.core as mx

    metal = getattr(mx, "metal", None)
    gpu = bool(metal and metal.is_available())
    a, b = (mx.random.uniform(shape=(size, size), key=mx.random.key(seed)) for seed in (1, 2))
    expected = mx.matmul(a, b, stream=mx.cpu)
    mx.eval(a, b, expected)
    device = mx.gpu if gpu else mx.cpu
    mx.eval(mx.matmul(a, b, stream=device))
    begun = time.perf_counter()
    found = mx.matmul(a, b, stream=device)
    mx.eval(found)
    took = time.perf_counter() - begun
    off = float(mx.max(mx.abs(found - expected) / mx.abs(expected)))
    name = str(mx.device_info().get("device_name", "")) if gpu else ""
    say(device="gpu" if gpu else "cpu", name=name, off=off, seconds=took, library="mlx " + mx.__version__)


def torch_matmul(size):
    """The same with PyTorch."""
    import torch

    gpu = torch.backends.mps.is_available()
    device = torch.device("mps" if gpu else "cpu")
    torch.manual_seed(1)
    a, b = torch.rand(size, size), torch.rand(size, size)
    expected = a @ b
    there = a.to(device), b.to(device)
    (there[0] @ there[1]).cpu()
    begun = time.perf_counter()
    found = (there[0] @ there[1]).cpu()
    took = time.perf_counter() - begun
    off = float(((found - expected).abs() / expected.abs()).max())
    say(device="gpu" if gpu else "cpu", name="", off=off, seconds=took, library="torch " + torch.__version__)
