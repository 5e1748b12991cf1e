"""Ratios of rounds, their median and how far it can be believed.

A case runs its baseline and its subjects in turn, several rounds. What is reported is never a quotient of two
averages but the median of each round's own ratio, so that a drift of the machine falls out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

NOISY_SHARE = 0.05
"""Foreign processor time, as a share of the processors in use, past which a figure is called noisy."""

NOISY_BASELINE = 1.35
"""Largest over smallest baseline of the rounds past which the machine, not the subject, was measured."""


@dataclass(frozen=True)
class Sample:
    """One measurement: the figure, the baseline beside it, and the share of processor time that others took."""

    value: float
    baseline: float
    foreign: float = 0.0

    @property
    def ratio(self) -> float:
        return self.value / self.baseline if self.baseline else math.nan


@dataclass(frozen=True)
class Estimate:
    """What several rounds said. `low` and `high` bound the median; both are widened by what disturbed the machine."""

    value: float
    baseline: float
    ratio: float
    low: float
    high: float
    rounds: int
    noise: float
    reasons: tuple[str, ...] = field(default=())

    @property
    def noisy(self) -> bool:
        return bool(self.reasons)

    def text(self) -> str:
        """`0.61 (0.58-0.66)`, with `~` before it when the machine was noisy."""
        sign = "~" if self.noisy else ""
        return f"{sign}{figure(self.ratio)} ({figure(self.low)}-{figure(self.high)})"


def median(values: list[float]) -> float:
    """The middle one; of two middle ones their mean. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def confidence(rounds: int) -> float:
    """How surely the smallest and largest of n rounds bound the true median: 1 - 2 * 0.5^n (order statistics)."""
    return 1.0 - 2.0 * 0.5**rounds if rounds > 0 else 0.0


def widening(rounds: int) -> float:
    """By what the half-width of few rounds is multiplied, so that 2 rounds never look surer than 5 (94 %)."""
    return max(1.0, confidence(5) / max(confidence(rounds), 0.25))


def between(before: float, after: float) -> float:
    """The baseline at the moment of a subject that ran between two of them (geometric mean)."""
    return math.sqrt(before * after)


def estimate(samples: list[Sample]) -> Estimate:
    """The median of the rounds' ratios with its bounds.

    The bounds are the smallest and the largest round (which hold the true median with `confidence(n)`), moved apart
    when rounds are few, and again by the share of processor time that other processes took meanwhile: what they took
    could have been the subject's or the baseline's. Raises ValueError without samples.
    """
    ratios = [sample.ratio for sample in samples]
    middle = median(ratios)
    noise = max(sample.foreign for sample in samples)
    stretch = widening(len(samples))
    low = middle - (middle - min(ratios)) * stretch
    high = middle + (max(ratios) - middle) * stretch
    shrink = max(1.0 - noise, 0.05)
    reasons = []
    if noise > NOISY_SHARE:
        reasons.append(f"others used {noise:.0%} of the processors")
    baselines = [sample.baseline for sample in samples]
    if min(baselines) > 0 and max(baselines) / min(baselines) > NOISY_BASELINE:
        reasons.append(f"the baseline itself moved {max(baselines) / min(baselines):.2f}-fold")
    return Estimate(
        value=median([sample.value for sample in samples]),
        baseline=median(baselines),
        ratio=middle,
        low=max(low, 0.0) * shrink,
        high=high / shrink,
        rounds=len(samples),
        noise=noise,
        reasons=tuple(reasons),
    )


def figure(value: float) -> str:
    """Three significant digits, no exponent, thousands with a thin space: what a table cell holds."""
    if math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        digits = 3 - len(str(int(size)))
        return f"{round(value, digits):,.0f}".replace(",", " ")
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def jain(shares: list[float]) -> float:
    """Jain's fairness index: 1 when all have the same, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0
