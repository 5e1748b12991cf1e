"""The host's record with what TCP's connections share beside it: ISNs, Fast Open's memory, orphans, challenges."""

from __future__ import annotations

from collections import deque

from ustack.congestion.base import AckSample
from ustack.events import Endpoint
from ustack.hoststate import HostState
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.tcp.fastopen import FastOpenHost
from ustack.tcp.isn import IsnGenerator
from ustack.units import MILLISECOND, SECOND
from ustack.wire.address import is_v4
from ustack.wire.frame import Transmit


class TcpHost(HostState):
    """One for each Stack."""

    def __init__(self, settings: Settings, rings: RingMaker, secret: bytes) -> None:
        super().__init__(settings, rings, secret)
        self.isn = IsnGenerator(secret)
        self.touched: deque[Endpoint] = deque()
        """Connections that may have something to send, or a new deadline."""
        self.doubted_paths: deque[Endpoint] = deque()
        """Connections that reached R1: IP is to look their paths up anew (RFC 9293 section 3.8.3)."""
        self.sample = AckSample()
        """Filled anew for each ACK: connections take turns."""
        self.fast_open = FastOpenHost(secret)
        self.orphans: int = 0
        self._challenge_second: int = -1
        self._challenges: int = 0

    def reply(self, transmit: Transmit) -> None:
        """A segment without a connection is to leave; where the device has taken none for long, it is dropped."""
        if self.has_room(1, "Ip" if is_v4(transmit.destination) else "Ip6"):
            self.outbox.append(transmit)

    def timestamp(self, offset: int, now: int) -> int:
        """TSval at ``now``: milliseconds (Linux's TCP_TS_HZ is 1000) plus the connection's offset; 32 bits."""
        return (now // MILLISECOND + offset) & 0xFFFFFFFF

    def challenge_allowed(self, now: int) -> bool:
        """The host's limit of challenge ACKs a second (tcp_challenge_ack_limit, RFC 5961 section 7)."""
        second = now // SECOND
        if second != self._challenge_second:
            self._challenge_second = second
            self._challenges = 0
        self._challenges += 1
        return self._challenges <= self.settings.tcp_challenge_ack_limit
