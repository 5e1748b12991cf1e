"""The host under test: one ustack Stack in virtual time, packets by scapy in and out, each one accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from ustack.drops import Drop
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.state import State
from ustack.wire.address import flow_key, parse_address
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

MS = 1_000_000
SECOND = 1000 * MS
OURS = {4: "10.0.0.2", 6: "fd00::2"}
THEIRS = {4: "10.0.0.1", 6: "fd00::1"}
START = 1_000_003_456_789
"""The first instant: neither zero nor a whole second."""


def pattern(start: int, end: int) -> bytes:
    """The bytes [start, end) of every stream here; the first has sequence number 1."""
    return bytes(at % 251 for at in range(start, end))


def layer(packet: Packet) -> Packet:
    """What scapy makes of the packet's bytes, its own checksums and lengths put in."""
    kind = IP if packet.version == 4 else IPv6
    return kind(bytes(packet))


class Call:
    """A socket of the application on the host under test."""

    def __init__(self, host: VirtualHost, connection: Connection) -> None:
        self.host = host
        self.tcb = connection

    def write(self, start: int, end: int) -> int:
        taken = self.tcb.write(pattern(start, end), self.host.now)
        self.host.flush()
        return taken

    def read(self, size: int) -> bytes:
        data = self.tcb.read(size, self.host.now)
        self.host.flush()
        return data

    def shutdown(self, how: int = 1) -> None:
        self.tcb.shutdown(how, self.host.now)
        self.host.flush()

    def close(self) -> None:
        self.tcb.close(self.host.now)
        self.host.flush()

    def abort(self) -> None:
        """close() with SO_LINGER {1, 0}."""
        self.tcb.options.linger_s = 0
        self.close()

    def set(self, name: str, value: object) -> None:
        setattr(self.tcb.options, name, value)
        self.tcb.option_changed(name, self.host.now)
        self.host.flush()

    @property
    def error(self) -> int:
        return self.tcb.error

    def events(self) -> list[str]:
        """What the application was told about this socket, since the last time."""
        mine = [name for name, endpoint in self.host.events if endpoint is self.tcb]
        self.host.events = [event for event in self.host.events if event[1] is not self.tcb]
        return mine


class VirtualHost:
    """One Stack with the addresses OURS. Whatever it sends waits in ``outbox`` until a test expects it."""

    is_kernel = False

    def __init__(self, **knobs: object) -> None:
        self.now = START
        self.stack = Stack(Settings().replace(**knobs), entropy=b"the entropy of a test, 32 bytes!" * 2)
        self.stack.add_address(parse_address(OURS[4]), 24)
        self.stack.add_address(parse_address(OURS[6]), 64)
        self.outbox: list[tuple[int, Packet]] = []
        self.events: list[tuple[str, object]] = []
        self.options = SocketOptions()

    # The wire

    def inject(self, *packets: Packet | bytes) -> None:
        """These packets arrive at once."""
        frames = [parse_packet(bytes(packet)) for packet in packets]
        self.stack.on_frames(frames, self.now)
        self.flush()

    def flush(self) -> None:
        while (transmit := self.stack.poll_transmit(self.now)) is not None:
            for data in cut(transmit):
                self.outbox.append((self.now, check_sums(data)))
        while (event := self.stack.next_event()) is not None:
            self.events.append((event.kind.name, event.endpoint))

    def advance(self, duration: int) -> None:
        """Time passes; every timer acts at its own instant."""
        end = self.now + duration
        for _ in range(100_000):
            deadline = self.stack.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            self.now = max(self.now, deadline)
            self.stack.on_deadline(self.now)
            self.flush()
        raise AssertionError("timers expire for ever at one instant")

    def settle(self) -> None:
        """What the kernel leaves to the next tick of its clock has happened."""
        self.advance(10 * MS)

    # The application

    def listen(self, port: int = 80, backlog: int = 128, family: int = 4) -> Listener:
        return self.stack.listen(parse_address(OURS[family]), port, backlog, self.options.copy(), self.now)

    def accept(self, listener: Any) -> Call | None:
        connection = listener.accept(self.now)
        return None if connection is None else Call(self, connection)

    def connect(self, remote_port: int, local_port: int = 80, family: int = 4) -> Call:
        ends = parse_address(OURS[family]), local_port, parse_address(THEIRS[family]), remote_port
        connection = self.stack.connect(*ends, self.options.copy(), self.now)
        self.flush()
        return Call(self, connection)

    # Looking

    def state(self, peer_port: int, port: int = 80, family: int = 4) -> str:
        """The state of a four-tuple: LISTEN when only the listener is there, CLOSED when nobody is."""
        key = flow_key(parse_address(THEIRS[family]), peer_port, parse_address(OURS[family]), port)
        connection = self.stack.tcp.connections.get(key)
        if connection is not None:
            return connection.state.name
        if key in self.stack.tcp.time_waits:
            return State.TIME_WAIT.name
        listeners = self.stack.tcp.listeners.get(port, [])
        if any(key in listener.requests for listener in listeners):
            return State.SYN_RECEIVED.name
        return State.LISTEN.name if listeners else State.CLOSED.name

    def drops(self) -> dict[Drop, int]:
        return dict(self.stack.counters.drops)

    def count(self, name: str) -> int:
        return self.stack.counters[name]

    def new_drops(self, action: Callable[[], None]) -> list[str]:
        """The names of the rules that refused something while ``action`` ran."""
        before = self.drops()
        action()
        return sorted(
            reason.name for reason, count in self.drops().items() for _ in range(count - before.get(reason, 0))
        )


def check_sums(data: bytes) -> Packet:
    """The packet, once scapy has agreed about every length and checksum in it."""
    packet: Packet = (IP if data[0] >> 4 == 4 else IPv6)(data)
    again = packet.copy()
    for part, fields in ((IP, "len chksum"), (IPv6, "plen"), (TCP, "dataofs chksum"), (ICMP, "chksum")):
        for field in fields.split():
            if again.haslayer(part):
                again[part].delfieldval(field)
    rebuilt = bytes(again)
    assert rebuilt == data, f"scapy would have sent\n{rebuilt.hex()}\nwhere ustack sent\n{data.hex()}"
    return packet


def text_of(packet: Packet) -> bytes:
    return bytes(packet[TCP].payload) if isinstance(packet[TCP].payload, Raw) else b""
