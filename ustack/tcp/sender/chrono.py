"""What a sender spends its time on: busy, and of that held up by the peer's window or by its own small buffer.

Linux's tcp_chrono_start. A connection is busy while text or a FIN waits to be sent or to be acknowledged.
"""

from __future__ import annotations

from typing import Final

IDLE: Final = 0
BUSY: Final = 1
WINDOW: Final = 2
BUFFER: Final = 3


class Chrono:
    """The times of one sender, ns."""

    def __init__(self) -> None:
        self.kind: int = IDLE
        """What it does now, since ``since``."""
        self.since: int = 0
        self.busy_ns: int = 0
        self.rwnd_limited_ns: int = 0
        self.sndbuf_limited_ns: int = 0

    def move(self, kind: int, now: int) -> None:
        """From ``now`` on (ns) the connection does ``kind``; what it did before is added up."""
        self.busy_ns = self.busy(now)
        self.rwnd_limited_ns = self.rwnd_limited(now)
        self.sndbuf_limited_ns = self.sndbuf_limited(now)
        self.kind = kind
        self.since = now

    def busy(self, now: int) -> int:
        """All the time with something to send, ns."""
        return self.busy_ns + (now - self.since if self.kind != IDLE else 0)

    def rwnd_limited(self, now: int) -> int:
        """That part of it in which the peer's window had no room, ns."""
        return self.rwnd_limited_ns + (now - self.since if self.kind == WINDOW else 0)

    def sndbuf_limited(self, now: int) -> int:
        """That part of it in which all was sent, cwnd had room, and the writer waited for the buffer, ns."""
        return self.sndbuf_limited_ns + (now - self.since if self.kind == BUFFER else 0)
