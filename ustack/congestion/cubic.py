"""CUBIC (RFC 9438), with Linux's constants and arithmetic. (Skeleton: grows as Reno for now.)"""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from ustack.congestion.base import AckSample, CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class Cubic(CongestionControl):
    """Growth by the cubic of the time since the last loss."""

    name = "cubic"

    def on_ack(self, sample: AckSample) -> None:
        """Slow start, then the cubic."""
        self.grow_by_bytes(sample)

    def ssthresh_after_loss(self, now: int, in_flight: int) -> int:
        """beta = 717/1024."""
        return self.cwnd * 717 // 1024
