"""The parser against scapy as the sender, and against bytes that nobody sensible would send."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Packet, Raw

from ustack.drops import Drop
from ustack.wire import ipv4, ipv6
from ustack.wire.address import parse_address
from ustack.wire.checksum import checksum, pseudo_sum
from ustack.wire.describe import describe_packet
from ustack.wire.frame import Datagram, Fragment, Frame, IcmpMessage, OtherPacket, Refused, Segment
from ustack.wire.parse import parse_packet

V4 = IP(src="10.0.0.1", dst="10.0.0.2", ttl=61, tos=0x12)
V6 = IPv6(src="fd00::1", dst="fd00::2", hlim=61, tc=0x12)
BOTH = pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])


def refused(packet: bytes) -> Drop:
    frame = parse_packet(packet)
    assert isinstance(frame, Refused)
    assert frame.packet == packet
    return frame.reason


def check_ip(frame: Frame, ip: Packet) -> None:
    assert frame.source == parse_address(ip.src)
    assert frame.destination == parse_address(ip.dst)
    assert (frame.tos, frame.ttl, frame.ecn) == (0x12, 61, 2)


@BOTH
@given(
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 511),
    st.sampled_from([[], [("Timestamp", (7, 9))], [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))]]),
    st.binary(max_size=30),
)
def test_tcp(ip: Packet, port: int, seq: int, flags: int, options: list[object], payload: bytes) -> None:
    wire = bytes(
        ip
        / TCP(sport=port, dport=80, seq=seq, ack=99, flags=flags, window=port, urgptr=3, options=options)
        / Raw(payload)
    )
    frame = parse_packet(memoryview(wire + b"trailing ethernet padding"))
    assert isinstance(frame, Segment)
    check_ip(frame, ip)
    assert (frame.source_port, frame.destination_port) == (port, 80)
    assert (frame.seq, frame.ack, frame.flags, frame.window, frame.urgent) == (seq, 99, flags, port, 3)
    assert (frame.payload, frame.payload_length, frame.segs) == (payload, len(payload), 1)
    assert frame.segment_size == len(payload)
    assert frame.has_ts is bool(options)
    assert (frame.ts_val, frame.ts_ecr) == ((7, 9) if options else (0, 0))
    assert frame.options == b""
    assert frame.packet == (wire if flags & 2 else b"")


@BOTH
def test_tcp_with_options_that_somebody_must_read(ip: Packet) -> None:
    frame = parse_packet(bytes(ip / TCP(flags="S", options=[("MSS", 1460), ("Timestamp", (1, 2)), ("WScale", 7)])))
    assert isinstance(frame, Segment)
    assert frame.options == bytes.fromhex("020405b4 080a 0000000100000002 030307 000000")
    assert (frame.has_ts, frame.ts_val, frame.ts_ecr) == (True, 1, 2)


@BOTH
@pytest.mark.parametrize("options", ["08", "0800", "08010000", "0000", "03ff0000"])
def test_tcp_with_malformed_options_is_a_segment_all_the_same(ip: Packet, options: str) -> None:
    raw = bytes.fromhex(options)
    raw += b"\x01" * (-len(raw) % 4) if raw[0] else bytes(-len(raw) % 4)
    head = bytearray(bytes(TCP(flags="A"))[:20] + raw)
    head[12] = len(head) // 4 << 4
    frame = parse_packet(with_sum(ip, bytes(head)))
    assert isinstance(frame, Segment)
    assert frame.options == (b"" if raw[0] == 0 else raw)
    assert frame.has_ts is False


def with_sum(ip: Packet, text: bytes) -> bytes:
    """An IP packet with any TCP text, its checksum made right."""
    source, destination = parse_address(ip.src), parse_address(ip.dst)
    text = text[:16] + b"\0\0" + text[18:]
    total = checksum(text, pseudo_sum(source, destination, 6, len(text)))
    text = text[:16] + total.to_bytes(2, "big") + text[18:]
    build = ipv4.build if ip is V4 else ipv6.build
    return build(source, destination, 6, text)


@BOTH
@given(st.integers(0, 65535), st.binary(max_size=50))
def test_udp(ip: Packet, port: int, payload: bytes) -> None:
    frame = parse_packet(bytes(ip / UDP(sport=port, dport=53) / Raw(payload)))
    assert isinstance(frame, Datagram)
    check_ip(frame, ip)
    assert (frame.source_port, frame.destination_port, frame.payload) == (port, 53, payload)


def test_udp_without_a_checksum() -> None:
    frame = parse_packet(bytes(V4 / UDP(chksum=0) / b"abc"))
    assert isinstance(frame, Datagram)
    assert frame.payload == b"abc"
    assert refused(bytes(V6 / UDP(chksum=0) / b"abc")) is Drop.UDP_CHECKSUM


def test_udp_may_be_shorter_than_its_packet() -> None:
    wire = bytes(V4 / UDP(sport=1, dport=2, len=10, chksum=0) / b"abcd")
    frame = parse_packet(wire)
    assert isinstance(frame, Datagram)
    assert frame.payload == b"ab"


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=50))
def test_icmp(identifier: int, sequence: int, data: bytes) -> None:
    for ip, echo, kind in ((V4, ICMP(id=identifier, seq=sequence), 8), (V6, ICMPv6EchoRequest(), 128)):
        if kind == 128:
            echo.id, echo.seq, echo.data = identifier, sequence, data
            wire = bytes(ip / echo)
        else:
            wire = bytes(ip / echo / Raw(data))
        frame = parse_packet(wire)
        assert isinstance(frame, IcmpMessage)
        check_ip(frame, ip)
        assert (frame.type, frame.code, frame.rest, frame.body) == (kind, 0, identifier << 16 | sequence, data)
        assert (frame.source_port, frame.destination_port) == (0, 0)


@BOTH
@pytest.mark.parametrize(
    ("layer", "reason", "checksum"),
    [
        (TCP(chksum=1), Drop.TCP_CHECKSUM, True),
        (UDP(chksum=1), Drop.UDP_CHECKSUM, True),
        (UDP(len=7), Drop.UDP_LENGTH, False),
        (UDP(len=9), Drop.UDP_LENGTH, False),
        (TCP(dataofs=4), Drop.TCP_DATA_OFFSET, False),
        (TCP(dataofs=6), Drop.TCP_DATA_OFFSET, False),
    ],
)
def test_a_bad_transport_header(ip: Packet, layer: Packet, reason: Drop, checksum: bool) -> None:
    wire = bytes(ip / layer)
    assert refused(wire) is reason
    if checksum:
        assert not isinstance(parse_packet(wire, vouched=True), Refused)


@BOTH
@pytest.mark.parametrize(
    ("protocol", "length", "reason"), [(6, 19, Drop.TCP_TRUNCATED), (17, 7, Drop.UDP_TRUNCATED), (1, 7, None)]
)
def test_a_short_transport_header(ip: Packet, protocol: int, length: int, reason: Drop | None) -> None:
    if reason is None:
        protocol, reason = (1 if ip is V4 else 58), Drop.ICMP_TRUNCATED
    layer = ip.copy()
    setattr(layer, "proto" if ip is V4 else "nh", protocol)
    assert refused(bytes(layer / Raw(bytes(length)))) is reason


def test_bad_icmp_checksums() -> None:
    assert refused(bytes(V4 / ICMP(chksum=1))) is Drop.ICMP_CHECKSUM
    assert refused(bytes(V6 / ICMPv6EchoRequest(cksum=1))) is Drop.ICMP_CHECKSUM


def test_bad_ip_headers() -> None:
    good = bytes(V4 / UDP() / b"abc")
    assert refused(b"") is Drop.FRAME_EMPTY
    assert refused(b"\x00" * 40) is Drop.IP_VERSION
    assert refused(b"\x55" * 40) is Drop.IP_VERSION
    assert refused(good[:19]) is Drop.IP_TRUNCATED
    assert refused(b"\x44" + good[1:]) is Drop.IP_HEADER_LENGTH
    assert refused(b"\x4f" + good[1:]) is Drop.IP_HEADER_LENGTH
    assert refused(good[:-1]) is Drop.IP_TOTAL_LENGTH
    assert refused(good[:2] + b"\x00\x13" + good[4:]) is Drop.IP_TOTAL_LENGTH
    assert refused(good[:8] + b"\x05" + good[9:]) is Drop.IP_CHECKSUM
    six = bytes(V6 / UDP() / b"abc")
    assert refused(six[:39]) is Drop.IP_TRUNCATED
    assert refused(six[:-1]) is Drop.IP_TOTAL_LENGTH


def test_ipv4_options_are_stepped_over() -> None:
    """MUST-50."""
    frame = parse_packet(bytes(IP(src="10.0.0.1", dst="10.0.0.2", options=[IPOption_RR()]) / TCP(dport=80)))
    assert isinstance(frame, Segment)
    assert frame.destination_port == 80


def test_an_ipv4_fragment() -> None:
    wire = bytes(IP(src="10.0.0.1", dst="10.0.0.2", id=0x1234, flags="MF", frag=2, proto=17) / Raw(b"x" * 16))
    frame = parse_packet(wire)
    assert isinstance(frame, Fragment)
    assert (frame.identification, frame.offset, frame.more, frame.protocol) == (0x1234, 16, True, 17)
    assert frame.payload == b"x" * 16
    assert frame.header == wire[:6] + b"\0\0" + wire[8:20]


@pytest.mark.parametrize(
    ("flags", "offset", "length"), [("MF", 0, 15), ("", 8191, 8), ("MF", 0, 0), ("", 5, 0), ("MF", 8188, 16)]
)
def test_impossible_ipv4_fragments(flags: str, offset: int, length: int) -> None:
    wire = bytes(IP(src="10.0.0.1", dst="10.0.0.2", flags=flags, frag=offset) / Raw(bytes(length)))
    assert refused(wire) is Drop.IP_FRAGMENT


def test_an_ipv6_fragment_behind_other_headers() -> None:
    lead = V6 / IPv6ExtHdrHopByHop(options=PadN(optdata=b"\0\0\0\0"))
    wire = bytes(lead / IPv6ExtHdrFragment(nh=17, id=0x12345678, offset=2, m=1) / Raw(b"x" * 16))
    frame = parse_packet(wire)
    assert isinstance(frame, Fragment)
    check_ip(frame, V6)
    assert (frame.identification, frame.offset, frame.more, frame.protocol) == (0x12345678, 16, True, 17)
    assert frame.payload == b"x" * 16
    assert frame.header == wire[:40] + b"\x11" + wire[41:48]


def test_an_ipv6_fragment_right_behind_the_header() -> None:
    wire = bytes(V6 / IPv6ExtHdrFragment(nh=17, id=7, offset=0, m=1) / Raw(b"x" * 8))
    frame = parse_packet(wire)
    assert isinstance(frame, Fragment)
    assert frame.header == wire[:6] + b"\x11" + wire[7:40]


def test_impossible_ipv6_fragments_are_worth_an_answer() -> None:
    wire = bytes(V6 / IPv6ExtHdrFragment(nh=17, id=7, offset=0, m=1) / Raw(b"x" * 9))
    frame = parse_packet(wire)
    assert isinstance(frame, Refused)
    assert (frame.reason, frame.parameter_code, frame.pointer) == (Drop.IP_FRAGMENT, 0, 4)
    frame = parse_packet(bytes(V6 / IPv6ExtHdrFragment(nh=17, id=7, offset=8191, m=0) / Raw(b"x" * 80)))
    assert isinstance(frame, Refused)
    assert (frame.reason, frame.parameter_code, frame.pointer) == (Drop.IP_FRAGMENT, 0, 42)


def test_extension_headers_are_walked() -> None:
    lead = V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0, addresses=["fd00::9"])
    frame = parse_packet(bytes(lead / TCP(dport=80)))
    assert isinstance(frame, Segment)
    check_ip(frame, V6)
    assert frame.destination_port == 80


@pytest.mark.parametrize(("kind", "code", "pointer"), [(0x1E, None, 0), (0x5E, -1, 0), (0x9E, 2, 42), (0xDE, 2, 42)])
def test_an_unknown_option_says_what_to_do(kind: int, code: int | None, pointer: int) -> None:
    """RFC 8200 section 4.2."""
    options = IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=kind, optdata=b"abcd")])
    frame = parse_packet(bytes(V6 / options / UDP() / b"x"))
    if code is None:
        assert isinstance(frame, Datagram)
        return
    assert isinstance(frame, Refused)
    assert (frame.reason, frame.parameter_code, frame.pointer) == (Drop.IPV6_EXTENSION, code, pointer)


def test_an_unknown_option_to_a_multicast_address_is_not_always_answered() -> None:
    options = IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0xDE, optdata=b"abcd")])
    frame = parse_packet(bytes(IPv6(src="fd00::1", dst="ff02::1") / options / UDP()))
    assert isinstance(frame, Refused)
    assert frame.parameter_code == -1


def test_routing_with_segments_left_and_late_hop_by_hop() -> None:
    frame = parse_packet(bytes(V6 / IPv6ExtHdrRouting(segleft=1, addresses=["fd00::9"]) / UDP()))
    assert isinstance(frame, Refused)
    assert (frame.reason, frame.parameter_code, frame.pointer) == (Drop.IPV6_EXTENSION, 0, 42)
    frame = parse_packet(bytes(V6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP()))
    assert isinstance(frame, Refused)
    assert (frame.reason, frame.parameter_code, frame.pointer) == (Drop.IPV6_EXTENSION, 1, 40)


def test_endless_extension_headers() -> None:
    lead = V6
    for _ in range(8):
        lead = lead / IPv6ExtHdrDestOpt()
    assert isinstance(parse_packet(bytes(lead / UDP())), Datagram)
    assert refused(bytes(lead / IPv6ExtHdrDestOpt() / UDP())) is Drop.IPV6_EXTENSION_CHAIN


def test_truncated_extension_headers() -> None:
    header = bytes(IPv6(src="fd00::1", dst="fd00::2", nh=60) / Raw(b"\x11\x01" + bytes(6)))
    assert refused(header) is Drop.IPV6_EXTENSION
    header = bytes(IPv6(src="fd00::1", dst="fd00::2", nh=44) / Raw(b"\x11\x00\x00"))
    assert refused(header) is Drop.IPV6_EXTENSION


@pytest.mark.parametrize(("protocol", "ip"), [(47, V4), (58, V4), (47, V6), (1, V6), (59, V6), (51, V6)])
def test_other_protocols(protocol: int, ip: Packet) -> None:
    lead = ip.copy()
    setattr(lead, "proto" if ip is V4 else "nh", protocol)
    frame = parse_packet(bytes(lead / Raw(b"abc")))
    assert isinstance(frame, OtherPacket)
    assert (frame.protocol, frame.payload, frame.pointer) == (protocol, b"abc", 9 if ip is V4 else 6)


SEEDS = [
    bytes(V4 / TCP(flags="S", options=[("MSS", 1460), ("WScale", 7)])),
    bytes(V4 / UDP() / b"hello"),
    bytes(V4 / ICMP() / b"hello"),
    bytes(V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(nh=17, m=1) / Raw(b"x" * 16)),
    bytes(V6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / TCP()),
    bytes(V6 / ICMPv6EchoRequest()),
]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
    st.integers(0, 120),
    st.booleans(),
)
def test_damaged_packets_never_raise(seed: bytes, changes: list[tuple[int, int]], length: int, vouched: bool) -> None:
    wire = bytearray(seed)
    for at, value in changes:
        if at < len(wire):
            wire[at] = value
    packet = bytes(wire[: length or None])
    frame = parse_packet(packet, vouched)
    assert len(frame.key) == 36
    assert describe_packet(packet)


@given(st.binary(max_size=100))
@example(b"\x45" * 40)
@example(b"\x60" + bytes(39))
def test_random_bytes_never_raise(packet: bytes) -> None:
    parse_packet(packet)
    parse_packet(packet, vouched=True)
    describe_packet(packet)
