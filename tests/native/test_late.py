"""Text whose copy is put off: it is read from the arena, or copied before the arena is used again. Nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.frames import segment_of, text
from ustack.native import NativeReceiveRing, Receiver
from ustack.ring import ReceiveRing

CAPACITY = 400_000
STREAM = text(1 << 16) * 64  # its bytes depend on where they stand, well enough


class Twins:
    """The ring in C fed by handles, its Python twin fed with bytes; after every step they must agree."""

    def __init__(self) -> None:
        self.receivers = [Receiver(), Receiver()]
        self.native = NativeReceiveRing(CAPACITY)
        self.python = ReceiveRing(CAPACITY)

    def place(self, which: int, ahead: int, length: int, skip: int) -> None:
        """A batch with one run that starts ``ahead`` of the in-order end, of which ``skip`` bytes are passed over."""
        at = max(0, self.python.end + ahead)
        payload = STREAM[at : at + length]
        skip = min(skip, length)
        handle = segment_of(self.receivers[which], payload).payload
        placed = [ring.place(at + skip, given_payload, skip, length - skip)
                  for ring, given_payload in ((self.native, handle), (self.python, payload))]  # fmt: skip
        assert placed[0] == placed[1]

    def poison(self, which: int) -> None:
        self.receivers[which].poison()

    def read(self, length: int) -> None:
        buffers = bytearray(length), bytearray(length)
        counts = [ring.read_into(buffer) for ring, buffer in zip((self.native, self.python), buffers, strict=True)]
        assert counts[0] == counts[1]
        assert buffers[0] == buffers[1]

    def read_bytes(self, length: int) -> None:
        assert self.native.read(length) == self.python.read(length)

    def peek(self, length: int) -> None:
        assert self.native.peek(length) == self.python.peek(length)

    def skip(self, length: int) -> None:
        assert self.native.skip(length) == self.python.skip(length)

    def trim(self) -> None:
        self.native.trim()
        self.python.trim()

    def check(self) -> None:
        native, python = self.native, self.python
        assert (native.start, native.end, native.blocks()) == (python.start, python.end, python.blocks())


lengths = st.sampled_from([1, 1000, 16383, 16384, 40_000, 65_000, 150_000])
receivers = st.integers(0, 1)


def step(name: str, *arguments: st.SearchStrategy[int]) -> st.SearchStrategy[Callable[[Twins], None]]:
    return st.tuples(*arguments).map(lambda chosen: lambda twins: getattr(twins, name)(*chosen))


STEPS = st.one_of(
    step("place", receivers, st.just(0), lengths, st.sampled_from([0, 7])),
    step("place", receivers, st.sampled_from([-20_000, 10, 30_000]), lengths, st.just(0)),
    *(step(name, lengths) for name in ("read", "read_bytes", "peek", "skip")),
    step("poison", receivers),
    step("trim"),
)


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=2, max_size=14))
def test_a_ring_reads_the_same_whether_its_copy_was_put_off_or_not(steps: list[Callable[[Twins], None]]) -> None:
    twins = Twins()
    for act in steps:
        act(twins)
        twins.check()
    twins.read(1 << 20)


def test_text_outlives_the_receiver_whose_arena_it_lies_in() -> None:
    ring = NativeReceiveRing(CAPACITY)
    payload = STREAM[:50_000]
    assert ring.place(0, segment_of(Receiver(), payload).payload, 0, 50_000) == 50_000
    assert ring.read(50_000) == payload


def test_more_runs_than_can_be_put_off_are_copied() -> None:
    receiver = Receiver()
    ring = NativeReceiveRing(CAPACITY)
    handle = segment_of(receiver, STREAM[:20_000]).payload
    for n in range(6):
        assert ring.place(n * 20_000, handle, 0, 20_000) == 20_000
    assert ring.read(1 << 20) == STREAM[:20_000] * 6
