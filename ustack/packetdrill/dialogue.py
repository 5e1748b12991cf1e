"""The same dialogues written in Python, for tests that need loops and variables.

>>> with Dialogue() as sim:
...     sim.listen()
...     sim.inject("S 0:0(0) win 65535 <mss 1000>")
...     _ = sim.expect("S. 0:0(0) ack 1 <mss 1460>")
...     sim.after(0.1)
...     sim.inject(". 1:1(0) ack 1 win 65535")
...     _ = sim.call("accept(3, ..., ...) = 4")

Packets, calls and events are in the notation of scripts. What does not happen as said raises Mismatch. At the
end of the ``with`` block nothing unexpected may be left.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ustack.packetdrill.codec import Seen
from ustack.packetdrill.config import Config, configure
from ustack.packetdrill.errors import Mismatch
from ustack.packetdrill.host import Host
from ustack.packetdrill.parser import parse_event
from ustack.packetdrill.record import Mark
from ustack.packetdrill.session import Session
from ustack.packetdrill.tree import Script
from ustack.packetdrill.virtual import VirtualHost
from ustack.settings import Settings


class Dialogue:
    """One run of events against a fresh Stack in virtual time (or against ``host``).

    ``options``: those of scripts, ``name=value``. Tolerance is 0 unless ``exact=0`` is among them."""

    def __init__(self, *options: str, settings: Settings | None = None, host: Host | None = None) -> None:
        config: Config = configure(Script(), ["exact=1", *options])
        self.host = host or VirtualHost(config, settings)
        self.session = Session(config, self.host)
        self._next = "+0"

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.host.now() / 1e9

    def after(self, seconds: float) -> None:
        """The next packet or call happens (or is expected) so long after the one before."""
        self._next = f"+{seconds:.9f}"

    def within(self, earliest: float, latest: float) -> None:
        """The next packet is expected between these times after the event before."""
        self._next = f"+{earliest:.9f}~+{latest:.9f}"

    def event(self, text: str) -> None:
        """One line of a script, with its time."""
        self._next = "+0"
        self.session.run_event(parse_event(text))

    def inject(self, packet: str) -> None:
        """Hand the stack a packet."""
        self.event(f"{self._next} < {packet}")

    def inject_bytes(self, packet: bytes) -> None:
        """Hand the stack any bytes, now."""
        self.host.inject(packet, 0)

    def expect(self, packet: str) -> Seen:
        """The next packet of the stack must be this one, at this time. Returns it, taken apart."""
        self.event(f"{self._next} > {packet}")
        return Seen(self.session.packets[-1][1])

    def expect_nothing(self, seconds: float = 0.0) -> None:
        """Nothing may be sent for so long."""
        at = self.host.now() + int(seconds * 1e9)
        self.host.wait_until(at)
        waiting = self.host.waiting()
        if waiting:
            raise Mismatch(f"nothing was expected, but at {waiting[0][0] / 1e9:.6f} came {self.show(waiting[0][1])}")

    def show(self, packet: bytes) -> str:
        """A packet's bytes in the notation, in the numbers of the connection under test."""
        return self.session.shown(Seen(packet))

    def call(self, call: str, until: float | None = None) -> int:
        """A system call ``name(args) = result``; ``until``: it blocks so many seconds. Returns the result."""
        end = f"...{until:.9f}" if until is not None else ""
        self.event(f"{self._next}{end} {call}")
        return next(iter(self.session.results), 0)

    def command(self, text: str) -> None:
        """A shell line that the runner understands: ``sysctl -q net.ipv4.tcp_sack=0``."""
        self.event(f"{self._next} `{text}`")

    def info(self) -> dict[str, object]:
        """TCP_INFO of the socket under test: ``tcpi_*``."""
        current = self.session.peers.current
        if current is None or current.fd is None:
            raise Mismatch("no connection under test has a descriptor yet")
        return self.host.info(current.fd)

    def listen(self, backlog: int = 1) -> None:
        """A listening socket, descriptor 3."""
        self.call("socket(..., SOCK_STREAM, IPPROTO_TCP) = 3")
        self.call("bind(3, ..., ...) = 0")
        self.call(f"listen(3, {backlog}) = 0")

    def ladder(self) -> str:
        """The dialogue so far, one line for each thing that happened."""
        return "\n".join(f"{entry.at / 1e9:12.6f} {entry.mark.value:>2} {entry.text}" for entry in self.session.entries)

    def notes(self, mark: Mark) -> list[str]:
        """The texts of one kind of entry."""
        return [entry.text for entry in self.session.entries if entry.mark is mark]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.session.finish()
        finally:
            self.host.close()
