"""Neighbours become runs; whatever differs stands apart, for a reason that is counted."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.frames import datagram_pair, seen, text, timestamps, transmit
from ustack import native
from ustack.drops import Drop
from ustack.native import Receiver
from ustack.wire.frame import Transmit
from ustack.wire.split import cut

PSH, FIN, ACK, SYN, URG, ECE, CWR = 8, 1, 16, 2, 32, 64, 128


def packet(at: int = 0, length: int = 10, **fields: object) -> bytes:
    """One segment of the flow: ``text`` of the stream from ``at`` on."""
    made = transmit(text(length, at), **fields)
    made.seq = (made.seq + at) & 0xFFFFFFFF
    (wire,) = cut(made)
    return wire


def batch(*packets: bytes) -> tuple[list[dict[str, object]], dict[str, int]]:
    receiver = Receiver()
    frames = [seen(frame) for frame in receiver.receive_packets(list(packets))]
    return frames, {name: count for name, count in receiver.counts().items() if count}


def test_adjoining_segments_are_one_run() -> None:
    frames, counts = batch(
        packet(0, 10, options=timestamps(5, 1), window=100),
        packet(10, 20, options=timestamps(5, 2), window=90, ack=2010),
        packet(30, 7, options=timestamps(6, 3), window=80, ack=2020, flags=ACK | PSH),
    )
    (run,) = frames
    assert run["payload"] == text(37)
    assert (run["seq"], run["segs"], run["segment_size"]) == (1000, 3, 20)
    assert (run["ts_val"], run["ts_ecr"], run["window"], run["ack"], run["flags"]) == (5, 3, 80, 2020, ACK | PSH)
    assert counts == {"frames": 3, "merged": 2}


def test_a_run_may_end_with_fin_and_then_ends() -> None:
    frames, counts = batch(packet(0), packet(10, flags=ACK | FIN), packet(20))
    assert [frame["payload_length"] for frame in frames] == [20, 10]
    assert frames[0]["flags"] == ACK | FIN
    assert counts["apart_ended"] == 1


def test_runs_wrap_with_the_sequence_number() -> None:
    frames, _ = batch(packet(0, seq=0xFFFFFFFB), packet(10, seq=0xFFFFFFFB))
    assert [frame["payload_length"] for frame in frames] == [20]


FIRST = {"options": timestamps(50, 50)}


@pytest.mark.parametrize(
    ("reason", "second"),
    [
        ("empty", packet(10, 0, **FIRST)),
        ("flags", packet(10, **FIRST, flags=ACK | CWR)),
        ("flags", packet(10, **FIRST, flags=ACK | ECE)),
        ("flags", packet(10, **FIRST, flags=ACK | URG)),
        ("flags", packet(10, **FIRST, flags=ACK | SYN)),
        ("flags", packet(10, **FIRST, flags=ACK | 4)),
        ("flags", packet(10, **FIRST, flags=0)),
        ("flags", packet(10, **FIRST, flags=ACK | 0x100)),
        ("sequence", packet(11, **FIRST)),
        ("sequence", packet(0, **FIRST)),
        ("hops", packet(10, **FIRST, tos=3)),
        ("hops", packet(10, **FIRST, ttl=63)),
        ("options", packet(10)),
        ("options", packet(10, options=timestamps(50, 50) + b"\x01\x01\x05\x0a" + bytes(8))),
        ("ts_val", packet(10, options=timestamps(49, 50))),
        ("ack", packet(10, **FIRST, ack=1999)),
    ],
)
def test_what_differs_stands_apart(reason: str, second: bytes) -> None:
    frames, counts = batch(packet(0, **FIRST), second)
    assert len(frames) == 2
    assert counts == {"frames": 2, f"apart_{reason}": 1}


def test_a_flagged_first_segment_takes_no_other() -> None:
    for flags in (ACK | CWR, ACK | ECE, ACK | URG):
        frames, _ = batch(packet(0, flags=flags), packet(10))
        assert len(frames) == 2


def test_a_pure_acknowledgement_ends_the_run_before_it() -> None:
    frames, _ = batch(packet(0), packet(10, 0), packet(10), packet(20))
    assert [frame["payload_length"] for frame in frames] == [10, 0, 20]


def test_pure_acknowledgements_that_move_forward_are_one() -> None:
    frames, counts = batch(
        packet(0, 0, options=timestamps(5, 1), ack=2000, window=100),
        packet(0, 0, options=timestamps(6, 2), ack=2100, window=90),
        packet(0, 0, options=timestamps(7, 3), ack=5000, window=95),
    )
    (run,) = frames
    assert (run["ack"], run["window"], run["segs"], run["payload_length"]) == (5000, 95, 3, 0)
    assert (run["ts_val"], run["ts_ecr"]) == (7, 3)
    assert counts == {"frames": 3, "merged": 2}


@pytest.mark.parametrize(
    ("reason", "second"),
    [
        ("ack", packet(0, 0, **FIRST, ack=2000)),  # a duplicate, or a window update
        ("ack", packet(0, 0, **FIRST, ack=1999)),
        ("ack", packet(0, 0, **FIRST, ack=2001, window=0)),
        ("sequence", packet(1, 0, **FIRST, ack=2001)),
        ("flags", packet(0, 0, **FIRST, ack=2001, flags=ACK | ECE)),
        ("flags", packet(0, 0, **FIRST, ack=2001, flags=ACK | FIN)),
        ("options", packet(0, 0, ack=2001, options=timestamps(50, 50) + b"\x01\x01\x05\x0a" + bytes(8))),
        ("hops", packet(0, 0, **FIRST, ack=2001, tos=1)),
    ],
)
def test_an_acknowledgement_that_tells_more_stands_apart(reason: str, second: bytes) -> None:
    frames, counts = batch(packet(0, 0, **FIRST), second)
    assert len(frames) == 2
    assert counts == {"frames": 2, f"apart_{reason}": 1}


def test_interleaved_flows_are_runs_each() -> None:
    packets = [packet(at, source_port=5000 + flow) for at in range(0, 100, 10) for flow in range(40)]
    frames, counts = batch(*packets)
    assert len(frames) == 40
    assert all(frame["payload"] == text(100) and frame["segs"] == 10 for frame in frames)
    assert counts == {"frames": 400, "merged": 360}


def test_both_families_and_both_directions_are_flows_of_their_own() -> None:
    other = transmit(text(10))
    other.source, other.destination = other.destination, other.source
    frames, _ = batch(packet(0), packet(0, v6=True), *cut(other), packet(10), packet(10, v6=True))
    assert [frame["payload_length"] for frame in frames] == [20, 20, 10]


def test_more_flows_than_the_table_holds_lose_merging_and_nothing_else() -> None:
    ports = range(1000, 3500)
    packets = [packet(at, source_port=port) for at in (0, 10) for port in ports]
    frames, counts = batch(*packets)
    got: dict[object, bytes] = {}
    for frame in frames:
        payload = frame["payload"]
        assert isinstance(payload, bytes)
        got[frame["source_port"]] = got.get(frame["source_port"], b"") + payload
    assert got == dict.fromkeys(ports, text(20))
    assert counts["apart_crowded"] > 0


def test_what_is_no_segment_stands_between_runs() -> None:
    frames, _ = batch(packet(0), b"\x00", packet(10))
    assert [frame["kind"] for frame in frames] == ["Segment", "Refused"]
    assert frames[0]["payload_length"] == 20


# --- super-frames behind a virtio header


def vnet(flags: int = 1, gso_type: int = 1, gso_size: int = 1000, csum_start: int = 20) -> bytes:
    return struct.pack("=BBHHHH", flags, gso_type, 40, gso_size, csum_start, 16)


def from_device(*frames: bytes) -> list[dict[str, object]]:
    ours, theirs = datagram_pair()
    with ours, theirs:
        for frame in frames:
            theirs.send(frame)
        receiver = Receiver()
        return [seen(frame) for frame in receiver.receive(ours.fileno(), True)]


def unsummed(wire: bytes) -> bytes:
    """With a checksum that nobody has completed."""
    return wire[:36] + b"\x12\x34" + wire[38:]


def test_super_frames_merge_with_each_other() -> None:
    packets = [packet(0, 50_000), packet(50_000, 50_000), packet(100_000, 500)]
    (run,) = from_device(*(vnet() + unsummed(wire) for wire in packets))
    assert run["payload"] == text(100_500)
    assert (run["segs"], run["segment_size"]) == (101, 1000)


def test_a_partial_last_segment_counts() -> None:
    (run,) = from_device(vnet(gso_size=1400) + unsummed(packet(0, 3000)))
    assert (run["segs"], run["segment_size"]) == (3, 1400)


@pytest.mark.parametrize(("flags", "kind"), [(0, "Refused"), (1, "Segment"), (2, "Segment")])
def test_the_checksum_is_verified_unless_the_kernel_vouches(flags: int, kind: str) -> None:
    (frame,) = from_device(vnet(flags, 0, 0) + unsummed(packet(0)))
    assert frame["kind"] == kind


@pytest.mark.parametrize(
    ("reason", "frame"),
    [
        (Drop.VNET_HEADER, b"123456789"),
        (Drop.VNET_HEADER, vnet(csum_start=40) + packet(0)),
        (Drop.VNET_GSO, vnet(gso_size=0) + packet(0)),
        (Drop.VNET_GSO, vnet(gso_type=3) + packet(0)),
        (Drop.VNET_GSO, vnet(gso_type=4) + packet(0)),
        (Drop.VNET_GSO, vnet(gso_type=1) + packet(0, v6=True)),
        (Drop.FRAME_EMPTY, vnet(0, 0, 0)),
    ],
)
def test_virtio_headers_that_lie(reason: Drop, frame: bytes) -> None:
    (seen_frame,) = from_device(frame)
    assert seen_frame["reason"] == reason


def test_ecn_super_frames_are_taken() -> None:
    (frame,) = from_device(vnet(gso_type=0x81) + unsummed(packet(0, 3000, flags=ACK | CWR)))
    assert (frame["flags"], frame["segs"]) == (ACK | CWR, 3)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=100), max_size=5), st.booleans())
def test_any_bytes_from_a_device(frames: list[bytes], vnet_header: bool) -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        for frame in frames:
            theirs.send(frame)
        receiver = Receiver()
        taken = 0
        for frame in receiver.receive(ours.fileno(), vnet_header):
            taken += 1
            seen(frame)
        assert taken <= len(frames)


# --- there and back


@settings(max_examples=60)
@given(st.data())
def test_merging_what_was_cut_is_the_identity(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 5000))
    made: Transmit = transmit(
        text(length),
        v6=data.draw(st.booleans()),
        seq=data.draw(st.sampled_from([0, 1000, 0xFFFFFFFF, 0xFFFFF000])),
        options=data.draw(st.sampled_from([b"", timestamps(9, 8)])),
        flags=data.draw(st.sampled_from([ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH])),
        segment_size=data.draw(st.integers(60, 6000)),
        tos=data.draw(st.integers(0, 255)),
    )
    packets = native.cut(made)
    (run,), _ = batch(*packets)
    assert run["payload"] == text(length)
    assert (run["seq"], run["ack"], run["flags"], run["window"]) == (made.seq, made.ack, made.flags, made.window)
    assert (run["tos"], run["ttl"], run["segs"]) == (made.tos, made.ttl, len(packets))
    assert run["segment_size"] == min(made.segment_size, length)
