"""Linux as a side of the lab: real sockets in a network namespace, behind a TUN device that stands for the link.

The other side and the link stay simulated; only the clock is the real one (see ``live.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ustack.device.link import add_address, change_link, quieten
from ustack.device.tun import TunDevice
from ustack.lab.place import LabPlace
from ustack.lab.report import Note
from ustack.lab.side import LabSocket, Side
from ustack.settings import Settings
from ustack.sim.network import SimNetwork
from ustack.stack.listing import state_name
from ustack.tcp.state import State
from ustack.trace.events import Called
from ustack.units import SECOND
from ustack.wire.address import is_multicast, parse_address

SYSCTLS = Path("/proc/sys/net")
_NLMSGHDR, _NLM_F_REQUEST, _NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 16, 1, 4, 20
_NEW_SYN_RECV = 12
"""TCP_NEW_SYN_RECV: a request, which Linux shows as SYN-RECV."""
_PLACES = ("ipv4", "core", "ipv6")
Wait = Callable[[int, int, int | None], bool]
"""A descriptor, poll(2)'s events, an instant (ns) or None: lets time pass until the descriptor is ready."""


class KernelPlace(LabPlace):
    """The kernel's place in the simulated network: what arrives is written into the TUN device."""

    def __init__(self, network: SimNetwork, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.links = []
        self.addresses = {parse_address(address)}
        self.events = []
        self.receiver = None
        self.sent_packets = 0
        self.unroutable_packets = 0
        self.device = TunDevice("lab", offload=False)
        quieten("lab", wants_ipv6=False)
        change_link("lab", up=True)
        interface = ipaddress.ip_interface(f"{address}/24")
        add_address("lab", interface)
        self._broadcast = parse_address(str(interface.network.broadcast_address))

    def receive(self, packets: Sequence[bytes]) -> None:
        """The kernel gets packets, one after the other, as from a wire."""
        for packet in packets:
            self.device.write_packets([packet], self.now)
            self.arriving([packet])

    def is_for_many(self, destination: bytes) -> bool:
        """A multicast address, or the network's broadcast address."""
        return is_multicast(destination) or destination == self._broadcast

    def flush(self) -> None:
        """The kernel sends when it wants to."""

    def take(self) -> bool:
        """What the kernel has sent enters the link; whether there was anything."""
        packets = self.device.read_packets(self.now)
        for packet in packets:
            self.sent_packets += 1
            self.network.route(self, packet)
        return bool(packets)


class KernelSocket:
    """A socket of Linux whose waiting lets the lab's time pass. What only asks goes straight to the real one."""

    def __init__(self, inner: socket.socket, wait: Wait, now: Callable[[], int]) -> None:
        self._inner = inner
        self._wait = wait
        self._now = now
        self._timeout: float | None = None
        inner.setblocking(False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def settimeout(self, timeout: float | None) -> None:
        """As socket.settimeout(); the time is the lab's, which is the real one."""
        self._timeout = timeout

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking()."""
        self._timeout = None if flag else 0.0

    def gettimeout(self) -> float | None:
        """As socket.gettimeout()."""
        return self._timeout

    def connect(self, address: tuple[str, int]) -> None:
        """As socket.connect()."""
        code = self._inner.connect_ex(address)
        if code == errno.EINPROGRESS and self._timeout != 0:
            self._ready(select.POLLOUT)
            code = self._inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def connect_ex(self, address: tuple[str, int]) -> int:
        """As socket.connect_ex()."""
        try:
            self.connect(address)
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        return 0

    def accept(self) -> tuple[KernelSocket, Any]:
        """As socket.accept()."""
        made, address = self._repeat(self._inner.accept, select.POLLIN)
        return KernelSocket(made, self._wait, self._now), address

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As socket.recv()."""
        return bytes(self._repeat(lambda: self._inner.recv(size, flags), select.POLLIN))

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """As socket.recvfrom()."""
        found: tuple[bytes, Any] = self._repeat(lambda: self._inner.recvfrom(size, flags), select.POLLIN)
        return found

    def send(self, data: bytes, flags: int = 0) -> int:
        """As socket.send()."""
        return int(self._repeat(lambda: self._inner.send(data, flags), select.POLLOUT))

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """As socket.sendall()."""
        view = memoryview(data)
        while view:
            view = view[self.send(bytes(view[: 1 << 20]), flags) :]

    def _repeat(self, call: Callable[[], Any], events: int) -> Any:
        while True:
            try:
                return call()
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            self._ready(events)

    def _ready(self, events: int) -> None:
        limit = None if self._timeout is None else self._now() + round(self._timeout * SECOND)
        if not self._wait(self._inner.fileno(), events, limit):
            raise TimeoutError("timed out")


class KernelCounters:
    """``counters["TcpExtListenOverflows"]`` as ``nstat`` shows them; TcpExt and IpExt may be left out of the name."""

    def __init__(self) -> None:
        self._first = self._read()

    @staticmethod
    def _read() -> dict[str, int]:
        found: dict[str, int] = {}
        for path in ("/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"):
            lines = Path(path).read_text().splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                head, *words = names.split()
                prefix = "" if head.startswith(("TcpExt", "IpExt")) else head[:-1]
                found.update((prefix + word, int(value)) for word, value in zip(words, values.split()[1:], strict=True))
        return found

    def __getitem__(self, name: str) -> int:
        return self._read().get(name, 0) - self._first.get(name, 0)


class KernelSide(Side):
    """Linux: ``socket()`` makes real sockets. There is no trace and no stack to look into."""

    def __init__(
        self, place: KernelPlace, address: str, settings: Settings, changed: Sequence[str], wait: Wait,
        write: Callable[[Called, str], Note],
    ) -> None:  # fmt: skip
        self.name = place.name
        self.address = address
        self.settings = settings
        self._write = write
        self._now = lambda: place.network.now
        self._wait = wait
        self.open: list[LabSocket] = []
        set_sysctls(settings, changed)
        self._counters = KernelCounters()

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> LabSocket:
        """As ``socket.socket()``."""
        return self._kept(KernelSocket(socket.socket(family, kind), self._wait, self._now))

    def set_mtu(self, mtu: int) -> None:
        """Bytes of the longest IP packet that the device takes."""
        change_link("lab", mtu=mtu)

    @property
    def counters(self) -> Any:
        """What nstat shows."""
        return self._counters

    def listing(self) -> list[str]:
        """What ``ss -tan`` shows."""
        return [f"{state_name(row.state)} {row.recv_q} {row.send_q} {row.local} {row.remote}" for row in kernel_rows()]

    def tool(self, command: str) -> list[str]:
        """What the tool itself prints."""
        done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
        return [line.rstrip() for line in done.stdout.splitlines()]

    def states(self) -> list[str]:
        """The states of all TCP sockets, listeners first."""
        rows = sorted(kernel_rows(), key=lambda row: row.state is not State.LISTEN)
        return [row.state.name for row in rows]


@dataclasses.dataclass(frozen=True)
class KernelRow:
    """A line of /proc/net/tcp. Ends are ``10.0.0.1:80``."""

    state: State
    recv_q: int
    send_q: int
    local: str
    remote: str


def kernel_rows() -> list[KernelRow]:
    """The TCP sockets of this network (IPv4)."""
    rows = []
    for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        send_q, recv_q = (int(word, 16) for word in queues.split(":"))
        number = int(state, 16)
        if number == _NEW_SYN_RECV:
            number = int(State.SYN_RECEIVED)
        rows.append(KernelRow(State(number), recv_q, send_q, _end(local), _end(remote)))
    return rows


def _end(text: str) -> str:
    address, port = text.split(":")
    return f"{socket.inet_ntoa(bytes.fromhex(address)[::-1])}:{int(port, 16)}"


def kernel_state(local: str, remote: str) -> str:
    """The state of whatever Linux has for two ends (IPv4), by sock_diag(7).

    It looks one socket up in its table in 35 us; to read /proc/net/tcp takes 15 ms, since it walks the whole table of
    the machine, and a lab that is late by that at each segment is another network than it says.
    """
    ends = [end.rpartition(":") for end in (local, remote)]
    ports = struct.pack(">HH", *(int(port) for _, _, port in ends))
    addresses = b"".join(socket.inet_aton(address).ljust(16, b"\0") for address, _, _ in ends)
    identity = ports + addresses + struct.pack("=I", 0) + b"\xff" * 8  # any interface, any cookie
    asked = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    head = struct.pack("=IHHII", _NLMSGHDR + len(asked), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as diag:
        diag.sendto(head + asked, (0, 0))
        found = diag.recv(8192)
    kind = int.from_bytes(found[4:6], sys.byteorder)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return "CLOSED"
    number = found[_NLMSGHDR + 1]
    return State.SYN_RECEIVED.name if number == _NEW_SYN_RECV else State(number).name


def set_sysctls(settings: Settings, changed: Sequence[str]) -> None:
    """The settings of the namespace, as far as it has them. Raises OSError for one of ``changed`` that it does not."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found = [SYSCTLS / place / field.name for place in _PLACES if (SYSCTLS / place / field.name).exists()]
        if field.name in changed:
            if not found:
                raise OSError(errno.ENOENT, f"Linux has no sysctl {field.name}")
            found[0].write_text(text)
        elif found and field.name in ("tcp_congestion_control", "tcp_rmem", "tcp_wmem", "ip_local_port_range"):
            with contextlib.suppress(OSError):
                found[0].write_text(text)
