"""The extreme value of the recent past, in O(1) and three samples (K. Nichols' filter, Linux's ``win_minmax``)."""

from __future__ import annotations


class _Windowed:
    """The best value of the last ``window``, in the unit of ``at`` (ns, rounds). Subclasses say what is better."""

    def __init__(self, window: int) -> None:
        self.window: int = window
        self.best: int = 0
        """The extreme; 0 before the first sample."""
        self.best_at: int = 0
        self.second: int = 0
        self.second_at: int = 0
        self.third: int = 0
        self.third_at: int = 0

    def is_as_good(self, value: int, other: int) -> bool:
        """``value`` is at least as extreme as ``other``."""
        raise NotImplementedError

    def sample(self, value: int, at: int) -> None:
        """A new value (> 0) at ``at``."""
        if self.best == 0 or self.is_as_good(value, self.best) or at - self.third_at > self.window:
            self.reset(value, at)
            return
        if self.is_as_good(value, self.second):
            self.second = self.third = value
            self.second_at = self.third_at = at
        elif self.is_as_good(value, self.third):
            self.third = value
            self.third_at = at
        self._age(value, at)

    def reset(self, value: int, at: int) -> None:
        """Forget the past: ``value`` is the extreme."""
        self.best = self.second = self.third = value
        self.best_at = self.second_at = self.third_at = at

    def _age(self, value: int, at: int) -> None:
        age = at - self.best_at
        if age > self.window:
            # The best has left the window: the others move up, once or twice.
            self.best, self.best_at = self.second, self.second_at
            self.second, self.second_at = self.third, self.third_at
            self.third, self.third_at = value, at
            if at - self.best_at > self.window:
                self.best, self.best_at = self.second, self.second_at
                self.second, self.second_at = self.third, self.third_at
        elif self.second_at == self.best_at and age > self.window // 4:
            self.second = self.third = value
            self.second_at = self.third_at = at
        elif self.third_at == self.second_at and age > self.window // 2:
            self.third = value
            self.third_at = at


class WindowedMin(_Windowed):
    """The smallest value of the last ``window``."""

    def is_as_good(self, value: int, other: int) -> bool:
        return value <= other


class WindowedMax(_Windowed):
    """The largest value of the last ``window``."""

    def is_as_good(self, value: int, other: int) -> bool:
        return value >= other
