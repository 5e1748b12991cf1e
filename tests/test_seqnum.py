"""Sequence numbers against the definition, read aloud."""

from hypothesis import example, given
from hypothesis import strategies as st

from ustack.seqnum import unwrap, wrap

WIRE = st.integers(0, 2**32 - 1)
INSIDE = st.integers(0, 2**61)


@given(INSIDE, st.integers(-(2**31) + 1, 2**31))
@example(2**32, 2**31)
@example(2**32 - 1, 1)
@example(0, 0)
def test_what_left_comes_back_when_it_was_near(near: int, away: int) -> None:
    assert unwrap(wrap(near + away), near) == near + away


@given(WIRE, INSIDE)
def test_unwrap_is_the_nearest_and_of_two_the_higher(wire: int, near: int) -> None:
    turn = near >> 32
    candidates = [(turn + k << 32) + wire for k in (-1, 0, 1)]
    nearest = min(candidates, key=lambda n: (abs(n - near), -n))
    assert unwrap(wire, near) == nearest


def test_just_below_zero_is_negative() -> None:
    assert unwrap(0xFFFFFFFF, 0) == -1
    assert unwrap(0x80000000, 0) == 0x80000000


def test_wrap_keeps_32_bits() -> None:
    assert wrap(2**32) == 0
    assert wrap(2**40 + 5) == 5
    assert wrap(-1) == 0xFFFFFFFF
