"""What all endpoints of one host share, handed to each of them: one record, called ``host`` wherever it is held.

TCP keeps more of it for its own connections (``tcp/tcphost.py``), in the same record.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ustack.counters import Counters
from ustack.events import Endpoint, Event, EventKind
from ustack.network import Leaving
from ustack.ring import RingMaker
from ustack.settings import Settings

MOST_WAITING: Final = 10_000
"""Packets that wait for the device; more are dropped and counted, as a device's full queue does."""


class HostState:
    """Settings, counters, the secret, memory, what is to be told and what is to leave.

    ``secret``: 16 to 32 random bytes that never leave the host."""

    def __init__(self, settings: Settings, rings: RingMaker, secret: bytes) -> None:
        self.settings = settings
        self.secret = secret
        self.counters = Counters()
        self.rings = rings
        self.memory = rings.memory
        self.memory.limit(settings.tcp_mem)
        self._pressures = 0
        self.events: deque[Event] = deque()
        self.outbox: deque[Leaving] = deque()
        """Packets that no connection asks to send: UDP, ICMP, SYN-ACKs of requests, resets, TIME-WAIT's ACKs."""
        self.is_device_full: bool = False
        """What was sent may still wait on this host: the network has not lost it."""

    def change(self, settings: Settings) -> None:
        """Other settings count from now on."""
        self.settings = settings
        self.memory.limit(settings.tcp_mem)

    def tell(self, kind: EventKind, endpoint: Endpoint) -> None:
        """The holder of ``endpoint`` is to learn of it."""
        self.events.append(Event(kind, endpoint))

    def has_room(self, packets: int, prefix: str) -> bool:
        """So many more may wait for the device. False: they count as dropped (``prefix``: Ip or Ip6)."""
        if len(self.outbox) + packets <= MOST_WAITING:
            return True
        self.counters.add(prefix + "OutDiscards")
        return False

    def watch_memory(self) -> None:
        """Whether memory is short now (tcp_mem); to be called before a batch."""
        memory = self.memory
        memory.refresh()
        if memory.pressures != self._pressures:
            self.counters.add("TCPMemoryPressures", memory.pressures - self._pressures)
            self._pressures = memory.pressures
