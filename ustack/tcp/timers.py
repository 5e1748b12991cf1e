"""The timers of one connection: an enum and an array; the deadline is their minimum; nothing ticks.

Timers never send. When one expires, ``timeouts.py`` changes state and output looks at the state.
As in Linux, the four that repair losses (RTO, zero-window probe, tail-loss probe, reordering) share one slot:
at most one of them runs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mypy_extensions import trait

OFF: Final = 0
"""The array's value for "does not run". An armed instant is always above zero."""


class Timer(IntEnum):
    """Which timer. The order is the order of expiry when several are due at once."""

    RETRANSMIT = 0
    """The loss timer; ``Timers.loss`` says which of its four meanings it has now."""
    DELAYED_ACK = 1
    KEEPALIVE = 2
    LINGER = 3
    """FIN-WAIT-2 of an orphan (tcp_fin_timeout)."""
    PACING = 4
    USER = 5
    """TCP_USER_TIMEOUT while nothing can be sent (RFC 5482)."""


class LossTimer(IntEnum):
    """What the shared loss timer means (Linux's ``icsk_pending``)."""

    NONE = 0
    RTO = 1
    """RFC 6298."""
    PROBE = 2
    """Zero-window probe, RFC 9293 section 3.8.6.1."""
    TAIL_LOSS = 3
    """RFC 8985 section 7."""
    REORDERING = 4
    """RFC 8985 section 6.2, step 5."""
    SYN_ACK = 5
    """The SYN-ACK of a Fast Open child (RFC 7413): until it is answered, none of the others may take its place."""


class Timers:
    """Instants (ns) at which the timers of one connection expire."""

    def __init__(self) -> None:
        self.at: list[int] = [OFF] * len(Timer)
        self.loss: LossTimer = LossTimer.NONE

    def arm(self, timer: Timer, at: int) -> None:
        self.at[timer] = at if at > 0 else 1

    def stop(self, timer: Timer) -> None:
        self.at[timer] = OFF

    def arm_loss(self, meaning: LossTimer, at: int) -> None:
        """Arm the shared loss timer; what it meant before is forgotten (but for SYN_ACK)."""
        if self.loss is LossTimer.SYN_ACK and meaning is not LossTimer.SYN_ACK:
            return
        self.loss = meaning
        self.at[Timer.RETRANSMIT] = at if at > 0 else 1

    def take_loss(self) -> LossTimer:
        """What the shared loss timer meant, which has just fired."""
        meaning = self.loss
        if meaning is not LossTimer.SYN_ACK:
            self.loss = LossTimer.NONE
        return meaning

    def stop_syn_ack(self) -> None:
        """The SYN-ACK is answered: the loss timer is free."""
        if self.loss is LossTimer.SYN_ACK:
            self.loss = LossTimer.NONE
            self.at[Timer.RETRANSMIT] = OFF

    def stop_loss(self) -> None:
        if self.loss is LossTimer.SYN_ACK:
            return
        self.loss = LossTimer.NONE
        self.at[Timer.RETRANSMIT] = OFF

    def is_armed(self, timer: Timer) -> bool:
        return self.at[timer] != OFF

    def deadline(self) -> int:
        """The earliest armed instant, or OFF."""
        earliest = OFF
        for at in self.at:
            if at != OFF and (earliest == OFF or at < earliest):
                earliest = at
        return earliest

    def take_due(self, now: int) -> Timer | None:
        """The first timer that is due, now stopped; None when none is. Call until None."""
        for index, at in enumerate(self.at):
            if at != OFF and at <= now:
                self.at[index] = OFF
                return Timer(index)
        return None

    def stop_all(self) -> None:
        for index in range(len(self.at)):
            self.at[index] = OFF
        self.loss = LossTimer.NONE


@trait
class Waiter:
    """What stands in the Stack's heap of deadlines. ``queued_at``: the instant of its entry, 0 when it has none."""

    queued_at: int
