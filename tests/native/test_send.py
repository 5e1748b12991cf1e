"""What leaves: against the Python twin, scapy, and the virtio rules."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from tests.native.frames import datagram_pair, drained, ring_with, text, timestamps, transmit
from ustack import native
from ustack.native import NativeSendRing
from ustack.native.rings import NativeMemory
from ustack.wire.checksum import is_good, pseudo_sum
from ustack.wire.frame import RawTransmit, Transmit
from ustack.wire.split import cut

ACK, PSH, FIN, CWR = 16, 8, 1, 128


def native_ring(payload: bytes, before: int = 0, capacity: int = 0) -> NativeSendRing:
    """A ring that holds ``payload`` from offset ``before`` on, wrapped when the capacity is tight."""
    ring = NativeSendRing(capacity or max(4096, before + len(payload)))
    at = 0
    while at < before:
        at += ring.write(bytes(min(before - at, 1000)))
        ring.release(at)
    while payload:
        payload = payload[ring.write(payload) :]
    return ring


any_transmit = st.builds(
    transmit,
    st.integers(0, 4000).map(text),
    v6=st.booleans(),
    seq=st.integers(0, 0xFFFFFFFF),
    ack=st.integers(0, 0xFFFFFFFF),
    flags=st.integers(0, 0xFFF),
    window=st.integers(0, 0xFFFF),
    urgent=st.integers(0, 0xFFFF),
    identification=st.integers(0, 0xFFFF),
    options=st.binary(max_size=10).map(lambda b: b * 4),
    segment_size=st.integers(0, 5000).filter(lambda n: n == 0 or n > 30),
    tos=st.integers(0, 255),
    ttl=st.integers(1, 255),
    dont_fragment=st.booleans(),
    flow_label=st.integers(0, 0xFFFFF),
)


@settings(max_examples=200)
@given(any_transmit)
def test_cut_is_the_python_twins(made: Transmit) -> None:
    assert native.cut(made) == cut(made)


@settings(max_examples=50)
@given(any_transmit, st.integers(0, 5000))
def test_cut_from_a_native_ring(made: Transmit, before: int) -> None:
    expected = cut(made)
    payload = text(made.length)
    made.ring, made.at = native_ring(payload, before, 4096), before
    assert native.cut(made) == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_frames_reach_over_lent_and_copied_text(data: st.DataObject) -> None:
    """Long text lies where the application has it, short text between two long ones too, the rest in the ring."""
    sizes = st.lists(st.sampled_from([1, 7, 901, 1400, 5000, 65_536, 65_537, 70_001]), min_size=1, max_size=7)
    ring, whole = NativeSendRing(1 << 20), b""
    for size in data.draw(sizes):
        part = bytes((len(whole) + n) % 253 for n in range(size))
        ring.write(part if data.draw(st.booleans()) else memoryview(part))
        whole += part
    ring.release(data.draw(st.sampled_from([0, len(whole) // 2])))
    at = data.draw(st.integers(ring.start, len(whole) - 1))
    length = data.draw(st.integers(1, len(whole) - at))
    made = transmit(whole[at : at + length], segment_size=data.draw(st.sampled_from([0, 999, 1448, 30_001, 65_495])))
    expected = cut(made)
    made.ring, made.at = ring, at
    assert native.cut(made) == expected
    ours, theirs = datagram_pair()
    frames: list[bytes] = []
    with ours, theirs:
        while native.send(ours.fileno(), True, [made]) == 0:
            frames += drained(theirs)
        frames += drained(theirs)
    assert b"".join(frame[50:] for frame in frames) == whole[at : at + length]


def test_lent_text_that_was_acknowledged_is_not_sent() -> None:
    ring = NativeSendRing(1 << 20)
    ring.write(bytes(70_000))
    ring.write(bytes(70_000))
    ring.release(69_000)
    made = transmit(bytes(1000), segment_size=0)
    made.ring, made.at = ring, 68_999
    with pytest.raises(ValueError, match="segment"):
        native.cut(made)
    made.at = 69_000
    assert len(native.cut(made)) == 1


def test_lent_text_counts_in_tcp_mem_until_it_is_acknowledged() -> None:
    account = NativeMemory()
    ring = NativeSendRing(1 << 20, 0, account)
    ring.write(bytes(100_000))
    ring.write(bytes(100_000))
    assert 200_000 <= account.used() < 210_000
    ring.release(99_999)
    assert account.used() >= 200_000  # an object is kept as a whole
    ring.release(100_000)
    assert 100_000 <= account.used() < 110_000
    ring.release(200_000)
    assert account.used() == 0
    ring.write(bytes(100_000))
    del ring
    assert account.used() == 0


def test_text_that_tcp_mem_has_no_room_for_is_not_lent() -> None:
    account = NativeMemory()
    account.limit((10, 20, 30))  # pages
    ring = NativeSendRing(1 << 20, 0, account)
    assert ring.write(bytes(1 << 20)) < 30 * 4096
    assert account.used() <= 31 * 4096


@pytest.mark.parametrize("v6", [False, True])
def test_scapy_agrees_about_every_checksum(v6: bool) -> None:
    for wire in native.cut(transmit(text(3001), v6=v6, segment_size=1000, options=timestamps(1, 2))):
        packet = IPv6(wire) if v6 else IP(wire)
        again = packet.copy()
        del again[TCP].chksum
        if not v6:
            del again.chksum
        assert bytes(again) == wire


def test_a_long_run_without_a_segment_size_is_cut_at_the_longest_packet() -> None:
    packets = native.cut(transmit(text(100_000)))
    assert [len(wire) for wire in packets] == [65535, 100_000 - (65535 - 40) + 40]
    assert packets == cut(transmit(text(100_000)))


def test_a_raw_packet_is_left_alone() -> None:
    assert native.cut(RawTransmit(b"whatever")) == [b"whatever"]


@pytest.mark.parametrize(
    "fields",
    [{"options": bytes(3)}, {"options": bytes(44)}, {"source": bytes(16)}, {"length": 11}, {"ring": None}],
)
def test_a_record_that_is_none_is_misuse(fields: dict[str, object]) -> None:
    for ring in (ring_with(b"0123456789"), native_ring(b"0123456789", 0, 10)):
        made = transmit(b"0123456789")
        made.ring = ring
        for name, value in fields.items():
            setattr(made, name, value)
        ours, theirs = datagram_pair()
        with ours, theirs:
            with pytest.raises(ValueError, match=r"segment|within"):
                native.cut(made)
            with pytest.raises(ValueError, match=r"segment|within"):
                native.send(ours.fileno(), False, [made])
            assert drained(theirs) == []


def test_an_empty_raw_packet_is_misuse() -> None:
    with pytest.raises(ValueError, match="segment"):
        native.cut(RawTransmit(b""))


# --- to a device


@settings(max_examples=40)
@given(st.lists(any_transmit | st.builds(RawTransmit, st.binary(min_size=1, max_size=99)), max_size=4))
def test_frames_without_offload_are_what_cut_says(transmits: list[Transmit | RawTransmit]) -> None:
    expected = [wire for made in transmits for wire in cut(made)]
    ours, theirs = datagram_pair()
    with ours, theirs:
        written = []
        for made in transmits:  # one by one: a datagram socket holds only so many
            assert native.send(ours.fileno(), False, [made]) == 1
            written += drained(theirs)
    assert written == expected


def test_nothing_to_send_is_nothing_sent() -> None:
    assert native.send(-1, False, []) == 0


def offloaded(made: Transmit | RawTransmit) -> list[tuple[tuple[int, ...], bytes]]:
    ours, theirs = datagram_pair()
    with ours, theirs:
        assert native.send(ours.fileno(), True, [made]) == 1
        return [(struct.unpack("=BBHHHH", frame[:10]), frame[10:]) for frame in drained(theirs)]


@pytest.mark.parametrize("v6", [False, True])
def test_a_super_frame_asks_the_kernel_to_cut_and_sum(v6: bool) -> None:
    made = transmit(text(10_000), v6=v6, segment_size=1448, options=timestamps(1, 2), flags=ACK | PSH)
    ((header, wire),) = offloaded(made)
    ip_length = 40 if v6 else 20
    assert header == (1, 4 if v6 else 1, ip_length + 32, 1448, ip_length, 16)
    assert wire[ip_length + 32 :] == text(10_000)
    partial = int.from_bytes(wire[ip_length + 16 : ip_length + 18], "big")
    length = len(wire) - ip_length
    assert partial == pseudo_sum(made.source, made.destination, 6, length) % 0xFFFF  # and not its complement
    if not v6:
        assert is_good(wire[:20])


def test_one_segment_asks_only_for_the_sum() -> None:
    ((header, _),) = offloaded(transmit(text(1448), segment_size=1448))
    assert header == (1, 0, 40, 0, 20, 16)


def test_congestion_window_reduced_is_told_to_the_kernel() -> None:
    ((header, _),) = offloaded(transmit(text(3000), segment_size=1448, flags=ACK | CWR))
    assert header[1] == 0x81


def test_a_raw_packet_asks_nothing() -> None:
    assert offloaded(RawTransmit(b"packet")) == [((0, 0, 0, 0, 0, 0), b"packet")]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300_000), st.sampled_from([536, 1448, 9000, 40_000]), st.sampled_from([0, 0xFFF0]))
def test_super_frames_are_whole_segments_and_fit_a_packet(length: int, size: int, identification: int) -> None:
    made = transmit(text(length), segment_size=size, flags=ACK | PSH | FIN | CWR, identification=identification)
    ours, theirs = datagram_pair()
    frames: list[bytes] = []
    with ours, theirs:
        while native.send(ours.fileno(), True, [made]) == 0:
            frames += drained(theirs)
        frames += drained(theirs)
    payloads = [frame[50:] for frame in frames]
    assert b"".join(payloads) == text(length)
    seq, segs = 1000, 0
    for n, frame in enumerate(frames):
        wire, last = frame[10:], n == len(frames) - 1
        packet = IP(wire)
        assert len(wire) <= 65535
        assert last or len(payloads[n]) % size == 0
        assert packet[TCP].seq == seq
        assert packet.id == (identification + segs) & 0xFFFF
        assert int(packet[TCP].flags) == ACK | (PSH | FIN if last else 0) | (CWR if n == 0 else 0)
        seq += len(payloads[n])
        segs += -(-len(payloads[n]) // size)


def test_a_full_device_keeps_the_rest_of_a_run() -> None:
    payload = text(60_000)
    made = transmit(payload, segment_size=500, flags=ACK | FIN | CWR, identification=0xFFFE)
    made.ring = native_ring(payload)
    expected = cut(made)
    ours, theirs = datagram_pair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        frames: list[bytes] = []
        stuck = 0
        while native.send(ours.fileno(), False, [made, RawTransmit(b"after")]) < 2:
            stuck += 1
            assert made.length < len(payload)
            frames += drained(theirs)
            if made.length == 0:
                break
        frames += drained(theirs)
    assert stuck > 0
    assert [frame for frame in frames if frame != b"after"] == expected


def test_a_device_that_is_gone_raises() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        dead = os.dup(ours.fileno())
        os.close(dead)
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            native.send(dead, False, [transmit(b"x")])
        assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError, match="Bad file descriptor"):
            native.Receiver().receive(dead, False)
