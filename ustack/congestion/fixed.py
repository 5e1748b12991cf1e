"""A window that never moves: for tests, and for measuring what a path takes."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from ustack.congestion.base import AckSample, CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class Fixed(CongestionControl):
    """cwnd is what it was set to. Losses are repaired, and change nothing."""

    name: ClassVar[str] = "fixed"
    owns_recovery: ClassVar[bool] = True

    def on_ack(self, sample: AckSample) -> None:
        """Nothing."""

    def on_loss(self, now: int, in_flight: int) -> None:
        """Nothing: ssthresh stays where it is, so PRR would have no target (``owns_recovery``)."""

    def on_recovered(self, now: int) -> None:
        """Nothing."""

    def on_timeout(self, now: int, in_flight: int) -> None:
        """Nothing."""

    def on_ecn(self, now: int, in_flight: int) -> None:
        """Nothing."""

    def on_idle(self, now: int, idle_ns: int, rto: int) -> None:
        """Nothing."""
