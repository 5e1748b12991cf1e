"""Hosts and links in virtual time.

A host is a sans-IO Stack; a link joins two hosts and impairs each direction. Everything that happens is an event
of one :class:`~ustack.sim.clock.Clock`: with the same seeds a simulation is the same to the byte, so
its trace can be kept as text.

>>> network = SimNetwork()
>>> left = network.add_host("left", stack_of("left"), "10.0.0.1/24")         # doctest: +SKIP
>>> right = network.add_host("right", stack_of("right"), "10.0.0.2/24")      # doctest: +SKIP
>>> network.join(left, right, parse_impairment("delay=20ms,loss=1%"))        # doctest: +SKIP
>>> network.run_until(lambda: connection.at_eof())                           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ustack.device.impairment import PERFECT, Impairment, Path
from ustack.events import Event
from ustack.sim.clock import Clock
from ustack.stack.stack import Stack
from ustack.wire.address import format_address, is_multicast, parse_address
from ustack.wire.describe import describe_packet
from ustack.wire.frame import Frame, RawTransmit, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

START = 1_000_000_000
"""The first instant: not zero, so that "never" and "at once" are not the same number."""

BUSY_EVENTS = 1_000_000
"""More events than this without time passing are a loop that will not end."""


class SimHost:
    """A Stack with a name and its place in a network."""

    def __init__(self, network: SimNetwork, name: str, stack: Stack) -> None:
        self.network = network
        self.name = name
        self.stack = stack
        self.links: list[SimLink] = []
        self.addresses: set[bytes] = set()
        self.events: list[Event] = []
        """Events of endpoints that nobody owns."""
        self.receiver: Any = None
        """A ``native.Receiver``: then packets of one instant are merged into runs, as in life."""
        self.sent_packets = 0
        self.unroutable_packets = 0
        self._armed_at: int | None = None

    def __repr__(self) -> str:
        return f"SimHost({self.name})"

    @property
    def now(self) -> int:
        return self.network.clock.now

    def is_for_many(self, destination: bytes) -> bool:
        """A multicast or broadcast address."""
        return is_multicast(destination) or self.stack.ip.is_broadcast(destination)

    def replace_stack(self, stack: Stack) -> None:
        """The host dies without a word, and another stack takes its place: what it knew is forgotten."""
        self.stack = stack
        self._armed_at = None

    def receive(self, packets: Sequence[bytes]) -> None:
        """Packets arrive, all in this instant."""
        frames: list[Frame]
        frames = self.receiver.receive_packets(packets) if self.receiver else [parse_packet(p) for p in packets]
        self.stack.on_frames(frames, self.now)
        if self.receiver:
            self.receiver.poison()
        self.flush()

    def flush(self) -> None:
        """Sends what the stack has to send, tells owners what happened, and notes the next deadline.

        To be called after every call of the application on an endpoint of this host.
        """
        told = True
        while told:  # whoever is told may write
            while (transmit := self.stack.poll_transmit(self.now)) is not None:
                self._send(transmit)
            told = self._tell()
        self._arm()

    def _tell(self) -> bool:
        told = False
        while (event := self.stack.next_event()) is not None:
            owner = event.endpoint.owner
            if owner is None:
                self.events.append(event)
            else:
                owner.on_event(event)
                told = True
        return told

    def _send(self, transmit: Transmit | RawTransmit) -> None:
        for packet in cut(transmit):
            self.sent_packets += 1
            self.network.route(self, packet)

    def _arm(self) -> None:
        deadline = self.stack.next_deadline()
        if deadline is not None and (self._armed_at is None or deadline < self._armed_at):
            self._armed_at = max(deadline, self.now)
            self.network.clock.at(self._armed_at, self._on_deadline)

    def _on_deadline(self) -> None:
        if self._armed_at != self.now:
            return  # an earlier event took this one's place
        self._armed_at = None
        deadline = self.stack.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.stack.on_deadline(self.now)
            self.flush()
        else:
            self._arm()


class SimLink:
    """A wire between two hosts; each direction is a :class:`~ustack.device.impairment.Path`."""

    def __init__(self, ends: tuple[SimHost, SimHost], impairments: tuple[Impairment, Impairment], mtu: int) -> None:
        self.ends = ends
        self.mtu = mtu
        """A larger packet is lost without a word (a PMTU black hole)."""
        self.is_up = True
        """Down: whatever is sent is lost; what is on the wire still arrives."""
        self.tamper: Callable[[SimHost, bytes], Sequence[bytes]] | None = None
        """Called with the sender and each packet; what it returns crosses instead."""
        names = [f"{sender.name}>{other.name}" for sender, other in (ends, ends[::-1])]
        self.paths = tuple(Path(model, name) for model, name in zip(impairments, names, strict=True))
        self._armed_at: list[int | None] = [None, None]

    def far_end(self, host: SimHost) -> SimHost:
        return self.ends[1] if host is self.ends[0] else self.ends[0]

    def path_from(self, host: SimHost) -> Path:
        """The direction in which ``host`` sends: its counters tell what became of the packets."""
        return self.paths[0] if host is self.ends[0] else self.paths[1]

    def change(self, impairment: Impairment) -> None:
        """Another behaviour from now on, both ways; the random sequence goes on."""
        for path in self.paths:
            path.impairment = impairment

    def carry(self, sender: SimHost, packet: bytes) -> None:
        """A packet enters the wire."""
        network = sender.network
        for version in self.tamper(sender, packet) if self.tamper else (packet,):
            copies = 0
            if self.is_up and len(version) <= self.mtu:
                copies = self.path_from(sender).offer(version, network.clock.now)
            network.note(sender, self.far_end(sender), version, copies)
        self._arm(0 if sender is self.ends[0] else 1, network.clock)

    def _arm(self, direction: int, clock: Clock) -> None:
        due = self.paths[direction].next_deadline()
        armed_at = self._armed_at[direction]
        if due is not None and (armed_at is None or due < armed_at):
            self._armed_at[direction] = due
            clock.at(due, lambda: self._deliver(direction, due, clock))

    def _deliver(self, direction: int, due: int, clock: Clock) -> None:
        if self._armed_at[direction] != due:
            return
        self._armed_at[direction] = None
        packets = self.paths[direction].due(clock.now)
        self._arm(direction, clock)
        if packets:
            self.ends[1 - direction].receive(packets)


class SimNetwork:
    """Hosts, links and the clock that they share. ``trace`` keeps one line of text for each packet sent."""

    def __init__(self, *, trace: bool = False, start: int = START) -> None:
        self.clock = Clock(start)
        self.start = start
        self.hosts: list[SimHost] = []
        self.links: list[SimLink] = []
        self.trace: list[str] = []
        self._tracing = trace

    @property
    def now(self) -> int:
        return self.clock.now

    def add_host(self, name: str, stack: Stack, *addresses: str, receiver: Any = None) -> SimHost:
        """A host with ``addresses`` such as ``10.0.0.1/24`` or ``fd00::1/64``, which the stack is given too."""
        host = SimHost(self, name, stack)
        host.receiver = receiver
        for text in addresses:
            address, _, prefix = text.partition("/")
            packed = parse_address(address)
            host.addresses.add(packed)
            stack.add_address(packed, int(prefix) if prefix else 128 if ":" in address else 32)
        self.hosts.append(host)
        return host

    def join(
        self,
        left: SimHost,
        right: SimHost,
        impairment: Impairment = PERFECT,
        back: Impairment | None = None,
        mtu: int = 65535,
    ) -> SimLink:
        """A link; ``back`` is the direction from right to left where it differs."""
        link = SimLink((left, right), (impairment, back or impairment), mtu)
        left.links.append(link)
        right.links.append(link)
        self.links.append(link)
        return link

    def route(self, sender: SimHost, packet: bytes) -> None:
        """To the neighbour that has the destination, or over the only link there is; else it is lost. What is for
        many goes to every neighbour."""
        destination = packet_destination(packet)
        if destination in sender.addresses:
            self.clock.at(self.now, lambda: sender.receive([packet]))
            return
        if destination and sender.is_for_many(destination):
            for link in sender.links:
                link.carry(sender, packet)
            return
        links = [link for link in sender.links if destination in link.far_end(sender).addresses]
        if not links and len(sender.links) == 1:
            links = sender.links
        if links:
            links[0].carry(sender, packet)
        else:
            sender.unroutable_packets += 1

    def note(self, sender: SimHost, other: SimHost, packet: bytes, copies: int) -> None:
        """One line of the trace: seconds, who to whom, the packet, and how many copies arrive when that is not one."""
        if not self._tracing:
            return
        seconds, rest = divmod(self.now - self.start, 1_000_000_000)
        fate = "" if copies == 1 else " (lost)" if copies == 0 else f" (x{copies})"
        self.trace.append(f"{seconds}.{rest // 1000:06d} {sender.name} > {other.name} {describe_packet(packet)}{fate}")

    def flush(self) -> None:
        """Every host sends what it has to send: after application calls on several."""
        for host in self.hosts:
            host.flush()

    def run_until(self, done: Callable[[], bool], limit: int | None = None) -> bool:
        """Runs until ``done()``, until instant ``limit``, or until nothing will ever happen again.

        Returns what ``done()`` says in the end. Raises RuntimeError when events follow each other without time passing.
        """
        clock = self.clock
        busy, instant = 0, clock.now
        self.flush()
        while not done():
            at = clock.next_at()
            if at is None:
                return done()
            if limit is not None and at > limit:
                clock.now = max(clock.now, limit)
                return done()
            clock.step()
            busy = busy + 1 if clock.now == instant else 0
            instant = clock.now
            if busy > BUSY_EVENTS:
                raise RuntimeError(f"{busy} events at one instant: {self.now} ns")
        return True

    def run_for(self, duration: int) -> None:
        """Runs all that happens in the next ``duration`` ns, and ends at their end."""
        end = self.now + duration
        self.run_until(lambda: False, end)
        self.clock.now = end

    def run_until_quiet(self, limit: int | None = None) -> bool:
        """Runs until nothing will ever happen again (True), or until instant ``limit`` (False)."""
        self.run_until(lambda: False, limit)
        return self.clock.next_at() is None


def packet_destination(packet: bytes) -> bytes:
    """The destination address of a raw packet, 16 bytes; empty when it has none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return bytes(10) + b"\xff\xff" + packet[16:20]
    return packet[24:40] if len(packet) >= 40 else b""


def addresses_text(host: SimHost) -> str:
    """A host's addresses, for messages."""
    return ", ".join(sorted(format_address(address) for address in host.addresses))
