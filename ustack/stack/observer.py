"""Who looks on while a Stack works: told before and after each step, so that what changed can be seen and explained."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from ustack.tcp.timers import Waiter
from ustack.wire.frame import Frame, RawTransmit, Transmit


@mypyc_attr(allow_interpreted_subclasses=True)
class Observer:
    """Set as ``Stack.observer``. It is called on the stack's own thread and only looks: it must not call the Stack."""

    def before_frame(self, frame: Frame, now: int) -> None:
        """A frame is about to be taken."""

    def after_frame(self, frame: Frame, now: int) -> None:
        """It was taken, or refused."""

    def before_deadline(self, waiter: Waiter, now: int) -> None:
        """A connection, a listener or a TIME-WAIT record is due."""

    def after_deadline(self, waiter: Waiter, now: int) -> None:
        """It has done what was due."""

    def before_send(self, now: int) -> None:
        """The Stack is asked for what leaves. What changed since the last call is the application's doing."""

    def after_send(self, transmit: Transmit | RawTransmit | None, now: int) -> None:
        """This leaves; None: nothing more, and connections that are over have gone."""
