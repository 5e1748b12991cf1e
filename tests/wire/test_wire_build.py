"""What is built: read back by scapy, and by the parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6PacketTooBig, IPv6
from scapy.packet import Packet

from ustack.ring import SendRing
from ustack.wire import icmp, ipv4, ipv6, udp
from ustack.wire.address import parse_address
from ustack.wire.frame import Datagram, Fragment, IcmpMessage, RawTransmit, Segment, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut
from ustack.wire.tcp import ACK, CWR, FIN, PSH, SYN

FOUR = (parse_address("10.0.0.1"), parse_address("10.0.0.2"))
SIX = (parse_address("fd00::1"), parse_address("fd00::2"))
ENDS = pytest.mark.parametrize("ends", [FOUR, SIX], ids=["ipv4", "ipv6"])


def reread(packet: bytes) -> Packet:
    """What scapy makes of it, all lengths and checksums recomputed: equal bytes mean that ours were right."""
    read = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    again = read.copy()
    for layer in (IP, TCP, UDP, ICMP, IPv6):
        if layer in again:
            for name in ("len", "chksum", "ihl", "dataofs", "plen"):
                if name in again[layer].fields:
                    delattr(again[layer], name)
    assert bytes(again) == packet
    return read


@ENDS
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 0xFFF),
    st.sampled_from([b"", bytes.fromhex("0101080a0000000100000002")]),
    st.binary(min_size=0, max_size=200),
    st.integers(0, 120),
)
def test_a_run_is_cut_into_what_the_peer_puts_together(
    ends: tuple[bytes, bytes], seq: int, flags: int, options: bytes, payload: bytes, size: int
) -> None:
    ring = SendRing(4096, at=1000)
    ring.write(b"before" + payload + b"behind")
    transmit = Transmit(
        *ends, 40000, 80, seq, 77, flags, 512, 5, options, ring, 1006, len(payload), size, 0x10, 63, 0xFFFF, False, 9
    )
    packets = cut(transmit)
    frames = [parse_packet(packet) for packet in packets]
    got = b""
    for number, (frame, packet) in enumerate(zip(frames, packets, strict=True)):
        assert isinstance(frame, Segment)
        last = number == len(frames) - 1
        expected = flags
        expected &= 0xFFF if last else ~(FIN | PSH)
        expected &= 0xFFF if number == 0 else ~CWR
        assert frame.seq == (seq + len(got)) & 0xFFFFFFFF
        assert (frame.ack, frame.flags, frame.window, frame.urgent) == (77, expected, 512, 5)
        assert (frame.tos, frame.ttl) == (0x10, 63)
        assert frame.has_ts is bool(options)
        assert frame.payload_length == (size if size and not last else frame.payload_length)
        assert frame.payload_length <= (size or 65535)
        assert isinstance(frame.payload, bytes)
        got += frame.payload
        if ends is FOUR:
            assert int.from_bytes(packet[4:6], "big") == (0xFFFF + number) & 0xFFFF
            assert packet[6:8] == b"\0\0"
        else:
            assert int.from_bytes(packet[:4], "big") & 0xFFFFF == 9
    assert got == payload


@ENDS
def test_scapy_reads_a_segment(ends: tuple[bytes, bytes]) -> None:
    options = bytes.fromhex("020405b40402080a00000001000000000103030a")
    (packet,) = cut(Transmit(*ends, 40000, 80, 7, 0, SYN, 65535, 0, options))
    read = reread(packet)
    assert (read[TCP].sport, read[TCP].dport, read[TCP].seq, read[TCP].flags, read[TCP].window) == (
        40000,
        80,
        7,
        "S",
        65535,
    )
    assert read[TCP].options == [
        ("MSS", 1460),
        ("SAckOK", b""),
        ("Timestamp", (1, 0)),
        ("NOP", None),
        ("WScale", 10),
    ]
    if ends is FOUR:
        assert read[IP].flags == "DF"


@ENDS
def test_without_a_segment_size_a_packet_is_as_long_as_ip_allows(ends: tuple[bytes, bytes]) -> None:
    ring = SendRing(1 << 20)
    ring.write(bytes(100_000))
    packets = cut(Transmit(*ends, 1, 2, 0, 0, ACK, 1, ring=ring, length=100_000))
    assert len(packets[0]) == 65535
    assert sum(frame.payload_length for frame in map(parse_packet, packets) if isinstance(frame, Segment)) == 100_000


def test_a_raw_packet_is_itself() -> None:
    assert cut(RawTransmit(b"abc")) == [b"abc"]


def test_what_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="whole words"):
        cut(Transmit(*FOUR, 1, 2, 0, 0, ACK, 1, 0, b"abc"))
    with pytest.raises(ValueError, match="at most 40"):
        cut(Transmit(*FOUR, 1, 2, 0, 0, ACK, 1, 0, bytes(44)))
    with pytest.raises(ValueError, match="two families"):
        cut(Transmit(FOUR[0], SIX[1], 1, 2, 0, 0, ACK, 1))
    with pytest.raises(ValueError, match="no ring"):
        cut(Transmit(*FOUR, 1, 2, 0, 0, ACK, 1, length=1))
    ring = SendRing(100)
    ring.write(b"abc")
    with pytest.raises(ValueError, match="not within"):
        cut(Transmit(*FOUR, 1, 2, 0, 0, ACK, 1, ring=ring, at=1, length=3))


def wrap_ip(ends: tuple[bytes, bytes], protocol: int, text: bytes) -> bytes:
    return (ipv4 if ends is FOUR else ipv6).build(*ends, protocol, text)


@ENDS
@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=60))
def test_udp(ends: tuple[bytes, bytes], sport: int, dport: int, payload: bytes) -> None:
    packet = wrap_ip(ends, 17, udp.build(*ends, sport, dport, payload))
    frame = parse_packet(packet)
    assert isinstance(frame, Datagram)
    assert (frame.source_port, frame.destination_port, frame.payload) == (sport, dport, payload)


@ENDS
def test_udp_whose_sum_is_zero_says_ffff(ends: tuple[bytes, bytes]) -> None:
    seen = set()
    for n in range(65536):
        text = udp.build(*ends, 1, 2, n.to_bytes(2, "big"))
        if text[6:8] == b"\xff\xff":
            seen.add(n)
            assert isinstance(parse_packet(wrap_ip(ends, 17, text)), Datagram)
        assert text[6:8] != b"\0\0"
    assert len(seen) == 1


def test_udp_and_ip_have_their_limits() -> None:
    with pytest.raises(ValueError, match="at most 65535"):
        udp.build(*FOUR, 1, 2, bytes(65528))
    with pytest.raises(ValueError, match="at most 65535"):
        ipv4.build(*FOUR, 17, bytes(65516))
    with pytest.raises(ValueError, match="at most 65535"):
        ipv6.build(*SIX, 17, bytes(65536))


@ENDS
def test_echo(ends: tuple[bytes, bytes]) -> None:
    request = parse_packet(wrap_ip(ends, icmp.protocol_of(ends[0]), icmp.build_echo_request(*ends, 7, 9, b"data")))
    assert isinstance(request, IcmpMessage)
    assert (request.type, request.code, request.rest, request.body) == (
        8 if ends is FOUR else 128,
        0,
        7 << 16 | 9,
        b"data",
    )
    packet = wrap_ip(ends, icmp.protocol_of(ends[0]), icmp.build_echo_reply(*ends, request.rest, request.body))
    read = reread(packet)
    reply = read[ICMP] if ends is FOUR else read[ICMPv6EchoReply]
    assert (reply.type, reply.id, reply.seq) == (0 if ends is FOUR else 129, 7, 9)


@ENDS
def test_errors_quote_as_much_as_linux(ends: tuple[bytes, bytes]) -> None:
    long_packet = wrap_ip(ends, 17, udp.build(*ends, 1, 2, bytes(2000)))
    for text, kind in (
        (icmp.build_unreachable(*ends, 3, long_packet), (3, 1)),
        (icmp.build_time_exceeded(*ends, 1, long_packet), (11, 3)),
        (icmp.build_parameter_problem(*ends, 0, 6, long_packet), (12, 4)),
        (icmp.build_packet_too_big(*ends, 1400, long_packet), (3, 2)),
    ):
        packet = wrap_ip(ends, icmp.protocol_of(ends[0]), text)
        assert len(packet) == (576 if ends is FOUR else 1280)
        frame = parse_packet(packet)
        assert isinstance(frame, IcmpMessage)
        assert frame.type == kind[0 if ends is FOUR else 1]
        assert long_packet.startswith(frame.body)
    if ends is SIX:
        read = reread(wrap_ip(ends, 58, icmp.build_packet_too_big(*ends, 1400, long_packet)))
        assert read[ICMPv6PacketTooBig].mtu == 1400


def test_what_must_not_be_answered_with_an_error() -> None:
    assert icmp.is_error(4, 3)
    assert icmp.is_error(4, 42)
    assert not icmp.is_error(4, 8)
    assert icmp.is_error(6, 1)
    assert icmp.is_error(6, 100)
    assert not icmp.is_error(6, 128)


@ENDS
@given(st.binary(min_size=1, max_size=3000), st.integers(68, 1500), st.integers(0, 2**32 - 1))
def test_fragments_join_to_what_was_cut(
    ends: tuple[bytes, bytes], payload: bytes, mtu: int, identification: int
) -> None:
    if ends is FOUR:
        packet = ipv4.build(*ends, 17, payload, identification=identification & 0xFFFF, fragment=0)
        pieces = ipv4.fragment_packet(packet, mtu)
    else:
        packet = ipv6.build(*ends, 17, payload)
        pieces = ipv6.fragment_packet(packet, mtu, identification)
    assert all(len(piece) <= mtu for piece in pieces)
    if len(packet) <= mtu:
        assert pieces == [packet]
        return
    joined = b""
    for piece in pieces:
        frame = parse_packet(piece)
        assert isinstance(frame, Fragment)
        assert frame.offset == len(joined)
        assert frame.more is (piece is not pieces[-1])
        assert frame.identification == (identification & 0xFFFF if ends is FOUR else identification)
        assert frame.protocol == 17
        joined += frame.payload
    assert joined == payload


def test_a_fragment_can_be_cut_again_and_keeps_its_options() -> None:
    copied, once = b"\x94\x04\x00\x00", b"\x07\x04\x04\x00"
    whole = ipv4.build(*FOUR, 17, bytes(range(200)), fragment=0x2000 | 5)
    header = bytearray(whole[:20] + once + copied)
    header[0] = 0x47
    header[2:4] = (228).to_bytes(2, "big")
    pieces = ipv4.fragment_packet(ipv4.with_checksum(bytes(header)) + whole[20:], 100)
    frames = [parse_packet(piece) for piece in pieces]
    assert all(isinstance(frame, Fragment) and frame.more for frame in frames)
    assert [frame.offset for frame in frames if isinstance(frame, Fragment)] == [40, 112, 184]
    assert pieces[0][20:28] == once + copied
    assert [piece[0] for piece in pieces] == [0x47, 0x46, 0x46]
    assert pieces[1][20:24] == copied


def test_an_mtu_that_holds_nothing() -> None:
    with pytest.raises(ValueError, match="no fragment"):
        ipv4.fragment_packet(ipv4.build(*FOUR, 17, bytes(100)), 27)
    with pytest.raises(ValueError, match="no fragment"):
        ipv6.fragment_packet(ipv6.build(*SIX, 17, bytes(100)), 55, 1)
