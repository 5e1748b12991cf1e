"""How much memory the rings of one Stack take together: Linux's ``tcp_mem``.

The readable twin of ``native/pool.c``; both follow ``__sk_mem_raise_allocated``. Bytes, as the rings really have them.
"""

from typing import Final

from mypy_extensions import mypyc_attr

PAGE: Final = 4096
"""Bytes; tcp_mem counts in pages."""

UNLIMITED: Final = (1 << 60) // PAGE


@mypyc_attr(allow_interpreted_subclasses=True)
class Memory:
    """An account. ``under_pressure`` is what ``refresh`` saw last: rings then grow no further than their fair share."""

    def __init__(self) -> None:
        self.under_pressure = False
        self.pressures = 0
        """How often pressure began."""
        self.rings = 0
        self.budget = -1
        """Allocations that may still succeed, for tests of what happens without memory; below 0: any number."""
        self.held = 0
        """Bytes of short texts that rings hold without memory of their own; each counts as a page."""
        self.moved = True
        """What is taken may have changed since ``refresh``."""
        self._taken = 0
        self._limits = (UNLIMITED * PAGE, UNLIMITED * PAGE, UNLIMITED * PAGE)

    def limit(self, tcp_mem: tuple[int, int, int]) -> None:
        """The three of tcp_mem, pages: below the first there is no pressure, above the second there is, and more than
        the third is never taken."""
        low, pressure, high = tcp_mem
        self._limits = (min(low, UNLIMITED) * PAGE, min(pressure, UNLIMITED) * PAGE, min(high, UNLIMITED) * PAGE)

    def used(self) -> int:
        """Bytes taken."""
        return self._taken

    def pages(self) -> int:
        """The same in whole pages."""
        return -(-self.used() // PAGE)

    def is_out(self) -> bool:
        """The hard limit is reached: not a page more may be taken (Linux's tcp_out_of_memory)."""
        return self.used() + PAGE > self._limits[2]

    def refresh(self) -> None:
        """Has pressure begun or ended? To be called now and then."""

    def spend(self, budget: int) -> None:
        """From now on so many allocations succeed; below 0: any number. For tests."""
        self.budget = budget

    def take(self, size: int, own: int, force: bool) -> bool:
        """A ring that has ``own`` bytes wants ``size`` in their place. False: it must not."""
        if self.budget >= 0:
            if self.budget == 0:
                return False
            self.budget -= 1
        after = self._taken + size - own
        if not self._may_take(after, own) and not force:
            return False
        self._taken = after
        return True

    def _may_take(self, after: int, own: int) -> bool:
        low, pressure, high = self._limits
        if after <= low:
            self.under_pressure = False
            return True
        if after > pressure and not self.under_pressure:
            self.under_pressure = True
            self.pressures += 1
        if after > high:
            return False
        if own < PAGE or not self.under_pressure:
            return True
        return high // max(self.rings, 1) > own

    def hold(self) -> bool:
        """A ring wants to hold a short text as it came. False where memory is not plenty: then it is taken and counted
        as any other."""
        if self.budget >= 0:
            return False
        self.held += PAGE
        return True

    def let_go(self) -> None:
        """A text that was held has gone."""
        self.held -= PAGE

    def tell_held(self) -> None:
        """Memory is about to be asked for: the limits count what is held, too."""

    def give(self, size: int) -> None:
        """Memory is free again."""
        self._taken -= size
        if self._taken < self._limits[0]:
            self.under_pressure = False
