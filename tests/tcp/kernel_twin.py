"""The kernel's TCP behind a TUN device, with the face of ``world.VirtualHost``: the same dialogue runs against both.

Only what needs no time to pass: a ping behind each packet says that the kernel has taken it in and sent its answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from tests.tcp.world import OURS, THEIRS, VirtualHost, pattern
from ustack.device.link import add_address, change_link, quieten
from ustack.device.namespace import Namespace
from ustack.errors import from_errno
from ustack.tcp.state import State

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
PATIENCE_S = 10.0


class KernelCall:
    """A socket of the application, the kernel's."""

    def __init__(self, host: KernelHost, sock: socket.socket) -> None:
        self.host = host
        self.sock = sock

    def write(self, start: int, end: int) -> int:
        taken = self.sock.send(pattern(start, end))
        self.host.collect()
        return taken

    def read(self, size: int) -> bytes:
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            data = b""
        self.host.collect()
        return data

    def shutdown(self, how: int = 1) -> None:
        self.sock.shutdown(how)
        self.host.collect()

    def close(self) -> None:
        self.sock.close()
        self.host.collect()

    def abort(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def error(self) -> int:
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class KernelHost(VirtualHost):
    """The kernel in a namespace of its own: make it inside ``with Namespace()``."""

    is_kernel = True

    def __init__(self) -> None:
        self.now = time.monotonic_ns()
        self.outbox: list[tuple[int, Packet]] = []
        self.sockets: list[socket.socket] = []
        self.ping = bytes(IP(src=THEIRS[4], dst=OURS[4]) / ICMP(type="echo-request", id=7, seq=1))
        self.next_port = 10000
        """A test takes the next one, for each connection a new one."""
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("=16sH22x", b"tun0", IFF_TUN_NO_PI))
        quieten("tun0", wants_ipv6=True)
        change_link("tun0", up=True, mtu=1500)
        for address, prefix in ((OURS[4], 24), (OURS[6], 64)):
            add_address("tun0", ipaddress.ip_interface(f"{address}/{prefix}"))

    @staticmethod
    def knob(name: str, value: int) -> None:
        """A sysctl of this namespace."""
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
            file.write(str(value))

    def be_patient(self) -> None:
        """Real time passes here: no tail-loss probe and no early timeout shall come between."""
        self.knob("tcp_early_retrans", 0)
        self.knob("tcp_rto_min_us", 5_000_000)
        self.knob("tcp_comp_sack_nr", 0)  # each segment out of order is answered at once

    def end(self) -> None:
        """Sockets go without a word, then the device."""
        for sock in self.sockets:
            sock.close()
        os.close(self.tun)

    # The wire

    def inject(self, *packets: Packet | bytes) -> None:
        for packet in packets:
            os.write(self.tun, bytes(packet))
        self.collect()

    def collect(self) -> None:
        """All that the kernel has to say about what it was given so far."""
        os.write(self.tun, self.ping)
        self.now = time.monotonic_ns()
        while True:
            assert select.select([self.tun], [], [], PATIENCE_S)[0], "the kernel does not answer pings"
            data = os.read(self.tun, 65536)
            if data[0] >> 4 == 4 and data[9] == 1 and data[20] == 0:
                return  # the pong
            packet = (IP if data[0] >> 4 == 4 else IPv6)(data)  # its checksum may be 0xffff where scapy says 0
            if packet.haslayer(TCP) or packet.haslayer(ICMP):
                self.outbox.append((self.now, packet))

    def settle(self) -> None:
        select.select([self.tun], [], [], 0.012)
        self.collect()

    # The application

    def _socket(self, family: int, port: int) -> socket.socket:
        sock = socket.socket(FAMILIES[family], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sockets.append(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((OURS[family], port))
        return sock

    def listen(self, port: int = 80, backlog: int = 128, family: int = 4) -> Any:
        sock = self._socket(family, port)
        sock.listen(backlog)
        return sock

    def accept(self, listener: Any) -> Any:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return None
        sock.setblocking(False)
        self.sockets.append(sock)
        return KernelCall(self, sock)

    def connect(self, remote_port: int, local_port: int = 80, family: int = 4) -> Any:
        sock = self._socket(family, local_port)
        with contextlib.suppress(BlockingIOError):
            sock.connect((THEIRS[family], remote_port))
        self.collect()
        return KernelCall(self, sock)

    # Looking

    def state(self, peer_port: int, port: int = 80, family: int = 4) -> str:
        """From /proc/net/tcp: the peer's line, or the listener's."""
        listens = False
        with open(f"/proc/thread-self/net/tcp{'6' if family == 6 else ''}", encoding="ascii") as file:
            for line in list(file)[1:]:
                _, local, remote, number, *_ = line.split()
                if int(local.rpartition(":")[2], 16) != port:
                    continue
                state = State(3 if int(number, 16) == 12 else int(number, 16))
                listens = listens or state is State.LISTEN
                if int(remote.rpartition(":")[2], 16) == peer_port:
                    return state.name
        return State.LISTEN.name if listens else State.CLOSED.name

    def count(self, name: str) -> int:
        """One of ``nstat``'s counters, from /proc/net/snmp, snmp6 and netstat of this namespace."""
        for path in ("snmp", "netstat"):
            with open(f"/proc/thread-self/net/{path}", encoding="ascii") as file:
                lines = file.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                prefix = names.partition(":")[0].replace("TcpExt", "")
                for short, value in zip(names.split()[1:], values.split()[1:], strict=True):
                    if prefix + short == name:
                        return int(value)
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.split()[0] == name), 0)


@contextlib.contextmanager
def kernel() -> Iterator[KernelHost]:
    """A kernel of one's own, on one processor so that packets stay in order. Raises OSError without the right to it."""
    before = os.sched_getaffinity(0)
    with Namespace():
        os.sched_setaffinity(0, {min(before)})
        host = KernelHost()
        try:
            yield host
        finally:
            host.end()
            os.sched_setaffinity(0, before)


def why_not() -> str:
    """Why there is no kernel to compare with; "" when there is."""
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs root and /dev/net/tun"
    try:
        with kernel():
            return ""
    except OSError as error:
        return from_errno(error.errno or 1).strerror or "no"
