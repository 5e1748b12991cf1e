"""A fresh network for each measurement: namespaces that end with the harness, and the link between the two ends.

The client's end is always the kernel. The subject's end is the kernel behind another namespace (veth), the same
one (loopback), or a program behind a TUN device. Nothing here touches the machine's own network.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEVICE = "b0"
QUEUE_LENGTH = 10_000
"""Frames: a TUN queue holds 500 unless told, which many parallel senders overflow."""

CLIENT_ADDRESS = "10.9.0.1"
SUBJECT_ADDRESS = "10.9.0.2"
CLIENT_ADDRESS6 = "fd09::1"
SUBJECT_ADDRESS6 = "fd09::2"


class Link(Enum):
    """What lies between the client and the subject."""

    LOOPBACK = "loopback"
    VETH = "veth"
    VETH_PLAIN = "veth, offloads off"
    TUN = "tun"
    TUN_OFFLOAD = "tun, offload"


class Namespace:
    """A network namespace, alive as long as its keeper: a `cat` that waits for the end of our pipe."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"\n":
            raise OSError("no network namespace: run as root, or allow user namespaces")
        self.run("ip", "link", "set", "lo", "up")
        self.sysctl("net.ipv4.ip_local_port_range", "1024 65535")

    @property
    def pid(self) -> int:
        return self._keeper.pid

    def command(self, *words: str, cpus: frozenset[int] = frozenset()) -> list[str]:
        """The words that run a program inside, on these processors."""
        pinned = ["taskset", "-c", ",".join(str(cpu) for cpu in sorted(cpus))] if cpus else []
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *pinned, *words]

    def run(self, *words: str) -> str:
        """Runs a short command inside and returns what it said. Raises OSError with its message."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, cwd=REPOSITORY, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def sysctl(self, name: str, value: str) -> None:
        self.run("sh", "-c", f"echo '{value}' > /proc/sys/{name.replace('.', '/')}")

    def counter(self, device: str, name: str) -> int:
        """A statistic of a device, as `rx_packets`."""
        for line in self.run("cat", "/proc/net/dev").splitlines():
            owner, _, values = line.partition(":")
            if owner.strip() == device:
                columns = ["rx_bytes", "rx_packets", "rx_errs", "rx_drop", "", "", "", "",
                           "tx_bytes", "tx_packets", "tx_errs", "tx_drop"]  # fmt: skip
                return int(values.split()[columns.index(name)])
        raise OSError(f"no device {device}")

    def close(self) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait()


@dataclass
class Bed:
    """Where one measurement happens: whose namespace is whose, and the subject's address."""

    link: Link
    client: Namespace
    subject: Namespace
    address: str
    device: str = ""
    hardware: str = ""
    """The subject's MAC where the link has one (veth)."""
    mtu: int = 1500
    extra: list[Namespace] = field(default_factory=list)


@contextlib.contextmanager
def bed(link: Link, mtu: int = 1500, queues: int = 1) -> Iterator[Bed]:
    """Builds the link and takes it down again. Raises OSError when this machine does not allow it."""
    with contextlib.ExitStack() as stack:

        def fresh() -> Namespace:
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        if link is Link.LOOPBACK:
            only = fresh()
            yield Bed(link, only, only, "127.0.0.1", "lo")
        elif link in (Link.VETH, Link.VETH_PLAIN):
            yield _veth(link, fresh(), fresh(), mtu)
        else:
            yield _tun(link, fresh(), mtu, queues)


def _veth(link: Link, client: Namespace, subject: Namespace, mtu: int) -> Bed:
    client.run("ip", "link", "add", "v0", "mtu", str(mtu), "type", "veth", "peer", "name", "v1", "mtu", str(mtu))
    if link is Link.VETH_PLAIN:
        for device in ("v0", "v1"):
            client.run(sys.executable, "-m", "tools.bench.offload", device)
    client.run("ip", "link", "set", "v1", "netns", str(subject.pid))
    for namespace, device, address in ((client, "v0", CLIENT_ADDRESS), (subject, "v1", SUBJECT_ADDRESS)):
        namespace.run("ip", "link", "set", device, "txqueuelen", str(QUEUE_LENGTH), "up")
        namespace.run("ip", "address", "add", f"{address}/16", "dev", device)
    hardware = subject.run("cat", "/proc/net/dev") and _hardware(subject, "v1")
    return Bed(link, client, subject, SUBJECT_ADDRESS, "v0", hardware, mtu)


def _hardware(namespace: Namespace, device: str) -> str:
    words = namespace.run("ip", "-o", "link", "show", device).split()
    return words[words.index("link/ether") + 1]


def _tun(link: Link, namespace: Namespace, mtu: int, queues: int) -> Bed:
    flags = (["vnet_hdr"] if link is Link.TUN_OFFLOAD else []) + (["multi_queue"] if queues > 1 else [])
    namespace.run("ip", "tuntap", "add", "dev", DEVICE, "mode", "tun", *flags)
    namespace.run("ip", "link", "set", DEVICE, "mtu", str(mtu), "txqueuelen", str(QUEUE_LENGTH), "up")
    namespace.run("ip", "address", "add", f"{CLIENT_ADDRESS}/16", "dev", DEVICE)
    return Bed(link, namespace, namespace, SUBJECT_ADDRESS, DEVICE, "", mtu)


def enter_user_namespace(module: str = "tools.bench") -> None:
    """Becomes root of a user namespace of its own when the caller is nobody in particular; otherwise does nothing."""
    if os.geteuid() == 0 or os.environ.get("BENCH_UNSHARED"):
        return
    os.environ["BENCH_UNSHARED"] = "1"
    os.execvp(
        "unshare",
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", module, *sys.argv[1:]],
    )
