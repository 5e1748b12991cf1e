"""RangeSet against a set of ints."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ustack.ranges import RangeSet

EDGE = st.integers(0, 60)


class RangeSetIsASetOfInts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ranges = RangeSet()
        self.model: set[int] = set()

    @rule(start=EDGE, end=EDGE)
    def add(self, start: int, end: int) -> None:
        fresh = set(range(start, end)) - self.model
        assert self.ranges.add(start, end) == len(fresh)
        self.model |= fresh

    @rule(n=EDGE)
    def discard_below(self, n: int) -> None:
        self.ranges.discard_below(n)
        self.model = {i for i in self.model if i >= n}

    @rule()
    def clear(self) -> None:
        self.ranges.clear()
        self.model = set()

    @rule(start=EDGE, end=EDGE)
    def covered(self, start: int, end: int) -> None:
        assert self.ranges.covered(start, end) is (set(range(start, end)) <= self.model)

    @rule(n=EDGE)
    def first_gap_after(self, n: int) -> None:
        gap = n
        while gap in self.model:
            gap += 1
        assert self.ranges.first_gap_after(n) == gap

    @rule(start=EDGE, end=EDGE)
    def ask(self, start: int, end: int) -> None:
        asked = set(range(start, end))
        listed = list(self.ranges)
        cut = [(max(start, low), min(end, high)) for low, high in listed]
        assert self.ranges.overlap(start, end) == next((part for part in cut if part[0] < part[1]), None)
        assert self.ranges.range_of(start) == next((one for one in listed if one[0] <= start < one[1]), None)
        if asked:
            assert self.ranges.touches(start, end) == any(low <= end and start <= high for low, high in listed)
        assert self.ranges.first(2) == listed[:2]
        assert self.ranges.top() == max(self.model, default=-1) + 1

    @invariant()
    def ranges_are_sorted_and_apart(self) -> None:
        listed = list(self.ranges)
        assert {i for start, end in listed for i in range(start, end)} == self.model
        assert all(start < end for start, end in listed)
        assert all(before[1] < after[0] for before, after in pairwise(listed))
        assert self.ranges.total == len(self.model)
        assert len(self.ranges) == len(listed)


TestRangeSet = RangeSetIsASetOfInts.TestCase


def test_neighbours_become_one() -> None:
    ranges = RangeSet()
    assert ranges.add(10, 20) == 10
    assert ranges.add(30, 40) == 10
    assert ranges.add(20, 30) == 10
    assert list(ranges) == [(10, 40)]
    assert repr(ranges) == "RangeSet([10, 40))"


@given(st.lists(st.tuples(EDGE, EDGE), max_size=8))
def test_iterating_while_changing_sees_what_was_there(pairs: list[tuple[int, int]]) -> None:
    ranges = RangeSet()
    for start, end in pairs:
        ranges.add(start, end)
    before = list(ranges)
    seen = []
    for pair in ranges:
        ranges.discard_below(pair[1])
        seen.append(pair)
    assert seen == before
