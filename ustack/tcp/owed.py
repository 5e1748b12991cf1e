"""What a connection still has to send, as one set, in the order in which :mod:`ustack.tcp.transmit` serves it.

Timers and arrivals only add to the set; output takes away what has left.
"""

from __future__ import annotations

from typing import Final

OWE_RST: Final = 1
OWE_SYN: Final = 2
"""A SYN or SYN-ACK, the first one or again."""
OWE_TAIL_LOSS_PROBE: Final = 4
"""RFC 8985 section 7.3."""
OWE_WINDOW_PROBE: Final = 8
"""RFC 9293 section 3.8.6.1."""
OWE_KEEPALIVE: Final = 16
"""RFC 9293 section 3.8.4."""
OWE_ACK: Final = 32
"""An ACK that may not wait for text to ride on."""


class Owed:
    """The set of one connection; its parts share it."""

    def __init__(self) -> None:
        self.bits: int = 0

    def add(self, what: int) -> None:
        """``what`` (one or more of OWE_*) is to leave."""
        self.bits |= what

    def drop(self, what: int) -> None:
        """``what`` has left, or need not leave any more."""
        self.bits &= ~what

    def has(self, what: int) -> bool:
        """Any of ``what`` is to leave."""
        return (self.bits & what) != 0
