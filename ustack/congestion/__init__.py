"""Congestion control algorithms, and their names as in ``TCP_CONGESTION``."""

from __future__ import annotations

from ustack.congestion.base import INFINITE_SSTHRESH, AckSample, CongestionControl
from ustack.congestion.bbr import Bbr
from ustack.congestion.cubic import Cubic
from ustack.congestion.fixed import Fixed
from ustack.congestion.reno import Reno

__all__ = [
    "ALGORITHMS",
    "INFINITE_SSTHRESH",
    "AckSample",
    "Bbr",
    "CongestionControl",
    "Cubic",
    "Fixed",
    "Reno",
    "check_name",
    "create",
]

ALGORITHMS: dict[str, type[CongestionControl]] = {
    "cubic": Cubic,
    "reno": Reno,
    "bbr": Bbr,
    "fixed": Fixed,
}
"""By name. A user's own class may be added under its own name."""


def check_name(name: str) -> None:
    """Raises ValueError with a sentence where ``name`` is no algorithm's."""
    if name not in ALGORITHMS:
        raise ValueError(f"tcp_congestion_control is one of {', '.join(sorted(ALGORITHMS))}, not {name!r}")


def create(name: str, mss: int, initial_cwnd: int) -> CongestionControl:
    """A new instance for one connection; bytes. Raises KeyError for an unknown name."""
    return ALGORITHMS[name](mss, initial_cwnd)
