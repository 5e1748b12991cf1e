"""What a Stack tells those who hold its endpoints, and what an endpoint and its holder are to each other."""

from __future__ import annotations

from enum import IntEnum

from mypy_extensions import mypyc_attr


class EventKind(IntEnum):
    """Why ``next_event`` returned an endpoint. Edges, not levels: ask the endpoint for its state."""

    ESTABLISHED = 1
    READABLE = 2
    WRITABLE = 3
    PEER_CLOSED = 4
    RESET = 5
    TIMED_OUT = 6
    ACCEPTABLE = 7
    """A listener has a connection to accept."""
    ERROR = 8
    """A soft or hard error was reported (ICMP, say): ``endpoint.error`` has the errno; or text is resent in vain since
    R1 (RFC 9293 SHLD-9): ``error`` is zero, and TCP_INFO's ``tcpi_retransmits`` says how often."""
    CLOSED = 9
    """The connection is over: nothing more will come of it."""
    URGENT = 10
    """The peer announced urgent data (RFC 9293 section 3.8.5)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Owner:
    """Who holds an endpoint and is told of its events. This one does not listen."""

    def on_event(self, event: Event) -> None:
        """Something happened to ``event.endpoint``."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Endpoint:
    """What a Stack makes for an application: a connection, a listener, a UDP or ICMP endpoint."""

    def __init__(self) -> None:
        self.owner: Owner | None = None
        """The holder's own: events go there."""


class Event:
    """One event: ``kind`` and the endpoint it happened to."""

    __slots__ = ("endpoint", "kind")

    def __init__(self, kind: EventKind, endpoint: Endpoint) -> None:
        self.kind = kind
        self.endpoint = endpoint

    def __repr__(self) -> str:
        return f"Event({self.kind.name}, {self.endpoint!r})"
