"""Two devices joined: what goes in on one side comes out on the other, and a run stays a run."""

from __future__ import annotations

import select
from typing import Any

import pytest

from ustack import native
from ustack.device.memory import MemoryPair
from ustack.ring import SendRing
from ustack.wire.address import parse_address
from ustack.wire.frame import RawTransmit, Segment, Transmit
from ustack.wire.split import cut

LEFT, RIGHT = parse_address("10.0.0.1"), parse_address("10.0.0.2")
TIMESTAMPS = bytes.fromhex("0101080a0000000700000009")


def run(length: int, *, flags: int = 0x18, options: bytes = TIMESTAMPS, segment_size: int = 1448) -> Transmit:
    ring = SendRing(1 << 22)
    ring.write(bytes(number % 251 for number in range(length)))
    return Transmit(
        LEFT, RIGHT, 1000, 80, 5, 6, flags, 7, 0, options, ring if length else None, 0, length, segment_size
    )


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def facts(segment: Any) -> dict[str, Any]:
    names = [name for name in dir(segment) if not name.startswith("_")]  # a compiled record has no __dict__
    known = {name: getattr(segment, name) for name in names}
    known["payload"] = (
        native.payload_bytes(segment.payload, 0, segment.payload_length) if segment.payload_length else b""
    )
    return known


@pytest.mark.parametrize("options", [TIMESTAMPS, b""])
@pytest.mark.parametrize("flags", [0x10, 0x18, 0x11, 0x19])
@pytest.mark.parametrize("length", [0, 1, 1448, 1449, 40000])
def test_a_run_arrives_as_its_packets_would_after_merging(length: int, flags: int, options: bytes) -> None:
    pair = MemoryPair()
    transmit = run(length, flags=flags, options=options)
    assert pair.left.send([transmit], 0) == 1
    (direct,) = pair.right.receive(0)
    receiver = native.Receiver()
    (merged,) = receiver.receive_packets(cut(transmit))
    assert isinstance(direct, Segment)
    assert facts(direct) == facts(merged)
    pair.close()


@pytest.mark.parametrize("flags", [0x02, 0x12, 0x04, 0x14, 0x38, 0x50, 0x90])
def test_what_is_not_plain_data_crosses_as_packets(flags: int) -> None:
    pair = MemoryPair()
    transmit = run(0 if flags & 6 else 100, flags=flags, options=bytes.fromhex("020405b4"))
    transmit.urgent = 10 if flags & 0x20 else 0
    pair.left.send([transmit], 0)
    (frame,) = pair.right.receive(0)
    receiver = native.Receiver()
    (expected,) = receiver.receive_packets(cut(transmit))
    assert facts(frame) == facts(expected)
    pair.close()


def test_packetwise_everything_is_cut() -> None:
    pair = MemoryPair()
    pair.right.packetwise()
    transmit = run(10_000)
    pair.left.send([transmit], 0)
    assert pair.right.read_packets(0) == cut(transmit)
    pair.close()


def test_packets_cross_in_order_both_ways() -> None:
    pair = MemoryPair()
    ways = ((pair.left, pair.right, [b"a", b"b"]), (pair.right, pair.left, [b"c"]))
    for sender, _, packets in ways:
        sender.write_packets(packets, 0)
    for _, receiver, packets in ways:
        assert receiver.read_packets(0) == packets
        assert receiver.read_packets(0) == []
    pair.close()


def test_the_descriptor_is_readable_exactly_while_something_waits() -> None:
    pair = MemoryPair()
    fd = pair.right.fileno()
    assert not is_readable(fd)
    pair.left.write_packets([b"x"] * 600, 0)
    assert is_readable(fd)
    assert len(pair.right.read_packets(0)) == 512
    assert is_readable(fd)
    assert len(pair.right.read_packets(0)) == 88
    assert not is_readable(fd)
    pair.close()


def test_a_full_queue_takes_no_more_and_says_when_it_does_again() -> None:
    pair = MemoryPair(capacity=100_000)
    transmits = [run(60_000) for _ in range(3)]
    assert pair.left.send(transmits, 0) == 2
    assert pair.left.send(transmits[2:], 0) == 0
    assert not is_readable(pair.left.fileno())
    assert len(pair.right.receive(0)) == 2
    assert is_readable(pair.left.fileno())
    assert pair.left.receive(0) == []
    assert not is_readable(pair.left.fileno())
    assert pair.left.send(transmits[2:], 0) == 1
    pair.close()


def test_a_run_that_is_cut_off_by_a_full_queue_goes_on_where_it_stopped() -> None:
    pair = MemoryPair(capacity=10_000)
    pair.left.packetwise()
    transmits: list[Transmit | RawTransmit] = [run(20_000), RawTransmit(cut(run(0))[0])]
    arrived: list[bytes] = []
    while transmits:
        del transmits[: pair.left.send(transmits, 0)]
        arrived += pair.right.read_packets(0)
    assert arrived == cut(run(20_000)) + cut(run(0))
    pair.close()


def test_a_closed_end_swallows_what_is_sent_to_it() -> None:
    pair = MemoryPair()
    pair.right.close()
    assert pair.left.send([run(10)], 0) == 1
    assert pair.left.write_packets([b"x"], 0) == 1
    assert pair.right.receive(0) == []
    pair.close()
    pair.close()
