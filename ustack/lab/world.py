"""A laboratory in virtual time: a client, a server, what lies between them, and a record of all that happens."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ustack.device.impairment import PERFECT, parse_impairment
from ustack.lab.findings import Findings
from ustack.lab.header import Field, decode, header_lines
from ustack.lab.knobs import Knobs
from ustack.lab.language import translate
from ustack.lab.link import LabLink
from ustack.lab.place import LabPlace, NatNetwork
from ustack.lab.question import Question
from ustack.lab.report import MOST_VIEWS, Flight, Note, Report, Unseen, View, changed_on_the_way, thinned
from ustack.lab.side import Side
from ustack.settings import Settings
from ustack.sim.apps import make_stack
from ustack.sim.driver import SimDriver
from ustack.sim.network import SimHost
from ustack.socket.host import Host
from ustack.stack.stack import Stack
from ustack.trace import Arrived, Called, Event, Moved, Sent, Watch
from ustack.trace.events import who_of
from ustack.trace.snapshot import Snapshot, of_connection, state_of
from ustack.units import SECOND
from ustack.wire.address import format_address, parse_address
from ustack.wire.describe import describe_body, endpoint_text, segment_text
from ustack.wire.frame import Datagram, Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import ACK, SYN

OLDER = 1 << 26
"""Bytes before an ISN: as far as the clock of the ISN goes in four minutes."""
_BEFORE = re.compile(r"(?<!val )(?<!ecr )\b\d{10}\b")
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
Judge = Callable[[Segment], str]


class LabNetwork(NatNetwork):
    """Tells the lab what a link did to each packet of its own accord (``loss=1%``, a cable that is out)."""

    lab: Lab

    def note(self, sender: SimHost, other: SimHost, packet: bytes, copies: int) -> None:
        self.lab._carried(other.name, packet, copies)


class Lab(Findings):
    """What a question's function gets. Times are seconds of the simulated clock, from 0.

    ``client`` and ``server`` are two :class:`Side` with a :class:`LabLink` ``link`` between them; ``add`` makes more.
    """

    def __init__(self, question: Question, changes: Mapping[str, str] | None = None) -> None:
        self.question = question
        self.knobs = Knobs(question, changes or {})
        network = self._make_network()
        network.lab = self
        self.network = network
        self.report = Report(
            question.id, translate(question.title), translate(question.setup), [], dict(self.knobs.changes),
            next=question.next, tries=question.tries, shows=question.shows,
        )  # fmt: skip
        self._places: dict[str, LabPlace] = {}
        self._watches: dict[str, Watch] = {}
        self._isns: dict[tuple[bytes, bytes], int] = {}
        self._reasons: dict[str, Sent] = {}
        self._flying: dict[tuple[str, int], tuple[bytes, Flight]] = {}
        """By receiver and the identity of the packet that crosses, which is kept, so that no other can have it."""
        self._expected: deque[Flight] = deque()
        self._order = 0
        self._lives = 0
        self._sides: list[Side] = []
        self._last_views: dict[tuple[str, str], View] = {}
        self._latest: dict[str, Flight] = {}
        self._hidden: Unseen | None = None
        self._is_over = False
        self.report.left.append("client")
        self.client = self._make("client", CLIENT, self.knobs.settings("client"))
        self.server = self._make("server", SERVER, self.knobs.settings("server"))
        self.link = self.join(self.client, self.server, self.knobs.link)

    # Hosts and links

    def add(
        self, name: str, address: str, *, left: bool = False, place: type[LabPlace] = LabPlace, **settings: Any
    ) -> Side:
        """Another host; ``join`` gives it a link. ``left``: it stands where the client stands. ``place``: a class that
        does something else with what arrives.
        """
        if left:
            self.report.left.append(name)
        return self._make(name, address, self.knobs.settings(name).replace(**settings), place)

    def join(self, left: Side, right: Side, impairment: str = "") -> LabLink:
        """A link between two hosts (``delay=10ms,loss=1%``)."""
        model = parse_impairment(impairment) if impairment else PERFECT
        places = self._places[left.name], self._places[right.name]
        link = self.network.join(*places, model)

        def note(sender: str, packet: bytes, fate: str, crossing: bytes, late: bool = False) -> None:
            flight = self._depart(sender, right.name if sender == left.name else left.name, packet, fate, late)
            if flight is not None:
                self._flying[flight.receiver, id(crossing)] = crossing, flight

        return LabLink(link, note)

    def kill(self, side: Side) -> None:
        """The host dies without a word, and whatever comes for it is lost until ``restart``."""
        self._note(Called(self.network.now, "", "", "", translate("the host dies")), side.name)
        self._forget(side)
        self._places[side.name].is_dead = True

    def restart(self, side: Side, **settings: Any) -> None:
        """The host comes back with nothing in its memory (``settings``: changed); one that lives dies first."""
        side.settings = side.settings.replace(**settings)
        self._forget(side)
        self._note(Called(self.network.now, "", "", "", translate("the host starts")), side.name)
        place = self._places[side.name]
        place.is_dead = False
        self._observe(side.name, place.stack)

    def _forget(self, side: Side) -> None:
        """A host with an empty stack, which nobody looks at yet, takes the place of the one that was."""
        place = self._places[side.name]
        self._lives += 1
        stack = self._stack(f"{side.name}, life {self._lives}", side.address, side.settings)
        place.stack.observer = None
        place.replace_stack(stack)
        side.close()
        side.host = Host(stack, SimDriver(place))

    def _make(self, name: str, address: str, settings: Settings, kind: type[LabPlace] = LabPlace) -> Side:
        stack = self._stack(name, address, settings)
        place = kind(self.network, name, stack)
        place.arriving = lambda packets: self._arriving(place, packets)
        place.addresses.add(parse_address(address))
        self.network.hosts.append(place)
        self._places[name] = place
        self.report.sides.append(name)
        self._observe(name, stack)
        made = Side(name, address, settings, Host(stack, SimDriver(place)), self._note, lambda: self.network.now)
        self._sides.append(made)
        return made

    def _make_network(self) -> LabNetwork:
        return LabNetwork()

    @staticmethod
    def _stack(name: str, address: str, settings: Settings) -> Stack:
        stack = make_stack(name, settings)
        stack.add_address(parse_address(address), 24)
        return stack

    def _observe(self, name: str, stack: Stack) -> None:
        watch = Watch(stack, lambda event: self._happened(name, event))
        stack.observer = watch
        self._watches[name] = watch

    def refuse(self, side: Side, judge: Judge) -> None:
        """A wrong rule before a side's stack: ``judge(segment)`` names why a segment is dropped; empty: it is taken."""
        place = self._places[side.name]
        place.refuses = lambda packet: self._is_refused(place, judge, packet)

    def place(self, side: Side) -> SimHost:
        """A side's place in the simulated network: ``stack``, ``links``, ``receive(packets)`` for crafted ones."""
        return self._places[side.name]

    def answer(self) -> Report:
        """Asks the question, lets what is on its way arrive, and closes the lab."""
        try:
            self.question.run(self)
            self.settle()
            self.report.duration = self._elapsed()
        finally:
            self.close()
        return self.report

    def close(self) -> None:
        """Nothing is written down any more, and all sockets are closed."""
        self._is_over = True
        for side in self._sides:
            side.host.stack.observer = None
        for side in (self.client, self.server, *self._sides):
            side.close()

    # Time

    def pass_time(self, seconds: float) -> None:
        """Lets so much time pass."""
        self.network.run_for(round(seconds * SECOND))

    def settle(self) -> None:
        """What is on its way arrives: two round trips pass."""
        delays = [path.impairment.delay for link in self.network.links for path in link.paths]
        self.network.run_for(2 * 2 * max(delays, default=0) + SECOND // 1000)

    def run_until(self, done: Callable[[], bool], limit: float = 86400.0) -> bool:
        """Lets time pass until ``done()``, or for ``limit`` seconds; what ``done()`` says in the end."""
        return self.network.run_until(done, self.network.now + round(limit * SECOND))

    def option(self, name: str) -> str:
        """The value of one of the question's own options."""
        return self.knobs.options[name]

    # What is shown

    def show_listing(self, side: Side, command: str = "ss -tan", *, most: int = 0) -> list[str]:
        """What ``ss -tan`` (``-o``, ``-i`` too) or ``cat /proc/net/tcp`` prints at a side, kept in the report; ``most``
        lines of it (0: all)."""
        lines = side.listing() if command == "ss -tan" else side.tool(command)
        if most and len(lines) > most:
            lines = [*lines[:most], translate("... and {count:,} lines more").format(count=len(lines) - most)]
        self.report.listings.append((self._elapsed(), f"{command}, {side.name}", lines))
        return lines

    def show_header(self, flight: Flight, header: str = "TCP") -> list[Field]:
        """A header of a packet (IPv4, IPv6, TCP, UDP), field by field, kept in the report."""
        lines = header_lines(flight.packet, header)
        self.report.headers.append((flight.at, f"{header}: {flight.text}", lines))
        return [field for field in decode(flight.packet) if field.header == header]

    @contextmanager
    def unseen(self, text: str, *, every: float = 0.0, **values: object) -> Iterator[None]:
        """What happens in the block is not written down, because there is too much of the same: it is as fast as the
        simulation is, and the ladder shows ``text`` (English, with ``{names}`` for ``values``) in its place.
        ``every``: seconds between two samples of all connections, and of the links' queues, for a plot.
        """
        hidden = self._hidden = Unseen(self._elapsed(), 0, translate(text).format(**values), 0, self._next())
        for side in self._sides:
            side.host.stack.observer = None
        if every:
            self._sample(hidden, round(every * SECOND))
        try:
            yield
            self.settle()
        finally:
            self._hidden = None
            hidden.until = self._elapsed()
            self.report.unseen.append(hidden)
            for side in self._sides:
                self._watches[side.name].catch_up()
                side.host.stack.observer = self._watches[side.name]

    def _sample(self, hidden: Unseen, every: int) -> None:
        """Looks at all connections and queues now, and again after ``every`` ns while the block lasts."""
        if self._hidden is not hidden:
            return
        for name, place in self._places.items():
            for key, connection in place.stack.tcp.connections.items():
                self._add_view(name, who_of(key), of_connection(connection))
        for link in self.network.links:
            for sender, path in zip(link.ends, link.paths, strict=True):
                if path.impairment.rate and len(self.report.waiting) < MOST_VIEWS:
                    self.report.waiting.append((self._elapsed(), sender.name, path.waiting(self.network.now)))
        self.network.clock.after(every, lambda: self._sample(hidden, every))

    # Writing it down

    def _next(self) -> int:
        self._order += 1
        return self._order

    def _note(self, event: Event, side: str) -> Note:
        note = Note(self._elapsed(), side, event.since(self.network.start), self._next())
        if self._hidden is None:
            self.report.notes.append(note)
        return note

    def _happened(self, name: str, event: Event) -> None:
        self._note(event, name)
        if isinstance(event, Sent):
            self._reasons[name] = event
        elif isinstance(event, Arrived) and self._expected:
            flight = self._latest[name] = self._expected.popleft()
            flight.arrivals.append(self._elapsed())
            flight.drop, flight.drop_why = event.drop, event.why if event.drop else ""
            flight.receiver_state = self._state(name, flight.frame, True)
        elif isinstance(event, Moved) and event.cause == "segment":
            self._update_states(name, event)
        self._view(name, event)

    def _update_states(self, name: str, event: Moved) -> None:
        """The state moved in the step that a segment just began or ended."""
        flight = self._latest.get(name)
        if flight is not None and flight.arrivals[-1] == self._elapsed():
            flight.receiver_state = event.after

    def _view(self, name: str, event: Event) -> None:
        watch = self._watches.get(name)
        snapshot = watch.snapshot(event.who) if watch is not None else None
        if snapshot is not None:
            self._add_view(name, event.who, snapshot)

    def _add_view(self, name: str, who: str, snapshot: Snapshot) -> None:
        last = self._last_views.get((name, who))
        if last is None or last.snapshot != snapshot:
            last = self._last_views[name, who] = View(self._elapsed(), name, who, snapshot)
            self.report.views.append(last)
            if len(self.report.views) > MOST_VIEWS:
                self.report.views[:] = thinned(self.report.views)

    def _depart(self, sender: str, receiver: str, packet: bytes, fate: str, late: bool) -> Flight | None:
        if self._is_over:
            return None
        if self._hidden is not None:
            self._hidden.segments += 1
            self._learn_isn(packet)
            return None
        frame = parse_packet(packet)
        flight = Flight(sender, receiver, self._elapsed(), packet, frame, self._text(frame, late), self._pair(frame))
        is_dead = self._places[receiver].is_dead
        flight.fate, flight.order, flight.late = "lost" if is_dead else fate, self._next(), late
        reason = self._reasons.get(sender)
        if late:
            flight.why = "somebody forged it" if fate == "forged" else "the network delivers what it held, or a copy"
        elif reason is not None:
            flight.rule, flight.why, flight.source = reason.rule, reason.why, reason.source
        flight.sender_state = "" if late else self._state(sender, frame, False)
        self.report.flights.append(flight)
        return flight

    def _learn_isn(self, packet: bytes) -> None:
        """Of a connection that opens unseen the ladder still shows relative numbers."""
        flags = (packet[0] & 15) * 4 + 13 if packet[0] >> 4 == 4 else 53
        if len(packet) > flags and packet[flags] & SYN:
            frame = parse_packet(packet)
            if isinstance(frame, Segment) and frame.flags & SYN:
                self._text(frame)

    def _flight_of(self, receiver: str, packet: bytes) -> Flight | None:
        """Of the very packet that crosses to ``receiver``, if it is on the ladder."""
        crossing, flight = self._flying.get((receiver, id(packet)), (b"", None))
        return flight if crossing is packet else None

    def _carried(self, receiver: str, packet: bytes, copies: int) -> None:
        """A link has taken a packet: none of it arrives, or so many copies."""
        flight = self._flight_of(receiver, packet)
        if flight is not None and copies != 1:
            flight.fate = "repeated" if copies else "lost"

    def _is_refused(self, place: LabPlace, judge: Judge, packet: bytes) -> bool:
        frame = parse_packet(packet)
        reason = judge(frame) if isinstance(frame, Segment) else ""
        flight = self._flight_of(place.name, packet)
        if reason and flight is not None:
            flight.arrivals.append(self._elapsed())
            flight.drop, flight.drop_why = reason, "a wrong rule of this question's own"
            flight.receiver_state = self._state(place.name, frame, True)
        return bool(reason)

    def _arriving(self, place: SimHost, packets: Sequence[bytes]) -> None:
        self._expected.clear()
        if self._hidden is not None:
            for packet in packets:  # what left before the unseen stretch is on the ladder: it arrives
                flight = self._flight_of(place.name, packet)
                if flight is not None:
                    flight.arrivals.append(self._elapsed())
            return
        for packet in packets:
            flight = self._flight_of(place.name, packet)
            if flight is None:
                flight = changed_on_the_way(self.report.flights, place.name, packet)
            if flight is None:
                frame = parse_packet(packet)
                flight = Flight("", place.name, self._elapsed(), packet, frame, self._text(frame), self._pair(frame))
            self._expected.append(flight)

    def _state(self, name: str, frame: Any, arrived: bool) -> str:
        if not isinstance(frame, Segment):
            return ""
        key = frame.key if arrived else frame.key[16:32] + frame.key[:16] + frame.key[34:36] + frame.key[32:34]
        return state_of(self._places[name].stack.tcp, key)

    def _pair(self, frame: Any) -> str:
        if not isinstance(frame, Segment):
            return ""
        ends = sorted([(frame.source, frame.source_port), (frame.destination, frame.destination_port)],
                      key=lambda end: (-end[1], end[0]))  # fmt: skip
        return " > ".join(endpoint_text(*end) for end in ends)

    def _text(self, frame: Any, late: bool = False) -> str:
        if not isinstance(frame, Segment):
            is_known = any(frame.destination in place.addresses for place in self._places.values())
            is_for_many = isinstance(frame, Datagram) and not is_known
            return describe_body(frame) + (f" to {format_address(frame.destination)}" if is_for_many else "")
        forth = frame.key[:16] + frame.key[32:34], frame.key[16:32] + frame.key[34:36]
        if frame.flags & SYN and not (late and forth in self._isns):
            self._isns[forth] = frame.seq
        if frame.flags & ACK and (frame.flags & SYN or forth[::-1] not in self._isns):
            self._isns.setdefault((forth[1], forth[0]), (frame.ack - 1) & 0xFFFFFFFF)
        seq_base, ack_base = self._isns.get(forth, 0), self._isns.get((forth[1], forth[0]), 0)
        return _BEFORE.sub(_signed, segment_text(frame, seq_base, ack_base))


def _signed(number: re.Match[str]) -> str:
    """What lies shortly before the ISN is of an older connection: -5 says so, 4294967291 does not."""
    value = int(number[0])
    return str(value - (1 << 32)) if value >= (1 << 32) - OLDER else number[0]


def answer(question: Question, changes: Mapping[str, str] | None = None) -> Report:
    """Runs a question and returns what came of it. Raises ValueError for a wrong ``changes``."""
    return Lab(question, changes).answer()
