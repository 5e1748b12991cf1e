"""What an attacker makes many of, and then one packet more: does that packet cost more than at rest?

    hostile_work.py ATTACK HELD TIMES

Each attack fills one Stack with HELD things (ranges, holes, fragments, ...) and returns a step: one packet in, answers
out, what is due done. `tests/property/test_property_costs.py` counts bytecodes of the steps, `make costs`
instructions.
"""

from __future__ import annotations

import gc
import struct
import sys
from collections.abc import Callable
from typing import Any

from ustack import native
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.units import SECOND
from ustack.wire import ipv4, udp
from ustack.wire.address import parse_address
from ustack.wire.frame import Frame, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import ACK, FIN, SYN, TcpHeader, build_segment

OURS, THEIRS = parse_address("10.0.0.2"), parse_address("10.0.0.1")
PORT = 80
MS = 1_000_000
MSS = 1000
SYN_OPTIONS = b"\x02\x04\x03\xe8\x01\x01\x04\x02\x01\x03\x03\x07"  # MSS 1000, SACK, window scale 7
Step = Callable[[int], None]


class Target:
    """One host that listens on PORT, and a peer that may say anything."""

    def __init__(self, backlog: int = 100_000, rings: RingMaker | None = None, **knobs: Any) -> None:
        self.now = 1000 * SECOND
        settings = Settings().replace(somaxconn=100_000, tcp_max_syn_backlog=100_000, **knobs)
        self.stack = Stack(settings, entropy=bytes(range(64)), rings=rings or native.NativeRings())
        self.stack.add_address(OURS, 24)
        self.receiver = native.Receiver()
        self.listener = self.stack.listen(OURS, PORT, backlog, SocketOptions(), self.now)
        self.sent: list[Transmit] = []

    def frames(self, packet: bytes) -> list[Frame]:
        """As a device would hand it over."""
        if isinstance(self.stack.host.rings, native.NativeRings):
            return self.receiver.receive_packets([packet])
        return [parse_packet(packet)]

    def take(self, frames: list[Frame]) -> None:
        """What arrived is looked at, everything that wants to leave leaves."""
        stack, now = self.stack, self.now
        stack.on_frames(frames, now)
        self.flush()
        deadline = stack.next_deadline()
        if deadline is not None and deadline <= now:
            stack.on_deadline(now)
            self.flush()

    def flush(self) -> None:
        """What leaves is kept in `sent`."""
        while (transmit := self.stack.poll_transmit(self.now)) is not None:
            if isinstance(transmit, Transmit):
                self.sent.append(transmit)
        while self.stack.next_event() is not None:
            pass

    def say(self, packet: bytes) -> None:
        """One packet arrives."""
        self.take(self.frames(packet))


def tcp(port: int, seq: int, ack: int, flags: int, options: bytes = b"", text: bytes = b"") -> bytes:
    """A segment from the peer's `port`."""
    header = TcpHeader(port, PORT, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, 65535)
    return ipv4.build(THEIRS, OURS, 6, build_segment(THEIRS, OURS, header, options, text))


def established(target: Target, port: int = 5000) -> Connection:
    """The peer has connected from `port`, its ISN is 0."""
    target.say(tcp(port, 0, 0, SYN, SYN_OPTIONS))
    iss = target.sent[-1].seq
    target.say(tcp(port, 1, iss + 1, ACK))
    connection = target.listener.accept(target.now)
    assert connection is not None
    return connection


def ranges(held: int, times: int) -> Step:
    """1-byte segments out of order, each a range of its own."""
    target = Target()
    iss = established(target).sender.iss
    packets = [tcp(5000, 10 + 2 * n, iss + 1, ACK, b"", b"x") for n in range(held + times)]
    for packet in packets[:held]:
        target.say(packet)
    return lambda n: target.say(packets[held + n])


def downwards(held: int, times: int) -> Step:
    """The same, each below the one before."""
    target = Target()
    iss = established(target).sender.iss
    packets = [tcp(5000, 10 + 2 * (held + times - n), iss + 1, ACK, b"", b"x") for n in range(held + times)]
    for packet in packets[:held]:
        target.say(packet)
    return lambda n: target.say(packets[held + n])


def repeats(held: int, times: int) -> Step:
    """1-byte segments that have come before, out of order."""
    target = Target()
    iss = established(target).sender.iss
    packets = [tcp(5000, 10 + 2 * n, iss + 1, ACK, b"", b"x") for n in range(held)]
    for packet in packets:
        target.say(packet)
    return lambda n: target.say(packets[n * 7 % held])


def bare_acks(held: int, times: int) -> Step:
    """ACKs without text to a receiver that holds ranges and has something to send."""
    target = Target()
    connection = established(target)
    for n in range(held):
        target.say(tcp(5000, 10 + 2 * n, connection.sender.iss + 1, ACK, b"", b"x"))

    def step(n: int) -> None:
        connection.write(b"u", target.now)
        target.flush()
        target.now += MS
        target.say(tcp(5000, 1, connection.sender.iss + 2 + n, ACK))

    return step


def holes(held: int, times: int) -> Step:
    """SACK blocks that leave a hole between every two segments of ours, some of them late."""
    target = Target(tcp_init_cwnd=2 * (held + times) + 20, tcp_pacing_ss_ratio=0)
    connection = established(target)
    first = connection.sender.iss + 1
    connection.options.sndbuf = 1 << 24
    connection.option_changed("sndbuf", target.now)
    for _ in range(2 * (held + times) + 4):
        connection.write(bytes(MSS), target.now)
        target.flush()
        target.now += 1000

    def sack(n: int) -> bytes:
        edges = [(first + (2 * k + 1) * MSS, first + (2 * k + 2) * MSS) for k in range(n, max(n - 3, -1), -1)]
        flat = [edge & 0xFFFFFFFF for block in edges for edge in block]
        option = struct.pack(f">BBBB{len(flat)}I", 1, 1, 5, 2 + 4 * len(flat), *flat)
        return tcp(5000, 1, first, ACK, option)

    target.now += 20 * MS
    for n in range(held):
        target.now += 1000
        target.say(sack(n))

    def step(n: int) -> None:
        target.now += 1000
        target.say(sack(held + n))

    return step


def fragment(number: int, offset: int, text: bytes, more: bool) -> bytes:
    """A piece of a UDP datagram."""
    field = offset // 8 | (0x2000 if more else 0)
    return ipv4.build(THEIRS, OURS, 17, text, 64, 0, number, field)


def last_fragments(held: int, times: int) -> Step:
    """Last fragments, again and again, of a packet in many pieces with a hole between every two."""
    target = Target(ipfrag_high_thresh=1 << 30)
    for n in range(held):
        target.say(fragment(1, 8 + 16 * n, bytes(8), True))
    last = fragment(1, 65000, bytes(8), False)
    target.say(last)
    return lambda n: target.say(last)


def middle_fragments(held: int, times: int) -> Step:
    """One more piece of such a packet."""
    target = Target(ipfrag_high_thresh=1 << 30)
    for n in range(held):
        target.say(fragment(1, 8 + 16 * n, bytes(8), True))
    return lambda n: target.say(fragment(1, 8 + 16 * (held + n), bytes(8), True))


def packets_in_pieces(held: int, times: int) -> Step:
    """Many packets of which the first piece has come; the oldest become whole."""
    target = Target(ipfrag_high_thresh=1 << 30)
    text = udp.build(THEIRS, OURS, 1, 2, bytes(100))
    for n in range(held):
        target.say(fragment(n, 0, text[:64], True))
    return lambda n: target.say(fragment(n, 64, text[64:], False))


def requests(held: int, times: int) -> Step:
    """SYNs, each from another port and at another time: every one is due at an instant of its own."""
    target = Target(tcp_syncookies=0)
    for n in range(held):
        target.say(tcp(1000 + n, 7, 0, SYN, SYN_OPTIONS))
        target.now += 10_000
    target.now += SECOND

    def step(n: int) -> None:
        target.now = max(target.now, target.stack.next_deadline() or 0)
        target.stack.on_deadline(target.now)
        target.flush()

    target.now = target.stack.next_deadline() or 0
    return step


def connections(held: int, times: int) -> Step:
    """Established connections nobody accepts; the first one hears a byte."""
    target = Target()
    iss = established(target, 999).sender.iss
    for n in range(held):
        established(target, 1000 + n)
    return lambda n: target.say(tcp(999, 1 + n, iss + 1, ACK, b"", b"x"))


def listeners(held: int, times: int) -> Step:
    """Listeners that share one port with SO_REUSEPORT; a SYN, and its reset."""
    target = Target()
    options = SocketOptions()
    options.reuseport = True
    for _ in range(held):
        target.stack.listen(OURS, 8080, 10, options, target.now)
    header = TcpHeader(999, 8080, 7, 0, 4, 0)
    packet = ipv4.build(THEIRS, OURS, 6, build_segment(THEIRS, OURS, header))
    return lambda n: target.say(packet)


def time_waits(held: int, times: int) -> Step:
    """Connections in TIME-WAIT; one is answered."""
    target = Target(tcp_invalid_ratelimit=0)
    for n in range(held):
        connection = established(target, 1000 + n)
        connection.close(target.now)
        target.flush()
        target.say(tcp(1000 + n, 1, connection.sender.iss + 2, ACK | FIN))
    assert len(target.stack.tcp.time_waits) == held
    return lambda n: target.say(tcp(1000, 1, 0, ACK | FIN))


def udp_group(held: int, times: int) -> Step:
    """Sockets that share one port with SO_REUSEPORT; a datagram for one of them."""
    target = Target()
    options = SocketOptions()
    options.reuseport = True
    endpoints = [target.stack.udp_open(OURS, 53, options, target.now) for _ in range(held)]
    packet = ipv4.build(THEIRS, OURS, 17, udp.build(THEIRS, OURS, 9, 53, b"x"))

    def step(n: int) -> None:
        target.say(packet)

    assert len(endpoints) == held
    return step


def udp_peers(held: int, times: int) -> Step:
    """Sockets on one port, each connected to a peer of its own; a broadcast that is for one."""
    target = Target()
    options = SocketOptions()
    options.reuseaddr = True
    for n in range(held):
        target.stack.udp_open(OURS, 53, options, target.now).connect(THEIRS, 1000 + n)
    everybody = parse_address("10.0.0.255")
    anybody = target.stack.udp_open(parse_address("0.0.0.0"), 53, options, target.now)
    packet = ipv4.build(THEIRS, everybody, 17, udp.build(THEIRS, everybody, 9, 53, b"x"))

    def step(n: int) -> None:
        target.say(packet)
        anybody.receive()

    return step


def closed_ports(held: int, times: int) -> Step:
    """Datagrams to a port that nobody has, from many sources: each has its own ICMP allowance."""
    target = Target(icmp_msgs_per_sec=1 << 30, icmp_msgs_burst=1 << 30)

    def say(n: int) -> None:
        source = THEIRS[:12] + bytes([172, 16, n >> 8 & 255, n & 255])
        target.say(ipv4.build(source, OURS, 17, udp.build(source, OURS, 9, 9, b"x")))

    for n in range(held):
        say(n)
    return lambda n: say(held + n)


ATTACKS = {attack.__name__: attack for attack in (ranges, downwards, repeats, bare_acks, holes, last_fragments,
           middle_fragments, packets_in_pieces, requests, connections, listeners, time_waits, udp_group, udp_peers,
           closed_ports)}  # fmt: skip

if __name__ == "__main__":
    gc.disable()  # a collection in one of two runs would be taken for the attack's price
    count = int(sys.argv[3])
    run = ATTACKS[sys.argv[1]](int(sys.argv[2]), count)
    for number in range(count):
        run(number)
