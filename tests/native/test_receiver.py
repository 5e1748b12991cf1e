"""Batches: how long they are, how long they live, and waiting for them."""

from __future__ import annotations

import gc
import os
import signal

import pytest

from tests.native.frames import datagram_pair, seen, segment_of, text, transmit
from ustack import native
from ustack.native import ARENA_SIZE, NativeReceiveRing, NativeRings, Receiver, payload_bytes
from ustack.native import receiver as receiver_module
from ustack.wire.frame import Segment
from ustack.wire.split import cut


def test_an_empty_device_is_an_empty_batch() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        assert Receiver().receive(ours.fileno(), False) == []
    assert Receiver().receive_packets([]) == []


def test_a_batch_holds_so_many_frames_and_leaves_the_others() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        for n in range(7):
            theirs.send(cut(transmit(text(10), source_port=n))[0])
        receiver = Receiver(frames=3)
        counts = [len(receiver.receive(ours.fileno(), False)) for _ in range(4)]
    assert counts == [3, 3, 1, 0]


def test_a_run_counts_its_frames_too() -> None:
    ours, theirs = datagram_pair()
    packets = cut(transmit(text(500), segment_size=100))
    with ours, theirs:
        for wire in packets:
            theirs.send(wire)
        receiver = Receiver(frames=3)
        lengths = [
            [frame.payload_length for frame in receiver.receive(ours.fileno(), False) if isinstance(frame, Segment)]
            for _ in range(2)
        ]
    assert lengths == [[300], [200]]


def test_an_arena_that_is_full_ends_the_batch() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        for n in range(3):
            theirs.send(cut(transmit(text(60_000), source_port=n))[0])
        receiver = Receiver(capacity=1)
        for n in range(3):
            (frame,) = receiver.receive(ours.fileno(), False)
            assert (seen(frame)["source_port"], seen(frame)["payload"]) == (n, text(60_000))


def test_memory_packets_are_one_batch_however_many() -> None:
    receiver = Receiver()
    packets = [cut(transmit(text(1000), source_port=n))[0] for n in range(5000)]
    frames = receiver.receive_packets(packets)
    assert [seen(frame)["source_port"] for frame in frames] == list(range(5000))
    with pytest.raises(ValueError, match="65536"):
        receiver.receive_packets([b""] * 65537)


def test_a_handle_dies_with_its_batch() -> None:
    receiver = Receiver()
    frame = segment_of(receiver, b"hello")
    ring = NativeRings().receive_ring(100)
    assert ring.place(0, frame.payload, 1, 4) == 4
    receiver.poison()
    with pytest.raises(ValueError, match="earlier batch"):
        ring.place(4, frame.payload, 0, 5)
    with pytest.raises(ValueError, match="earlier batch"):
        payload_bytes(frame.payload, 0, 5)
    assert ring.read(9) == b"ello"


def test_a_handle_dies_with_its_receiver() -> None:
    receiver = Receiver()
    frame = segment_of(receiver, b"hello")
    del receiver
    gc.collect()
    with pytest.raises(ValueError, match="gone"):
        NativeReceiveRing(100).place(0, frame.payload, 0, 5)
    with pytest.raises(ValueError, match="gone"):
        payload_bytes(frame.payload, 0, 5)


def test_poison_before_the_first_batch_is_harmless() -> None:
    Receiver().poison()


def test_a_run_shorter_than_said_is_misuse() -> None:
    receiver = Receiver()
    frame = segment_of(receiver, b"hello")
    ring = NativeReceiveRing(100)
    for skip, length in [(0, 6), (5, 1), (6, 1)]:
        with pytest.raises(ValueError, match="payload"):
            ring.place(0, frame.payload, skip, length)
        with pytest.raises(ValueError, match="batch"):
            payload_bytes(frame.payload, skip, length)


def test_receivers_do_not_see_each_others_batches() -> None:
    first, second = Receiver(), Receiver()
    one, two = segment_of(first, b"first"), segment_of(second, b"second")
    assert payload_bytes(one.payload, 0, 5) == b"first"
    assert payload_bytes(two.payload, 0, 6) == b"second"


def test_a_run_goes_to_its_place_across_pieces_and_the_rings_edge() -> None:
    receiver = Receiver()
    ring = NativeReceiveRing(4096)
    ring.place(0, bytes(4000), 0, 4000)
    ring.skip(3990)
    (run,) = receiver.receive_packets(cut(transmit(text(1000), segment_size=33)))
    assert isinstance(run, Segment)
    assert ring.place(4050, run.payload, 50, 900) == 0
    assert ring.blocks() == [(4050, 4950)]
    assert ring.place(4000, run.payload, 0, 1000) == 1000
    assert ring.read(2000) == bytes(10) + text(1000)


def test_sizes_are_checked() -> None:
    for frames in (0, 65537):
        with pytest.raises(ValueError, match="frames"):
            Receiver(frames=frames)


# --- waiting


def test_wait_tells_who_is_ready() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        fds = [ours.fileno(), theirs.fileno()]
        assert native.wait(fds, 0) == 0
        assert native.wait([], 1000) == 0
        ours.send(b"x")
        assert native.wait(fds, -1) == 0b10
        theirs.send(b"x")
        assert native.wait(fds, 10**9) == 0b11


def test_a_signal_ends_the_wait() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: came.append(number))
    ours, theirs = datagram_pair()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with ours, theirs:
            assert native.wait([ours.fileno()], 60 * 10**9) == 0
        assert came == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_wait_on_a_closed_descriptor_is_ready_and_on_too_many_is_misuse() -> None:
    ours, theirs = datagram_pair()
    with ours, theirs:
        dead = os.dup(ours.fileno())
        os.close(dead)
        assert native.wait([dead], -1) == 1
        with pytest.raises(OSError, match="Invalid"):
            native.wait([ours.fileno()] * 32, 0)


def test_a_small_arena_does_where_there_is_no_memory_for_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = receiver_module.allocate

    def scarce(kind: str, count: int) -> object:
        if count > 100_000:
            raise MemoryError
        return whole(kind, count)

    monkeypatch.setattr(receiver_module, "allocate", scarce)
    receiver = Receiver()
    ours, theirs = datagram_pair()
    with ours, theirs:
        for is_scarce in (True, False):
            if not is_scarce:
                monkeypatch.undo()
            theirs.send(cut(transmit(text(10)))[0])
            assert len(receiver.receive(ours.fileno(), False)) == 1
            assert (receiver._core.arena_size < ARENA_SIZE) is is_scarce
