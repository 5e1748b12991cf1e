"""Passes the events of an endpoint on to a transport."""

from __future__ import annotations

from collections.abc import Callable

from ustack.events import Event, Owner


class Ear(Owner):
    """An owner that calls a function. (asyncio's transports have a layout of their own, and cannot be owners too.)"""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.tell = tell

    def on_event(self, event: Event) -> None:
        self.tell(event)
