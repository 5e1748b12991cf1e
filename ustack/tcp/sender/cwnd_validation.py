"""Is the congestion window used at all (RFC 7661)? One that is not says nothing of the path."""

from __future__ import annotations


class Validation:
    """Whether cwnd was the limit in the last window of data (Linux's tcp_cwnd_validate)."""

    def __init__(self, iss: int) -> None:
        self.limited: bool = False
        self.max_flight: int = 0
        """Most bytes in flight in the current window, while cwnd was not the limit."""
        self.until: int = iss
        """The current window ends when this is acknowledged."""

    def note(self, flight: int, limited: bool, snd_una: int, snd_nxt: int) -> None:
        """``flight`` bytes are out, and cwnd is (not) what holds more back."""
        if snd_una >= self.until or limited or (not self.limited and flight > self.max_flight):
            self.limited = limited
            self.max_flight = flight
            self.until = snd_nxt
