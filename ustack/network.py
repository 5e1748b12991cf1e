"""What the protocols above IP ask of it: the base class that floor 3 knows and floor 4 (``stack/ip.py``) fills in."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from ustack.counters import Counters
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_WANT

DEFAULTS: Final = Settings()


class Leaving:
    """What leaves through the device: a run of TCP or a ready packet (``wire/records.py``)."""


class Outgoing:
    """A datagram on its way down. ``payload`` begins with the transport's header; addresses are 16 bytes.

    ``ttl`` -1 is the stack's default; ``mtu_discover`` is one of ustack.sockopts.PMTUDISC_*: whether it may be
    fragmented, and whether routers may. ``options`` are IPv4's, whole words.
    """

    def __init__(
        self,
        source: bytes,
        destination: bytes,
        protocol: int,
        payload: bytes,
        ttl: int = -1,
        tos: int = 0,
        mtu_discover: int = PMTUDISC_WANT,
        options: bytes = b"",
    ) -> None:
        self.source = source
        self.destination = destination
        self.protocol = protocol
        self.payload = payload
        self.ttl = ttl
        self.tos = tos
        self.mtu_discover = mtu_discover
        self.options = options


@mypyc_attr(allow_interpreted_subclasses=True)
class Network:
    """IP as a transport sees it. This one has no addresses and sends nothing. ``counters`` are the Stack's."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def settings(self) -> Settings:
        """The knobs as they are now."""
        return DEFAULTS

    def below(self, limit: int) -> int:
        """A random number from 0 to ``limit`` - 1; where nothing is random, the middle one."""
        return limit // 2

    def is_local(self, address: bytes) -> bool:
        """Whether the stack itself has this address (loopback counts)."""
        return False

    def is_broadcast(self, address: bytes) -> bool:
        """Whether everybody on a network of ours has it."""
        return False

    def source_for(self, destination: bytes) -> bytes | None:
        """The own address that packets to ``destination`` leave with; None: no address of its family."""
        return None

    def send(self, outgoing: Outgoing, now: int) -> None:
        """Queues the packet, or its fragments. Raises EMSGSIZE when it is too long and must stay whole."""
