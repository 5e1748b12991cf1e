"""Explicit Congestion Notification (RFC 3168): what one connection agreed upon, and whose turn it is."""

from __future__ import annotations


class Ecn:
    """The state of one connection."""

    def __init__(self) -> None:
        self.on: bool = False
        """Both sides take part."""
        self.seen: bool = False
        """The peer's text came with ECT or CE."""
        self.asked: bool = False
        """Our SYN offered it."""
        self.echo: bool = False
        """CE was seen: every ACK carries ECE until the peer answers CWR (section 6.1.3)."""
        self.cwr_owed: bool = False
        """cwnd was reduced: the next new text carries CWR (section 6.1.2)."""
