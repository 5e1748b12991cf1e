"""What all connections of one Stack share, handed to each of them."""

from __future__ import annotations

from collections import deque
from typing import Final

from ustack.congestion.base import AckSample
from ustack.counters import Counters
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.tcp.events import Event, EventKind
from ustack.tcp.fastopen import FastOpenHost
from ustack.tcp.isn import IsnGenerator
from ustack.wire.address import is_v4
from ustack.wire.frame import Transmit

MOST_REPLIES: Final = 10_000
"""Segments without a connection that wait for the device; more are dropped, as a device's full queue does."""


class Environment:
    """Knobs, counters, rings, ISNs and the queue of events of one Stack."""

    def __init__(self, settings: Settings, rings: RingMaker, isn: IsnGenerator, counters: Counters) -> None:
        self.settings = settings
        self.rings = rings
        self.memory = rings.memory
        self.memory.limit(settings.tcp_mem)
        self._pressures = 0
        self.isn = isn
        self.counters = counters
        self.events: deque[Event] = deque()
        self.touched: deque[object] = deque()
        """Connections that may have something to send, or a new deadline."""
        self.replies: deque[Transmit] = deque(maxlen=MOST_REPLIES)
        """Segments without a connection: SYN-ACKs of requests, resets, TIME-WAIT's ACKs. See ``reply``."""
        self.sample = AckSample()
        """Filled anew for each ACK: connections take turns."""
        self.is_device_full: bool = False
        """What was sent may still wait on this host: the network has not lost it."""
        self.doubted_paths: deque[object] = deque()
        """Connections that reached R1: IP is to look their paths up anew (RFC 9293 section 3.8.3)."""
        self.fast_open = FastOpenHost(isn.secret)
        self.orphans: int = 0
        self.challenge_second: int = -1
        self.challenges: int = 0

    def tell(self, kind: EventKind, endpoint: object) -> None:
        self.events.append(Event(kind, endpoint))

    def reply(self, transmit: Transmit) -> None:
        """A segment without a connection is to leave; where the device has taken none for long, it is dropped."""
        if len(self.replies) >= MOST_REPLIES:
            self.counters.add("IpOutDiscards" if is_v4(transmit.destination) else "Ip6OutDiscards")
            return
        self.replies.append(transmit)

    def watch_memory(self) -> None:
        """Whether memory is short now (tcp_mem); to be called before a batch."""
        memory = self.memory
        memory.refresh()
        if memory.pressures != self._pressures:
            self.counters.add("TCPMemoryPressures", memory.pressures - self._pressures)
            self._pressures = memory.pressures

    def timestamp(self, offset: int, now: int) -> int:
        """TSval at ``now``: milliseconds (Linux's TCP_TS_HZ is 1000) plus the connection's offset; 32 bits."""
        return (now // 1_000_000 + offset) & 0xFFFFFFFF

    def challenge_allowed(self, now: int) -> bool:
        """The host's limit of challenge ACKs a second (tcp_challenge_ack_limit, RFC 5961 section 7)."""
        second = now // 1_000_000_000
        if second != self.challenge_second:
            self.challenge_second = second
            self.challenges = 0
        self.challenges += 1
        return self.challenges <= self.settings.tcp_challenge_ack_limit
