"""Reno: slow start and congestion avoidance of RFC 5681, halving on loss. Recovery itself is PRR's."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from ustack.congestion.base import AckSample, CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class Reno(CongestionControl):
    """One segment a round trip, half the window at a loss."""

    name: ClassVar[str] = "reno"

    def on_ack(self, sample: AckSample) -> None:
        """Slow start by bytes (RFC 3465 without its limit), then one mss for each cwnd acknowledged."""
        self.grow_by_bytes(sample)
