"""Rings, in Python and in C, against models that are obviously right: a list of bytes, a dict of offsets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ustack.native import NativeRings
from ustack.ring import MAX_RANGES, ReceiveRing, RingMaker, SendRing

MAKERS = pytest.mark.parametrize("maker", [RingMaker(), NativeRings()], ids=["python", "native"])


def pattern(at: int, length: int, salt: int = 0) -> bytes:
    return bytes(((at + n) * 7 + (at + n) // 251 + salt) & 0xFF for n in range(length))


# --- sending


@MAKERS
def test_a_new_send_ring_is_empty(maker: RingMaker) -> None:
    ring = maker.send_ring(100)
    assert (ring.start, ring.end, ring.capacity, ring.free()) == (0, 0, 100, 100)
    assert ring.views(0, 0) == []
    assert ring.peek(0, 0) == b""


@MAKERS
def test_write_takes_what_fits(maker: RingMaker) -> None:
    ring = maker.send_ring(10)
    assert ring.write(b"123456") == 6
    assert ring.write(bytearray(b"7890abc")) == 4
    assert ring.write(b"x") == 0
    assert ring.peek(0, 10) == b"1234567890"
    ring.release(4)
    assert ring.write(memoryview(b"wrapped")) == 4
    assert ring.peek(4, 10) == b"567890wrap"


@MAKERS
def test_what_is_not_kept_is_refused(maker: RingMaker) -> None:
    ring = maker.send_ring(10)
    ring.write(b"12345")
    ring.release(2)
    for at, length in [(1, 1), (2, 4), (5, 1), (2, -1)]:
        with pytest.raises(ValueError, match="not within"):
            ring.peek(at, length)
    with pytest.raises(ValueError, match="beyond the end"):
        ring.release(6)


@MAKERS
def test_capacity_may_shrink_below_what_is_kept(maker: RingMaker) -> None:
    ring = maker.send_ring(10_000)
    ring.write(pattern(0, 9000))
    ring.resize(100)
    assert ring.free() == 0
    assert ring.write(b"x") == 0
    assert ring.peek(0, 9000) == pattern(0, 9000)
    ring.resize(20_000)
    assert ring.write(pattern(9000, 20_000)) == 11_000
    assert ring.peek(0, 20_000) == pattern(0, 20_000)


@MAKERS
def test_a_view_outlives_growth_and_trim(maker: RingMaker) -> None:
    ring = maker.send_ring(1 << 20)
    ring.write(b"hold me")
    (view,) = ring.views(0, 7)
    ring.write(bytes(500_000))
    assert bytes(view) == b"hold me"
    ring.release(ring.end)
    ring.trim()
    assert bytes(view) == b"hold me"
    assert ring.write(b"on") == 2
    assert ring.peek(500_007, 2) == b"on"


@MAKERS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_send_ring_is_a_window_of_a_stream(maker: RingMaker, data: st.DataObject) -> None:
    ring: SendRing = maker.send_ring(data.draw(st.integers(1, 20_000)))
    stream = b""
    for _ in range(data.draw(st.integers(1, 20))):
        match data.draw(st.sampled_from(["write", "release", "resize", "peek", "trim"])):
            case "write":
                length = data.draw(st.integers(0, 9000))
                taken = ring.write(pattern(len(stream), length))
                assert taken == min(length, max(0, ring.capacity - (len(stream) - ring.start)))
                stream += pattern(len(stream), taken)
            case "release":
                ring.release(data.draw(st.integers(0, len(stream))))
            case "resize":
                ring.resize(data.draw(st.integers(1, 20_000)))
            case "peek":
                at = data.draw(st.integers(ring.start, ring.end))
                length = data.draw(st.integers(0, ring.end - at))
                assert ring.peek(at, length) == stream[at : at + length]
            case "trim":
                ring.trim()
        assert ring.end == len(stream)
    assert ring.peek(ring.start, ring.end - ring.start) == stream[ring.start :]


LONG = 65_536
"""From here on the C core sends immutable text from where it lies."""


def given_as(text: bytes, form: str) -> bytes | bytearray | memoryview:
    """The same text as applications may hand it over; only in ``bytes`` it can never change."""
    match form:
        case "bytes":
            return text
        case "view":
            return memoryview(b"before" + text + b"after")[6 : 6 + len(text)]
        case "view of a bytearray":
            return memoryview(bytearray(text))
    return bytearray(text)


@MAKERS
@pytest.mark.parametrize("form", ["bytes", "view", "view of a bytearray", "bytearray"])
def test_what_was_written_stays_as_it_was(maker: RingMaker, form: str) -> None:
    ring = maker.send_ring(1 << 20)
    text = pattern(0, LONG + 1)
    mine = given_as(text, form)
    assert ring.write(mine) == LONG + 1
    if isinstance(mine, bytearray):
        mine[:] = bytes(len(mine))
    elif not memoryview(mine).readonly:
        memoryview(mine)[:] = bytes(len(mine))
    assert ring.peek(0, LONG + 1) == text


@MAKERS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_long_and_short_text_in_any_order(maker: RingMaker, data: st.DataObject) -> None:
    ring: SendRing = maker.send_ring(data.draw(st.sampled_from([LONG, 300_000, 1 << 20])))
    source = memoryview(bytes(range(256)) * 2048)
    stream = b""
    for _ in range(data.draw(st.integers(1, 25))):
        if data.draw(st.booleans()):
            length = data.draw(st.sampled_from([1, 200, 5000, LONG - 1, LONG, LONG + 1, 200_000]))
            text = bytes(source[len(stream) % 251 :][:length])
            form = data.draw(st.sampled_from(["bytes", "view", "view of a bytearray", "bytearray"]))
            taken = ring.write(given_as(text, form))
            assert taken == min(length, max(0, ring.capacity - (len(stream) - ring.start)))
            stream += text[:taken]
        else:
            ring.release(data.draw(st.sampled_from([ring.end, (ring.start + ring.end) // 2])))
            ring.trim()
        at = data.draw(st.integers(ring.start, ring.end))
        assert ring.peek(at, ring.end - at) == stream[at:]
    with pytest.raises(ValueError, match="not within"):
        ring.peek(ring.start - 1, 1)


# --- receiving


class Bitmap:
    """The oracle: every kept byte by its offset."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.start = 0
        self.end = 0
        self.kept: dict[int, int] = {}

    def place(self, at: int, text: bytes) -> int:
        for offset, byte in enumerate(text, at):
            if self.end <= offset < self.start + self.capacity:
                self.kept.setdefault(offset, byte)
        before = self.end
        while self.end in self.kept:
            self.end += 1
        return self.end - before

    def blocks(self) -> list[tuple[int, int]]:
        blocks: list[tuple[int, int]] = []
        for offset in sorted(o for o in self.kept if o >= self.end):
            if blocks and blocks[-1][1] == offset:
                blocks[-1] = (blocks[-1][0], offset + 1)
            else:
                blocks.append((offset, offset + 1))
        return blocks

    def take(self, count: int) -> bytes:
        count = min(count, self.end - self.start)
        text = bytes(self.kept[o] for o in range(self.start, self.start + count))
        self.start += count
        return text


@MAKERS
def test_a_new_receive_ring_is_empty(maker: RingMaker) -> None:
    ring = maker.receive_ring(100)
    assert (ring.start, ring.end, ring.readable(), ring.blocks()) == (0, 0, 0, [])
    assert ring.read(10) == b""
    assert ring.read_into(bytearray(3)) == 0
    assert ring.peek(3) == b""
    assert ring.skip(3) == 0
    assert ring.views(3) == []


@MAKERS
def test_text_in_order(maker: RingMaker) -> None:
    ring = maker.receive_ring(10)
    assert ring.place(0, b"..hello", 2, 5) == 5
    assert ring.readable() == 5
    assert ring.peek(2) == b"he"
    assert ring.peek(2, 3) == b"lo"
    assert ring.read(2) == b"he"
    assert ring.skip(1) == 1
    buffer = bytearray(b"????")
    assert ring.read_into(buffer) == 2
    assert buffer == b"lo??"
    assert (ring.start, ring.end) == (5, 5)


@MAKERS
def test_text_before_the_end_is_passed_over(maker: RingMaker) -> None:
    ring = maker.receive_ring(100)
    ring.place(0, b"abc", 0, 3)
    assert ring.place(-1, b"?ABCd", 0, 5) == 1
    assert ring.place(-1, b"?", 0, 1) == 0
    assert ring.read(9) == b"abcd"


@MAKERS
def test_text_beyond_the_window_is_cut(maker: RingMaker) -> None:
    ring = maker.receive_ring(5)
    assert ring.place(0, b"abcdefgh", 0, 8) == 5
    assert ring.place(5, b"f", 0, 1) == 0
    assert ring.place(6, b"g", 0, 1) == 0
    assert ring.blocks() == []
    assert ring.read(2) == b"ab"
    assert ring.place(5, b"fgh", 0, 3) == 2
    assert ring.read(9) == b"cdefg"


@MAKERS
def test_the_first_arrival_of_a_byte_wins(maker: RingMaker) -> None:
    ring = maker.receive_ring(100)
    assert ring.place(2, b"CD", 0, 2) == 0
    assert ring.place(6, b"GH", 0, 2) == 0
    assert ring.blocks() == [(2, 4), (6, 8)]
    assert ring.place(1, b"bcdefghi", 0, 8) == 0
    assert ring.blocks() == [(1, 9)]
    assert ring.place(0, b"aX", 0, 2) == 9
    assert ring.read(9) == b"abCDefGHi"


@MAKERS
def test_a_payload_shorter_than_said_is_misuse(maker: RingMaker) -> None:
    ring = maker.receive_ring(100)
    for skip, length in [(0, 4), (3, 1), (4, 0), (-1, 2)]:
        if length:
            with pytest.raises(ValueError, match="payload"):
                ring.place(0, b"abc", skip, length)
    assert ring.end == 0


@MAKERS
def test_ranges_are_bounded_and_the_newest_is_refused(maker: RingMaker) -> None:
    ring = maker.receive_ring(10 * MAX_RANGES)
    for n in range(MAX_RANGES + 5):
        ring.place(2 * n + 1, b"x", 0, 1)
    assert len(ring.blocks()) == MAX_RANGES
    last = 2 * MAX_RANGES
    assert ring.blocks()[-1] == (last - 1, last)
    assert ring.place(last, b"y", 0, 1) == 0  # touches one: no range more
    assert ring.blocks()[-1] == (last - 1, last + 1)
    assert ring.place(0, bytes(last), 0, last) == last + 1  # in order is never refused
    assert ring.blocks() == []


@MAKERS
def test_receive_views_outlive_the_ring(maker: RingMaker) -> None:
    ring = maker.receive_ring(100)
    ring.place(0, b"keep", 0, 4)
    views = ring.views(4)
    ring.skip(4)
    ring.trim()
    del ring
    assert b"".join(views) == b"keep"


def ask(ring: ReceiveRing, model: Bitmap, at: int, length: int) -> None:
    """The questions that no arrival pays for by a walk through all stretches."""
    blocks = model.blocks()
    assert ring.has_gap() == bool(blocks)
    assert ring.top() == (blocks[-1][1] if blocks else model.end)
    assert ring.first_blocks(3) == blocks[:3]
    assert ring.block_of(at) == next((block for block in blocks if block[0] <= at < block[1]), None)
    cut = [(max(at, low), min(at + length, high)) for low, high in blocks]
    assert ring.overlap(at, at + length) == next((part for part in cut if part[0] < part[1]), None)


@MAKERS
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_receive_ring_is_a_bitmap(maker: RingMaker, data: st.DataObject) -> None:
    capacity = data.draw(st.sampled_from([1, 50, 300, 5000]))
    ring: ReceiveRing = maker.receive_ring(capacity)
    model = Bitmap(capacity)
    for salt in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["place"] * 6 + ["read", "read_into", "skip", "peek", "trim", "resize"])):
            case "place":
                at = data.draw(st.integers(model.end - 20, model.end + capacity + 20))
                length = data.draw(st.integers(0, capacity))
                skip = data.draw(st.integers(0, 5))
                text = pattern(at, length, salt)
                assert ring.place(at, b"-" * skip + text + b"-", skip, length) == model.place(at, text)
            case "read":
                count = data.draw(st.integers(0, capacity))
                assert ring.read(count) == model.take(count)
            case "read_into":
                buffer = bytearray(data.draw(st.integers(0, capacity)))
                text = model.take(len(buffer))
                assert ring.read_into(buffer) == len(text)
                assert buffer[: len(text)] == text
            case "skip":
                count = data.draw(st.integers(0, capacity))
                assert ring.skip(count) == len(model.take(count))
            case "peek":
                assert ring.peek(ring.readable()) == bytes(model.kept[o] for o in range(model.start, model.end))
            case "trim":
                ring.trim()
            case "resize":
                model.capacity = data.draw(st.integers(1, 6000))
                ring.resize(model.capacity)
        assert (ring.start, ring.end, ring.readable()) == (model.start, model.end, model.end - model.start)
        assert ring.blocks() == model.blocks()
        ask(ring, model, data.draw(st.integers(model.start, model.end + capacity)), data.draw(st.integers(0, 50)))
    assert ring.read(1 << 20) == model.take(1 << 20)
