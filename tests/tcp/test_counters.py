"""What is counted of segments that are wrong: the names and numbers of Linux's ``Tcp:`` line in /proc/net/snmp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import OURS, THEIRS
from ustack.native import Receiver

NAMES = ("TcpInSegs", "TcpInErrs", "TcpInCsumErrors", "UdpInErrors", "UdpInCsumErrors", "IcmpInErrors")
NAMES += ("IcmpInCsumErrors", "Udp6InErrors", "Udp6InCsumErrors", "Icmp6InErrors", "Icmp6InCsumErrors")


def counted(peer: Peer, action: Callable[[], object]) -> dict[str, int]:
    """What grew meanwhile."""
    before = {name: peer.host.count(name) for name in NAMES}
    action()
    grown = {name: peer.host.count(name) - count for name, count in before.items()}
    return {name: count for name, count in grown.items() if count}


def tcp(**fields: Any) -> Packet:
    return TCP(sport=5000, dport=7, flags="S", **fields)


TCP_BAD = {"TcpInSegs": 1, "TcpInErrs": 1, "TcpInCsumErrors": 1}
UDP_BAD = {"UdpInErrors": 1, "UdpInCsumErrors": 1}
ICMP_BAD = {"IcmpInErrors": 1, "IcmpInCsumErrors": 1}

WRONG: dict[str, tuple[Packet, dict[str, int]]] = {
    "checksum": (tcp(chksum=1), TCP_BAD),
    "offset below the header": (tcp(dataofs=4), {"TcpInSegs": 1, "TcpInErrs": 1}),
    "offset behind the packet": (tcp(dataofs=15), {"TcpInSegs": 1}),
    "truncated": (Raw(b"x" * 10), {"TcpInSegs": 1}),
    "udp checksum": (UDP(sport=5, dport=6, chksum=1) / b"hi", UDP_BAD),
    "udp length": (UDP(sport=5, dport=6, len=4) / b"hi", {"UdpInErrors": 1}),
    "icmp checksum": (ICMP(type=8, chksum=1), ICMP_BAD),
}


def whole(wrong: str) -> Packet:
    protocol = 17 if "udp" in wrong else 1 if "icmp" in wrong else 6
    return IP(src=THEIRS[4], dst=OURS[4], proto=protocol) / WRONG[wrong][0]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_header_is_counted(either: Peer, wrong: str) -> None:
    assert counted(either, lambda: either.host.inject(whole(wrong))) == WRONG[wrong][1]
    either.expect()


@pytest.mark.native
@pytest.mark.parametrize("wrong", WRONG)
def test_read_by_the_c_core_as_well(peer: Peer, wrong: str) -> None:
    frames = Receiver().receive_packets([bytes(whole(wrong))])
    assert counted(peer, lambda: peer.host.stack.on_frames(frames, peer.host.now)) == WRONG[wrong][1]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (tcp(chksum=1), TCP_BAD),
        (tcp(dataofs=4), {"TcpInSegs": 1, "TcpInErrs": 1}),
        (UDP(sport=5, dport=6, chksum=1) / b"hi", {"Udp6InErrors": 1, "Udp6InCsumErrors": 1}),
    ],
)
def test_over_ipv6_tcp_has_the_same_names(either: Peer, packet: Packet, expected: dict[str, int]) -> None:
    entire = IPv6(src=THEIRS[6], dst=OURS[6]) / packet
    assert counted(either, lambda: either.host.inject(entire)) == expected


def test_what_is_for_somebody_else_is_not_counted(either: Peer) -> None:
    for source, destination in ((THEIRS[4], "10.9.9.9"), ("224.0.0.1", OURS[4])):
        entire = IP(src=source, dst=destination) / tcp(chksum=1)
        assert counted(either, lambda packet=entire: either.host.inject(packet)) == {}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("S 1", {"TcpInSegs": 1, "TcpInErrs": 1}),
        ("S. 1 ack 1", {"TcpInSegs": 1, "TcpInErrs": 1}),
        ("R 5", {"TcpInSegs": 1}),
    ],
)
def test_a_syn_inside_a_connection_is_an_error(either: Peer, line: str, expected: dict[str, int]) -> None:
    either.opens()
    assert counted(either, lambda: either.send(line)) == expected
    either.heard()


# How connections end, in the MIB's words (RFC 4022); each row was seen on the kernel


def _resets(peer: Peer) -> dict[str, int]:
    names = ("TcpAttemptFails", "TcpEstabResets", "EmbryonicRsts", "TcpOutRsts")
    return {name: peer.host.count(name) for name in names if peer.host.count(name)}


def test_ends_of_an_open_connection_are_counted(make: MakePeer) -> None:
    peer = make()
    peer.opens()
    peer.send("R 1")
    assert _resets(peer) == {"TcpEstabResets": 1}

    peer = make()
    call = peer.opens()
    peer.send("P. 1:11 ack 1")
    call.close()  # with text unread
    peer.heard()
    assert _resets(peer) == {"TcpEstabResets": 1, "TcpOutRsts": 1}

    peer = make()
    peer.opens().abort()
    peer.heard()
    assert _resets(peer) == {"TcpEstabResets": 1, "TcpOutRsts": 1}

    peer = make()
    peer.opens().close()
    peer.send("R 1")
    peer.heard()
    assert _resets(peer) == {}


def test_ends_of_an_opening_connection_are_counted(make: MakePeer) -> None:
    peer = make()
    peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send("R. 0 ack 1")
    assert _resets(peer) == {"TcpAttemptFails": 1}

    peer = make()
    peer.host.connect(peer.port).close()
    peer.heard()
    assert _resets(peer) == {}

    peer = make()
    peer.host.listen(80)
    peer.send("S 0 <mss 1000>", "R 1")
    peer.heard()
    assert _resets(peer) == {"TcpAttemptFails": 1, "EmbryonicRsts": 1}

    peer = make()
    peer.host.listen(80)
    peer.send("S 0 <mss 1000>", "S 1")
    peer.heard()
    assert _resets(peer) == {"TcpAttemptFails": 1, "EmbryonicRsts": 1, "TcpOutRsts": 1}
