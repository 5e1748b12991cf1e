"""A set of integers kept as sorted, disjoint, half-open ranges: which bytes of a stream are here."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Ranges ``[start, end)``; two that touch become one. ``total`` is how many integers are covered.

    ``add`` and ``covered`` take O(log n) steps and one move within a list; ``len`` counts ranges, not integers.
    """

    def __init__(self) -> None:
        self.total = 0
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> int:
        """Covers ``[start, end)``; returns how many integers that added. An empty range adds none."""
        if start >= end:
            return 0
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)  # the first range that ends at or behind start: it may touch
        last = bisect_right(starts, end)  # one past the last range that begins at or before end
        if first == last:
            starts.insert(first, start)
            try:
                ends.insert(first, end)
            except MemoryError:
                del starts[first]  # else the next look at the ranges would fail
                raise
            self.total += end - start
            return end - start
        before = 0
        for i in range(first, last):
            before += ends[i] - starts[i]
        low = min(start, starts[first])
        high = max(end, ends[last - 1])
        if last - first == 1:
            starts[first] = low
            ends[first] = high
        else:
            starts[first:last] = [low]
            ends[first:last] = [high]
        added = high - low - before
        self.total += added
        return added

    def discard_below(self, n: int) -> None:
        """Forgets every integer below ``n``."""
        starts, ends = self._starts, self._ends
        gone = bisect_right(ends, n)  # ranges that end at or below n
        for i in range(gone):
            self.total -= ends[i] - starts[i]
        if gone:
            del starts[:gone]
            del ends[:gone]
        if starts and starts[0] < n:
            self.total -= n - starts[0]
            starts[0] = n

    def covered(self, start: int, end: int) -> bool:
        """Whether all of ``[start, end)`` is covered; the empty range is."""
        if start >= end:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and end <= self._ends[index]

    def first_gap_after(self, n: int) -> int:
        """The first integer at or behind ``n`` that is not covered."""
        index = bisect_right(self._starts, n) - 1
        if index >= 0 and n < self._ends[index]:
            return self._ends[index]
        return n

    def overlap(self, start: int, end: int) -> tuple[int, int] | None:
        """The first stretch of ``[start, end)`` that is covered; None when nothing of it is."""
        index = bisect_right(self._ends, start)  # the first range that ends above start
        if index == len(self._ends):
            return None
        low = max(start, self._starts[index])
        high = min(end, self._ends[index])
        return (low, high) if low < high else None

    def range_of(self, n: int) -> tuple[int, int] | None:
        """The range that covers ``n``, if one does."""
        index = bisect_right(self._starts, n) - 1
        if index < 0 or n >= self._ends[index]:
            return None
        return self._starts[index], self._ends[index]

    def touches(self, start: int, end: int) -> bool:
        """Whether a range overlaps ``[start, end)`` or adjoins it: ``add`` would make no new one."""
        index = bisect_left(self._ends, start)
        return index < len(self._ends) and self._starts[index] <= end

    def first(self, most: int) -> list[tuple[int, int]]:
        """The lowest ``most`` ranges, ascending."""
        return list(zip(self._starts[:most], self._ends[:most], strict=True))

    def top(self) -> int:
        """One past the highest integer covered; 0 for the empty set."""
        return self._ends[-1] if self._ends else 0

    def clear(self) -> None:
        """Forgets everything."""
        self.total = 0
        self._starts.clear()
        self._ends.clear()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.first(len(self._starts)))

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(f'[{start}, {end})' for start, end in self)})"
