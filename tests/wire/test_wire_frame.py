"""Descriptors become frames; and the C parser says what its Python twin says."""

from hypothesis import given
from hypothesis import strategies as st

from ustack.drops import Drop
from ustack.wire import ipv4, udp
from ustack.wire.address import flow_key, parse_address
from ustack.wire.frame import DESCRIPTOR, Datagram, Refused, Segment, frames_from_descriptors

FOUR = (parse_address("10.0.0.1"), parse_address("10.0.0.2"))
KEY = flow_key(FOUR[0], 40000, FOUR[1], 80)


def tcp_record(flags: int, option_bits: int, at: int = 0) -> bytes:
    return DESCRIPTOR.pack(
        1, 0, 3, 64, flags, 500, 10, 20, 30, 40, 5, 1448, 7000, 0xFFFFFFFF, 6, option_bits, 4, at, 60, at + 40, KEY
    )


def test_a_descriptor_is_96_bytes() -> None:
    assert DESCRIPTOR.size == 96


def test_a_run_of_tcp() -> None:
    (frame,) = frames_from_descriptors(memoryview(tcp_record(0x10, 1)), 1, memoryview(bytes(100)))
    assert isinstance(frame, Segment)
    assert (frame.key, frame.protocol, frame.tos, frame.ttl, frame.ecn) == (KEY, 6, 3, 64, 3)
    assert (frame.seq, frame.ack, frame.flags, frame.window, frame.urgent) == (10, 20, 0x10, 500, 6)
    assert (frame.has_ts, frame.ts_val, frame.ts_ecr, frame.options) == (True, 30, 40, b"")
    assert (frame.payload, frame.payload_length, frame.segs, frame.segment_size) == (0xFFFFFFFF, 7000, 5, 1448)
    assert frame.packet == b""
    assert (frame.source_port, frame.destination_port) == (40000, 80)


def test_options_and_the_packet_of_a_syn_are_copied() -> None:
    arena = bytearray(range(100))
    (frame,) = frames_from_descriptors(memoryview(tcp_record(0x02, 2, at=8)), 1, memoryview(arena))
    arena[:] = bytes(100)
    assert isinstance(frame, Segment)
    assert frame.has_ts is False
    assert frame.options == bytes([48, 49, 50, 51])
    assert frame.packet == bytes(range(8, 68))


def test_packets_and_refusals_and_only_as_many_as_there_are() -> None:
    packet = ipv4.build(*FOUR, 17, udp.build(*FOUR, 1, 2, b"abc")[:-1] + b"!")  # its sum is wrong, but vouched for
    arena = bytes(16) + packet
    other = DESCRIPTOR.pack(*([2] + [0] * 16), 16, len(packet), 0, bytes(36))
    bad = DESCRIPTOR.pack(3, Drop.TCP_CHECKSUM, 1, 2, *([0] * 13), 16, 20, 0, KEY)
    frames = frames_from_descriptors(memoryview(other + bad + bytes(96)), 2, memoryview(arena))
    assert len(frames) == 2
    datagram, refusal = frames
    assert isinstance(datagram, Datagram)
    assert datagram.payload == b"ab!"
    assert isinstance(refusal, Refused)
    assert (refusal.reason, refusal.key, refusal.tos, refusal.ttl) == (Drop.TCP_CHECKSUM, KEY, 1, 2)
    assert refusal.packet == packet[:20]


@given(st.integers(0, 5))
def test_an_empty_batch(count: int) -> None:
    assert len(frames_from_descriptors(memoryview(tcp_record(0x10, 0) * 5), count, memoryview(b""))) == count
