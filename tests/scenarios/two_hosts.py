"""A client's and a server's host in virtual time, with ordinary sockets: whoever waits makes the time pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ustack.device.impairment import parse_impairment
from ustack.settings import Settings
from ustack.sim.apps import make_stack
from ustack.sim.driver import SimDriver
from ustack.sim.network import SimHost, SimNetwork
from ustack.socket import Host
from ustack.stack.listing import sockets
from ustack.wire import ipv4
from ustack.wire.address import parse_address
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import TcpHeader, build_segment

MS = 1_000_000
SECOND = 1000 * MS
HOUR = 3600 * SECOND
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


class Sent(NamedTuple):
    """A segment that was sent, lost or not."""

    at: int
    sender: str
    segment: Segment
    packet: bytes


class TwoHosts:
    """``client`` and ``server`` have sockets, ``near`` and ``far`` are their places in the network."""

    def __init__(self, impairment: str = "", client: Settings | None = None, server: Settings | None = None) -> None:
        self.network = SimNetwork()
        self.near = self.network.add_host("client", make_stack("client", client), f"{CLIENT}/24")
        self.far = self.network.add_host("server", make_stack("server", server), f"{SERVER}/24")
        self.link = self.network.join(self.near, self.far, parse_impairment(impairment))
        self.client = Host(self.near.stack, SimDriver(self.near))
        self.server = Host(self.far.stack, SimDriver(self.far))
        self.opened: list[Any] = []
        self.wire: list[Sent] = []
        self.link.tamper = self._note
        self.spoil: Callable[[str, Segment], bool] = lambda sender, segment: False
        """Says of a segment that it is lost."""

    def _note(self, sender: SimHost, packet: bytes) -> list[bytes]:
        frame = parse_packet(packet)
        if isinstance(frame, Segment):
            self.wire.append(Sent(self.network.now, sender.name, frame, packet))
            if self.spoil(sender.name, frame):
                return []
        return [packet]

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return (self.network.now - self.network.start) / SECOND

    def pass_time(self, seconds: float) -> None:
        self.network.run_for(int(seconds * SECOND))

    def settle(self) -> None:
        """What is on its way arrives."""
        self.network.flush()
        self.pass_time(0.5)

    def keep(self, found: Any) -> Any:
        """Close it at the end of the test."""
        self.opened.append(found)
        return found

    def listen(self, backlog: int = 128) -> Any:
        """The server's listener on port 80."""
        return self.keep(self.server.create_server(("", 80), backlog=backlog))

    def connect(self, local_port: int = 0) -> Any:
        """A connected socket of the client's."""
        source = (CLIENT, local_port) if local_port else None
        return self.keep(self.client.create_connection((SERVER, 80), source_address=source))

    def accept(self, listener: Any) -> Any:
        """The oldest connection that waits."""
        return self.keep(listener.accept()[0])

    def states(self, host: SimHost) -> list[str]:
        """Of every TCP socket of a host."""
        return [row.state.name for row in sockets(host.stack.tcp)]

    def close(self) -> None:
        for one in self.opened:
            one.close()

    def segments(self, flags: int, sender: str = "") -> list[Segment]:
        """Those with exactly these flags."""
        return [one.segment for one in self.wire if one.segment.flags == flags and one.sender.startswith(sender)]


def segment_packet(
    source: str, header: TcpHeader, options: bytes = b"", destination: str = SERVER, text: bytes = b""
) -> bytes:
    """A packet made by hand."""
    ends = parse_address(source), parse_address(destination)
    return ipv4.build(*ends, 6, build_segment(*ends, header, options, text))
