"""What the knobs of TCP stand for, in seconds: computed apart from the stack, so that a question can check it."""

from __future__ import annotations

from ustack.settings import Settings

RTO_MIN = 0.2
"""Linux's TCP_RTO_MIN, s."""


def resending_limit(settings: Settings, retries: int | None = None) -> float:
    """The time that tcp_retries2 (or another count of ``retries``) means, s: so many doublings from 200 ms, each wait
    at most tcp_rto_max_ms. 15 are 924.6 s (Linux's tcp_model_timeout)."""
    count = settings.tcp_retries2 if retries is None else retries
    return sum(min(RTO_MIN * float(1 << number), settings.tcp_rto_max_ms / 1000) for number in range(count + 1))


def timeouts(rto: float, settings: Settings, limit: float) -> list[float]:
    """The waits of a sender that nobody answers, s: each twice the one before (RFC 6298 section 5.5), until the first
    that ends ``limit`` or more after the first resend. ``rto``: the first of them."""
    waits = [rto]
    while sum(waits[1:]) < limit:
        waits.append(min(rto * float(1 << len(waits)), settings.tcp_rto_max_ms / 1000))
    return waits
