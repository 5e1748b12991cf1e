"""The parser in C against scapy, against the Python twin, and against hostile bytes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Packet

from tests.native.frames import received, seen
from ustack.drops import Drop
from ustack.wire.parse import parse_packet

V4 = IP(src="192.0.2.1", dst="198.51.100.2", tos=0x2A, ttl=57)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=0x2A, hlim=57, fl=0x12345)


def wire(packet: Packet) -> bytes:
    return bytes(packet)


def scapy_tcp(**fields: object) -> TCP:
    return TCP(sport=4242, dport=80, seq=0xFFFFFFF0, ack=0x80000001, window=1234, urgptr=7, **fields)


@pytest.mark.parametrize("ip", [V4, V6], ids=["v4", "v6"])
def test_every_field_of_a_segment(ip: Packet) -> None:
    packet = wire(ip / scapy_tcp(flags="PA", options=[("NOP", 0), ("NOP", 0), ("Timestamp", (77, 88))]) / b"hello")
    (frame,) = received(packet)
    assert frame["kind"] == "Segment"
    assert (frame["seq"], frame["ack"], frame["window"], frame["urgent"]) == (0xFFFFFFF0, 0x80000001, 1234, 7)
    assert (frame["flags"], frame["tos"], frame["ttl"], frame["ecn"]) == (0x18, 0x2A, 57, 2)
    assert (frame["has_ts"], frame["ts_val"], frame["ts_ecr"], frame["options"]) == (True, 77, 88, b"")
    assert (frame["payload"], frame["segs"], frame["segment_size"]) == (b"hello", 1, 5)
    assert (frame["source_port"], frame["destination_port"]) == (4242, 80)
    source, destination = frame["source"], frame["destination"]
    assert isinstance(source, bytes)
    assert isinstance(destination, bytes)
    if ip is V4:
        assert (source[12:], destination[12:]) == (bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2]))
    else:
        assert (source[-1], destination[-1], source[:4]) == (1, 2, b"\x20\x01\x0d\xb8")


PACKETS = {
    "syn": V4 / scapy_tcp(flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)]),
    "nine-flags": V4 / TCP(flags="FSRPAUECN") / b"x",
    "sack": V4 / scapy_tcp(flags="A", options=[("NOP", 0), ("NOP", 0), ("SAck", (5, 9))]),
    "two-timestamps": V4 / scapy_tcp(options=[("Timestamp", (1, 2)), ("Timestamp", (3, 4))]),
    "ip-options": IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x94\x04\x00\x00") / TCP() / b"odd",
    "trailing": bytes(V4 / TCP() / b"text") + b"padding",
    "udp": V4 / UDP(sport=53, dport=5353) / b"question",
    "udp-trailing": V4 / UDP(sport=53, dport=5353, len=10) / b"question",
    "udp-unsummed": V4 / UDP(chksum=0) / b"question",
    "icmp": V4 / ICMP() / b"ping",
    "unknown": IP(src="10.0.0.1", dst="10.0.0.2", proto=99) / b"what",
    "fragment": IP(src="10.0.0.1", dst="10.0.0.2", flags="MF", proto=6) / bytes(16),
    "bad-fragment": IP(src="10.0.0.1", dst="10.0.0.2", flags="MF", proto=6) / bytes(15),
    "v6-udp": V6 / UDP() / b"question",
    "v6-udp-unsummed": V6 / UDP(chksum=0) / b"question",
    "v6-echo": V6 / ICMPv6EchoRequest(data=b"ping"),
    "v6-extensions": V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / scapy_tcp(flags="A") / b"deep",
    "v6-fragment": V6 / IPv6ExtHdrFragment(m=1, nh=6) / bytes(16),
    "v6-hop-twice": V6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / TCP(),
    "v6-no-next": IPv6(src="::1", dst="::1", nh=59),
    "icmp-in-v6": IPv6(src="::1", dst="::1", nh=1) / b"12345678",
    "icmp6-in-v4": IP(src="10.0.0.1", dst="10.0.0.2", proto=58) / b"12345678",
    "short": b"\x45\0",
    "empty": b"",
    "version-5": b"\x55" + bytes(40),
}


@pytest.mark.parametrize("name", PACKETS)
def test_the_same_frame_as_the_python_twin(name: str) -> None:
    packet = bytes(PACKETS[name])
    assert received(packet) == [seen(parse_packet(packet))]


def refusals() -> list[tuple[Drop, bytes]]:
    good, good6 = bytearray(wire(V4 / TCP() / b"text")), bytearray(wire(V6 / TCP() / b"text"))
    udp, udp6 = bytearray(wire(V4 / UDP() / b"text")), bytearray(wire(V6 / UDP(chksum=0)))
    icmp = bytearray(wire(V4 / ICMP() / b"text"))
    short = {proto: wire(IP(src="1.1.1.1", dst="2.2.2.2", proto=proto) / bytes(7)) for proto in (1, 6, 17)}

    def flipped(packet: bytearray, at: int, value: int) -> bytes:
        copy = bytearray(packet)
        copy[at] ^= value
        return bytes(copy)

    chain = V6
    for _ in range(9):
        chain = chain / IPv6ExtHdrDestOpt()
    return [
        (Drop.FRAME_EMPTY, b""),
        (Drop.IP_TRUNCATED, bytes(good[:19])),
        (Drop.IP_TRUNCATED, bytes(good6[:39])),
        (Drop.IP_VERSION, flipped(good, 0, 0x10)),
        (Drop.IP_HEADER_LENGTH, flipped(good, 0, 1)),
        (Drop.IP_HEADER_LENGTH, wire(IP(src="1.1.1.1", dst="2.2.2.2", ihl=15))),
        (Drop.IP_TOTAL_LENGTH, bytes(good[:-1])),
        (Drop.IP_TOTAL_LENGTH, bytes(good6[:-1])),
        (Drop.IP_TOTAL_LENGTH, wire(IP(src="1.1.1.1", dst="2.2.2.2", len=19))),
        (Drop.IP_CHECKSUM, flipped(good, 8, 1)),
        (Drop.IPV6_EXTENSION, wire(IPv6(src="::1", dst="::1", nh=0) / bytes(7))),
        (Drop.IPV6_EXTENSION, wire(IPv6(src="::1", dst="::1", nh=0) / b"\x06\x01" / bytes(6))),
        (Drop.IPV6_EXTENSION_CHAIN, wire(chain / TCP())),
        (Drop.TCP_TRUNCATED, short[6]),
        (Drop.TCP_DATA_OFFSET, flipped(good, 32, 0x10)),
        (Drop.TCP_DATA_OFFSET, flipped(good, 32, 0xA0)),
        (Drop.TCP_CHECKSUM, flipped(good, 43, 1)),
        (Drop.TCP_CHECKSUM, flipped(good6, 63, 1)),
        (Drop.UDP_TRUNCATED, short[17]),
        (Drop.UDP_LENGTH, flipped(udp, 24, 0x80)),
        (Drop.UDP_CHECKSUM, flipped(udp, 30, 0x80)),
        (Drop.UDP_CHECKSUM, bytes(udp6)),
        (Drop.ICMP_TRUNCATED, short[1]),
        (Drop.ICMP_CHECKSUM, flipped(icmp, 30, 0x80)),
        (Drop.FRAME_TOO_LONG, bytes(good) + bytes(65536)),
    ]


@pytest.mark.parametrize(("reason", "packet"), refusals(), ids=lambda value: getattr(value, "name", ""))
def test_refused_by_name(reason: Drop, packet: bytes) -> None:
    (frame,) = received(packet)
    assert (frame["kind"], frame["reason"]) == ("Refused", reason)


def test_trusted_checksums_are_not_verified_but_the_ip_header_is() -> None:
    packet = bytearray(wire(V4 / TCP() / b"text"))
    packet[-1] ^= 1
    (frame,) = received(bytes(packet), trusted=True)
    assert frame["kind"] == "Segment"
    packet[8] ^= 1
    (frame,) = received(bytes(packet), trusted=True)
    assert frame["reason"] == Drop.IP_CHECKSUM


VALID = [bytes(packet) for packet in PACKETS.values() if len(bytes(packet)) > 8]


@settings(max_examples=400)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=4),
    st.integers(0, 4),
    st.booleans(),
)
def test_mutations_mean_the_same_to_both_parsers(
    packet: bytes, changes: list[tuple[int, int]], cut: int, trusted: bool
) -> None:
    mutated = bytearray(packet[: len(packet) - cut])
    for at, value in changes:
        mutated[at % len(mutated)] = value
    if mutated[0] >> 4 == 4 and len(mutated) >= 20 and trusted:  # get past the header's own checksum
        header = mutated[: (mutated[0] & 15) * 4]
        header[10:12] = b"\0\0"
        mutated[10:12] = (0xFFFF - sum(header[0::2]) * 256 - sum(header[1::2])).__mod__(0xFFFF).to_bytes(2, "big")
    (frame,) = received(bytes(mutated), trusted=trusted)
    assert frame == seen(parse_packet(bytes(mutated), trusted))


@settings(max_examples=300)
@given(st.binary(max_size=90), st.sampled_from([b"", b"\x45", b"\x60", b"\x46"]))
@example(b"", b"")
def test_any_bytes_are_a_frame(data: bytes, first: bytes) -> None:
    packet = first + data
    for trusted in (False, True):
        (frame,) = received(packet, trusted=trusted)
        assert frame == seen(parse_packet(packet, trusted))


def test_a_frame_longer_than_any_packet_is_refused_by_both() -> None:
    packet = bytes(PACKETS["udp"]) + bytes(65536)
    assert received(packet) == [seen(parse_packet(packet))]
