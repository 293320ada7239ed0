"""Machines of their own on one network, each a network namespace behind a bridge at which this machine is."""

import os
import socketserver
import subprocess
import threading
from pathlib import Path
from typing import List, Sequence

# Of the networks that are set aside for measuring: those of documentation some machines really have.
NETWORK = "198.18.77"

# Whoever wants to begin something with the machine from outside is not heard, as behind most routers.
FENCE = """
table inet fence {
    chain input {
        type filter hook input priority 0; policy accept;
        iifname "lan0" ct state established,related accept
        iifname "lan0" drop
    }
}
"""

# The way to the world, for packages, is this machine's.
ROUTER = """
table inet {name} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {network}.0/24 oifname != {{ "lo", "{name}" }} masquerade
    }}
}}
"""

# What the kernel shows of networks is the machine's own, and so are the names of those that it makes. Of what the
# others have on the disk it sees nothing.
ENTER = """
set -e
echo "$0" > /proc/sys/kernel/hostname
mount --rbind /sys/fs/cgroup /mnt
mount -t sysfs sysfs /sys
mount --move /mnt /sys/fs/cgroup
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
while [ "$1" != "--" ]; do mount -t tmpfs tmpfs "$1"; shift; done
shift
exec "$@"
"""


class Host:
    """A machine that reaches others by the bridge, is reached by nobody, and has a disk of its own."""

    def __init__(self, name: str, namespace: str, address: str):
        self.name = name
        self.namespace = namespace
        self.address = address
        # Directories of others, which are not there for it.
        self.hidden: List[Path] = []

    @property
    def entrance(self) -> List[str]:
        """What a command is put behind so that it runs on the machine."""
        apart = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--uts"]
        return [*apart, "sh", "-c", ENTER, self.name, *map(str, self.hidden), "--"]


class Whom(socketserver.BaseRequestHandler):
    """Tells whoever connects which address that comes from."""

    def handle(self) -> None:
        self.request.sendall(self.client_address[0].encode())


class Lan:
    """The bridge and what is connected to it; this machine has the first address."""

    address = f"{NETWORK}.1"

    def __init__(self, names: Sequence[str]):
        self.bridge = f"m9lan{os.getpid()}"
        self.hosts = [
            Host(name, f"{self.bridge}-{name}", f"{NETWORK}.{number}") for number, name in enumerate(names, 2)
        ]

    def __enter__(self) -> "Lan":
        try:
            ip(f"link add {self.bridge} type bridge", f"addr add {self.address}/24 dev {self.bridge}")
            ip(f"link set {self.bridge} up")
            for number, host in enumerate(self.hosts):
                self._connect(host, f"m9l{number}p{os.getpid()}")
            nft(ROUTER.format(name=self.bridge, network=NETWORK))
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            self.mirror = socketserver.ThreadingTCPServer((self.address, 0), Whom)
            threading.Thread(target=self.mirror.serve_forever, daemon=True).start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if mirror := getattr(self, "mirror", None):
            mirror.shutdown()
            mirror.server_close()
        # Their ends of the cables go with the namespaces.
        for host in self.hosts:
            subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True)
        subprocess.run(["nft", "delete", "table", "inet", self.bridge], capture_output=True)
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True)

    def _connect(self, host: Host, port: str) -> None:
        ip(f"netns add {host.namespace}", f"link add {port} type veth peer name lan0 netns {host.namespace}")
        ip(f"link set {port} master {self.bridge}", f"link set {port} up")
        inside = f"-n {host.namespace}"
        ip(f"{inside} addr add {host.address}/24 dev lan0", f"{inside} link set lan0 up", f"{inside} link set lo up")
        ip(f"{inside} route add default via {self.address}")
        nft(FENCE, "ip", "netns", "exec", host.namespace)


def ip(*commands: str) -> None:
    """Runs `ip` with each of the commands."""
    for command in commands:
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {command}: {done.stderr}"


def nft(rules: str, *entrance: str) -> None:
    """Makes rules, in the network that the entrance leads to."""
    done = subprocess.run([*entrance, "nft", "-f", "-"], input=rules, capture_output=True, text=True)
    assert done.returncode == 0, f"nft: {done.stderr}"
