"""IP of one host: whose packets are taken, where they leave from, and in how many pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.drops import Drop
from ustack.hoststate import MOST_WAITING, HostState
from ustack.network import Outgoing
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DO, PMTUDISC_DONT, PMTUDISC_INTERFACE, PMTUDISC_PROBE, PMTUDISC_WANT
from ustack.stack.ip import Ip
from ustack.wire import icmp, ipv4, ipv6, udp
from ustack.wire.address import ANY, ANY_V4, BROADCAST, LOOPBACK, is_v4, parse_address
from ustack.wire.describe import describe
from ustack.wire.frame import Datagram, Fragment, IcmpMessage, OtherPacket, Refused, Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import SYN, TcpHeader, build_segment

OURS, OURS6 = parse_address("10.0.0.2"), parse_address("fd00::2")
PEER, PEER6 = parse_address("10.0.0.1"), parse_address("fd00::1")
LOCAL4 = parse_address("127.0.0.1")
SECOND = 1_000_000_000
ENDS = pytest.mark.parametrize(("ours", "peer"), [(OURS, PEER), (OURS6, PEER6)], ids=["ipv4", "ipv6"])


def host(**knobs: int) -> Ip:
    env = HostState(Settings().replace(**knobs), RingMaker(), b"s" * 32)
    ip = Ip(env)
    ip.add_address(OURS, 24)
    ip.add_address(OURS6, 64)
    return ip


@pytest.fixture
def ip() -> Ip:
    return host()


def packet_of(source: bytes, destination: bytes, protocol: int = 17, text: bytes | None = None) -> bytes:
    if text is None:
        text = udp.build(source, destination, 40000, 53, b"hi")
    return (ipv4 if is_v4(source) else ipv6).build(source, destination, protocol, text)


def sent(ip: Ip) -> list[bytes]:
    packets = [transmit.packet for transmit in ip.host.outbox]
    ip.host.outbox.clear()
    return packets


# Addresses


def test_own_addresses(ip: Ip) -> None:
    assert ip.addresses() == [(OURS, 24), (OURS6, 64)]
    assert ip.is_local(OURS)
    assert ip.is_local(LOCAL4)
    assert ip.is_local(LOOPBACK)
    assert not ip.is_local(PEER)
    assert ip.is_local_packet(packet_of(PEER, OURS))
    assert ip.is_local_packet(packet_of(PEER6, OURS6))
    assert not ip.is_local_packet(packet_of(OURS, PEER))
    ip.remove_address(OURS)
    ip.remove_address(OURS)
    assert not ip.is_local(OURS)
    assert not ip.is_broadcast(parse_address("10.0.0.255"))


@pytest.mark.parametrize(
    ("address", "prefix"),
    [(ANY, 0), (ANY_V4, 8), (BROADCAST, 32), (parse_address("ff02::1"), 64), (OURS, 33), (OURS6, -1)],
)
def test_what_no_host_can_have(ip: Ip, address: bytes, prefix: int) -> None:
    with pytest.raises(ValueError, match="no host"):
        ip.add_address(address, prefix)


def test_broadcasts(ip: Ip) -> None:
    assert ip.is_broadcast(BROADCAST)
    assert ip.is_broadcast(parse_address("10.0.0.255"))
    assert not ip.is_broadcast(parse_address("10.0.0.0"))
    ip.add_address(parse_address("10.9.0.0"), 31)
    assert not ip.is_broadcast(parse_address("10.9.0.1"))


@pytest.mark.parametrize(
    ("destination", "source"),
    [
        ("10.0.0.77", "10.0.0.2"),
        ("192.168.9.7", "192.168.0.1"),
        ("192.168.7.200", "192.168.7.1"),
        ("8.8.8.8", "10.0.0.2"),
        ("192.168.0.1", "192.168.0.1"),
        ("127.0.0.5", "127.0.0.5"),
        ("fd00::77", "fd00::2"),
        ("2001:db8::1", "fd00::2"),
        ("fe80::77", "fe80::2"),
        ("ff02::1", "fe80::2"),
        ("::1", "::1"),
    ],
)
def test_where_packets_leave_from(ip: Ip, destination: str, source: str) -> None:
    for text, prefix in (("192.168.0.1", 16), ("192.168.7.1", 24), ("fe80::2", 64), ("fd00:1::2", 64)):
        ip.add_address(parse_address(text), prefix)
    assert ip.source_for(parse_address(destination)) == parse_address(source)


def test_no_address_of_the_family() -> None:
    env = HostState(Settings(), RingMaker(), b"s" * 32)
    ip = Ip(env)
    assert ip.source_for(PEER) is None
    ip.add_address(OURS6, 64)
    assert ip.source_for(PEER) is None
    assert ip.source_for(PEER6) == OURS6


# In


@ENDS
def test_what_is_for_us(ip: Ip, ours: bytes, peer: bytes) -> None:
    for protocol, kind in ((17, Datagram), (icmp.protocol_of(ours), IcmpMessage)):
        text = None if kind is Datagram else icmp.build_echo_request(peer, ours, 1, 2, b"")
        frame = parse_packet(packet_of(peer, ours, protocol, text))
        assert isinstance(frame, kind)
        assert ip.accept(frame, 0) is frame
    syn = build_segment(peer, ours, TcpHeader(1, 2, 3, 0, SYN, 1))
    frame = parse_packet(packet_of(peer, ours, 6, syn))
    assert isinstance(frame, Segment)
    assert ip.accept(frame, 0) is frame
    assert ip.host.counters.drops == {}


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("10.0.0.1", "10.0.0.3", Drop.NOT_OURS),
        ("fd00::1", "fd00::3", Drop.NOT_OURS),
        ("10.0.0.1", "127.0.0.1", Drop.NOT_OURS),
        ("10.0.0.1", "224.0.0.1", Drop.BROADCAST),
        ("fd00::1", "ff02::1", Drop.BROADCAST),
        ("10.0.0.2", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("127.0.0.1", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("0.0.0.0", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("224.0.0.1", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("255.255.255.255", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("10.0.0.255", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("240.0.0.1", "10.0.0.2", Drop.MARTIAN_SOURCE),
        ("::", "fd00::2", Drop.MARTIAN_SOURCE),
        ("::1", "fd00::2", Drop.MARTIAN_SOURCE),
        ("ff02::1", "fd00::2", Drop.MARTIAN_SOURCE),
    ],
)
def test_what_is_not(ip: Ip, source: str, destination: str, reason: Drop) -> None:
    frame = parse_packet(packet_of(parse_address(source), parse_address(destination)))
    assert isinstance(frame, Datagram)
    assert ip.accept(frame, 0) is None
    assert ip.host.counters.drops == {reason: 1}
    assert sent(ip) == []


def test_an_ipv6_packet_with_a_mapped_address_is_a_forgery(ip: Ip) -> None:
    packet = ipv6.build(PEER, OURS6, 17, udp.build(PEER6, OURS6, 1, 2, b""))
    frame = parse_packet(packet, vouched=True)
    assert isinstance(frame, Refused)
    assert ip.accept(frame, 0) is None
    assert ip.host.counters.drops == {Drop.IPV6_MAPPED: 1}
    assert ip.host.counters["Ip6InHdrErrors"] == 1


def test_what_loops_back_may_have_own_addresses(ip: Ip) -> None:
    for source, destination in ((OURS, OURS), (LOCAL4, LOCAL4), (LOOPBACK, LOOPBACK)):
        frame = parse_packet(packet_of(source, destination))
        assert ip.accept(frame, 0, looped=True) is frame


@pytest.mark.parametrize("destination", ["10.0.0.255", "255.255.255.255"])
def test_broadcasts_are_for_udp(ip: Ip, destination: str) -> None:
    to = parse_address(destination)
    frame = parse_packet(packet_of(PEER, to))
    assert ip.accept(frame, 0) is frame
    syn = parse_packet(packet_of(PEER, to, 6, build_segment(PEER, to, TcpHeader(1, 2, 3, 0, SYN, 1))))
    assert isinstance(syn, Segment)
    assert ip.accept(syn, 0) is None
    assert ip.host.counters.drops == {Drop.BROADCAST: 1}


def test_refused_packets_are_counted(ip: Ip) -> None:
    assert ip.accept(parse_packet(b"\x45"), 0) is None
    assert ip.accept(parse_packet(packet_of(PEER, OURS, 6, b"short")), 0) is None
    assert ip.host.counters.drops == {Drop.IP_TRUNCATED: 1, Drop.TCP_TRUNCATED: 1}
    assert ip.host.counters["IpInHdrErrors"] == 1
    assert sent(ip) == []


def test_a_refused_packet_may_be_answered(ip: Ip) -> None:
    text = b"\x11\x00\x9e\x04\x00\x00\x00\x00" + udp.build(PEER6, OURS6, 1, 2, b"")
    assert ip.accept(parse_packet(packet_of(PEER6, OURS6, 60, text)), 0) is None
    assert [line.split(" (")[0] for line in map(describe, ip.host.outbox)] == [
        "fd00::2 > fd00::1 icmp6 parameter_problem 2"
    ]
    sent(ip)
    ip.accept(parse_packet(packet_of(PEER6, parse_address("fd00::3"), 60, text)), 0)
    ip.accept(parse_packet(packet_of(OURS6, OURS6, 60, text)), 0)
    assert sent(ip) == []


def test_an_unknown_protocol(ip: Ip) -> None:
    frame = parse_packet(packet_of(PEER, OURS, 47, b"x" * 20))
    assert isinstance(frame, OtherPacket)
    assert ip.accept(frame, 0) is None
    assert ip.host.counters["IpInUnknownProtos"] == 1
    (line,) = map(describe, ip.host.outbox)
    assert line == "(tos 0xc0) 10.0.0.2 > 10.0.0.1 icmp unreachable protocol_unreachable (40)"


# Out


@ENDS
def test_a_packet_that_fits(ip: Ip, ours: bytes, peer: bytes) -> None:
    (packet,) = ip.datagram(Outgoing(ours, peer, 17, udp.build(ours, peer, 1, 2, b"hi"), 7, 0x10), 0)
    frame = parse_packet(packet)
    assert isinstance(frame, Datagram)
    assert (frame.source, frame.destination, frame.ttl, frame.tos, frame.payload) == (ours, peer, 7, 0x10, b"hi")
    if ours is OURS:
        assert packet[4:8] == b"\0\0\x40\0"


def test_the_ttl_is_the_stacks_own_unless_said() -> None:
    ip = host(ip_default_ttl=33)
    assert ip.datagram(Outgoing(OURS, PEER, 17, b""), 0)[0][8] == 33
    assert ip.datagram(Outgoing(OURS6, PEER6, 17, b""), 0)[0][7] == 33
    assert ip.datagram(Outgoing(OURS, PEER, 17, b"", 0), 0)[0][8] == 0


@ENDS
@given(st.integers(0, 60_000), st.integers(1280, 9000))
def test_large_datagrams_leave_in_pieces_that_make_them_again(ours: bytes, peer: bytes, size: int, mtu: int) -> None:
    ip, far = host(), host()
    for address in (PEER, PEER6):
        far.add_address(address, 128 if address is PEER6 else 32)
    for address in (OURS, OURS6):
        far.remove_address(address)
    ip.set_mtu(mtu)
    payload = bytes(range(256)) * (size // 256 + 1)
    text = udp.build(ours, peer, 1, 2, payload[:size])
    packets = ip.datagram(Outgoing(ours, peer, 17, text, mtu_discover=PMTUDISC_DONT), 0)
    assert all(len(packet) <= mtu for packet in packets)
    wholes = [far.accept(parse_packet(packet), 0) for packet in packets]
    assert all(whole is None for whole in wholes[:-1])
    whole = wholes[-1]
    assert isinstance(whole, Datagram)
    assert whole.payload == payload[:size]
    assert far.next_deadline() is None


@ENDS
def test_who_may_be_fragmented(ip: Ip, ours: bytes, peer: bytes) -> None:
    def pieces(size: int, mode: int) -> list[bytes]:
        return ip.datagram(Outgoing(ours, peer, 17, bytes(size), mtu_discover=mode), 0)

    ip.learn_mtu(peer, 1400, 0)
    for mode in (PMTUDISC_WANT, PMTUDISC_DONT):
        assert len(pieces(1450, mode)) == 2
    assert len(pieces(1450, PMTUDISC_INTERFACE)) == 1
    assert len(pieces(1450, PMTUDISC_PROBE)) == 1
    assert len(pieces(1500, PMTUDISC_INTERFACE)) == 2
    for mode, size in ((PMTUDISC_DO, 1450), (PMTUDISC_PROBE, 1500)):
        with pytest.raises(OSError, match="Message too long"):
            pieces(size, mode)
    with pytest.raises(OSError, match="Message too long"):
        pieces(65536, PMTUDISC_DONT)
    if ours is OURS:
        marks = {mode: pieces(100, mode)[0][6:8] for mode in range(5)}
        assert marks == {0: b"\0\0", 1: b"\x40\0", 2: b"\x40\0", 3: b"\x40\0", 4: b"\0\0"}
        assert all(piece[6] & 0x40 == 0 for piece in pieces(1450, PMTUDISC_WANT))


def test_identifications_count_for_each_destination(ip: Ip) -> None:
    def number(peer: bytes) -> int:
        packet = ip.datagram(Outgoing(OURS, peer, 17, b"", mtu_discover=PMTUDISC_DONT), 0)[0]
        return int.from_bytes(packet[4:6], "big")

    first = number(PEER)
    far = parse_address("10.0.0.9")
    other = number(far)
    assert (number(PEER), number(far)) == (first + 1 & 0xFFFF, other + 1 & 0xFFFF)
    assert first != other
    numbers = {number(parse_address(f"10.1.{n}.1")) for n in range(200)}
    assert len(numbers) > 190


def test_ipv6_fragments_of_one_packet_share_a_number_that_nobody_foresees(ip: Ip) -> None:
    numbers = []
    for _ in range(3):
        pieces = ip.datagram(Outgoing(OURS6, PEER6, 17, bytes(3000)), 0)
        frames = [parse_packet(piece) for piece in pieces]
        assert {frame.identification for frame in frames if isinstance(frame, Fragment)} == {
            int.from_bytes(pieces[0][44:48], "big")
        }
        numbers.append(int.from_bytes(pieces[0][44:48], "big"))
    assert len(set(numbers)) == 3
    assert all(abs(a - b) > 1 for a, b in pairwise(numbers))


def test_to_itself_nothing_is_cut(ip: Ip) -> None:
    assert len(ip.datagram(Outgoing(OURS, OURS, 17, bytes(60_000)), 0)) == 1
    assert len(ip.datagram(Outgoing(LOCAL4, LOCAL4, 17, bytes(60_000)), 0)) == 1


def test_send_fills_the_outbox_and_counts(ip: Ip) -> None:
    ip.send(Outgoing(OURS, PEER, 17, bytes(4000)), 0)
    assert [len(packet) for packet in sent(ip)] == [1500, 1500, 1060]
    counters = ip.host.counters
    assert (counters["IpOutRequests"], counters["IpFragOKs"], counters["IpFragCreates"]) == (1, 1, 3)
    with pytest.raises(OSError, match="Message too long"):
        ip.send(Outgoing(OURS, PEER, 17, bytes(4000), mtu_discover=PMTUDISC_DO), 0)
    assert counters["IpFragFails"] == 1


def test_the_outbox_is_bounded(ip: Ip) -> None:
    for _ in range(MOST_WAITING + 5):
        ip.send(Outgoing(OURS, PEER, 17, b""), 0)
    assert len(ip.host.outbox) == MOST_WAITING
    assert ip.host.counters["IpOutDiscards"] == 5


def test_an_mtu_below_68(ip: Ip) -> None:
    with pytest.raises(ValueError, match="IPv4 needs 68"):
        ip.set_mtu(67)


@ENDS
def test_a_long_ping(ip: Ip, ours: bytes, peer: bytes) -> None:
    """``ping -s 20000``: the request comes in pieces, and so goes the reply."""
    text = icmp.build_echo_request(peer, ours, 7, 9, bytes(20_000))
    packet = packet_of(peer, ours, icmp.protocol_of(ours), text)
    pieces = ipv4.fragment_packet(packet, 1500) if ours is OURS else ipv6.fragment_packet(packet, 1500, 77)
    whole = None
    for piece in reversed(pieces):
        assert whole is None
        whole = ip.accept(parse_packet(piece), 0)
    assert isinstance(whole, IcmpMessage)
    assert ip.icmp.take(whole, 0) is None
    replies = sent(ip)
    assert len(replies) == len(pieces)
    assert [len(reply) for reply in replies] == [len(piece) for piece in pieces]
