"""What a run of a question leaves behind: plain records, from which every picture and text is made.

Instants are nanoseconds since the run began.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ustack.lab.language import translate
from ustack.trace.events import Event
from ustack.trace.snapshot import Snapshot
from ustack.wire.frame import Frame


@dataclasses.dataclass
class Flight:
    """One packet on a wire."""

    sender: str
    receiver: str
    at: int
    """When it left."""
    packet: bytes
    frame: Frame
    text: str
    """Flags, numbers and options, relative to both ISNs."""
    connection: str
    """The endpoints, the client's first: the same for both directions; empty for what is no TCP."""
    rule: str = ""
    why: str = ""
    source: str = ""
    """Why it left: of the Sent event."""
    order: int = 0
    """What happened before has a smaller number, whatever it is."""
    fate: str = ""
    """Empty: it arrives. Else what the network did: lost, held, repeated, corrupted."""
    arrivals: list[int] = dataclasses.field(default_factory=list)
    drop: str = ""
    """The rule by which the receiver refused it (``drops.py``)."""
    drop_why: str = ""
    sender_state: str = ""
    """After it left."""
    receiver_state: str = ""
    """After it arrived."""
    late: bool = False
    """The sender sent it before: this is the network's copy, or the packet that the network had held."""

    @property
    def is_lost(self) -> bool:
        """It never arrived."""
        return not self.arrivals and self.fate == "lost"


@dataclasses.dataclass
class Note:
    """Something that happened at one side, beside the wire."""

    at: int
    side: str
    event: Event
    order: int = 0


@dataclasses.dataclass
class Unseen:
    """A stretch of the run that was not written down: there was too much of the same in it."""

    at: int
    until: int
    text: str
    segments: int
    order: int = 0


@dataclasses.dataclass
class Figure:
    """A number that was measured, and what it must be."""

    label: str
    seen: float | str
    expected: float | str
    unit: str = ""
    tolerance: float = 0.0
    rule: str = ""

    @property
    def holds(self) -> bool:
        """Both agree."""
        if isinstance(self.seen, str) or isinstance(self.expected, str):
            return self.seen == self.expected
        return abs(self.seen - self.expected) <= self.tolerance

    def text(self, value: float | str) -> str:
        """A number as people write it, with its unit; yes or no."""
        if isinstance(value, bool):
            return translate("yes") if value else translate("no")
        written = value if isinstance(value, str) else f"{round(value, 3):,.10g}" if value % 1 else f"{value:,.0f}"
        return f"{written} {self.unit}".rstrip()


@dataclasses.dataclass
class Sentence:
    """A sentence of the answer, and the instant of the event that it rests on."""

    text: str
    at: int


@dataclasses.dataclass
class View:
    """A connection at one side, as it stood from this instant on."""

    at: int
    side: str
    who: str
    snapshot: Snapshot


MOST_VIEWS = 20_000
"""So many views are kept of a run: beyond it every second one of each connection goes."""


def thinned(views: list[View]) -> list[View]:
    """Every second view of each connection, and the latest of each: half the resolution, the same span."""
    kept: list[View] = []
    seen: dict[tuple[str, str], int] = {}
    last = {(view.side, view.who): view for view in views}
    for view in views:
        key = view.side, view.who
        seen[key] = seen.get(key, 0) + 1
        if seen[key] % 2 or last[key] is view:
            kept.append(view)
    return kept


@dataclasses.dataclass
class Report:
    """Everything of one run."""

    id: str
    question: str
    setup: str
    sides: list[str]
    changed: dict[str, str]
    """What ``--set`` changed."""
    left: list[str] = dataclasses.field(default_factory=list)
    """The sides that stand on the left of the ladder."""
    flights: list[Flight] = dataclasses.field(default_factory=list)
    notes: list[Note] = dataclasses.field(default_factory=list)
    views: list[View] = dataclasses.field(default_factory=list)
    """Every change of a connection, or samples at even distances (``Lab.unseen``); never more than MOST_VIEWS."""
    waiting: list[tuple[int, str, int]] = dataclasses.field(default_factory=list)
    """Samples of what waits in the queue of a link with a rate: instant, sender, packets."""
    unseen: list[Unseen] = dataclasses.field(default_factory=list)
    figures: list[Figure] = dataclasses.field(default_factory=list)
    sentences: list[Sentence] = dataclasses.field(default_factory=list)
    listings: list[tuple[int, str, list[str]]] = dataclasses.field(default_factory=list)
    """Socket listings that the question asked for: instant, command and side, lines."""
    headers: list[tuple[int, str, list[str]]] = dataclasses.field(default_factory=list)
    """Headers that the question decodes: instant, which one of what, lines."""
    next: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    """TCP options that the ladder leaves out elsewhere, and that matter here."""
    duration: int = 0

    def wrong(self) -> list[Figure]:
        """The figures that are not what they must be."""
        return [figure for figure in self.figures if not figure.holds]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "question": self.question,
            "setup": self.setup,
            "sides": self.sides,
            "set": self.changed,
            "segments": [_flight_dict(flight) for flight in self.flights],
            "unseen": [dataclasses.asdict(stretch) for stretch in self.unseen],
            "events": [{"side": note.side, **note.event.as_dict(), "at": note.at} for note in self.notes],
            "figures": [{**dataclasses.asdict(figure), "holds": figure.holds} for figure in self.figures],
            "answer": [dataclasses.asdict(sentence) for sentence in self.sentences],
            "listings": [{"at": at, "title": title, "lines": lines} for at, title, lines in self.listings],
            "headers": [{"at": at, "title": title, "lines": lines} for at, title, lines in self.headers],
            "next": list(self.next),
            "try": list(self.tries),
            "duration": self.duration,
        }


def _flight_dict(flight: Flight) -> dict[str, Any]:
    names = ("sender", "receiver", "at", "text", "connection", "rule", "why", "source", "fate", "late", "arrivals",
             "drop", "sender_state", "receiver_state")  # fmt: skip
    return {name: getattr(flight, name) for name in names}


MOST_CHANGED_BITS = 20
"""CE and the checksum that is mended for it."""


def changed_on_the_way(flights: list[Flight], receiver: str, packet: bytes) -> Flight | None:
    """The flight whose packet this was before the link turned a bit of it, or marked it."""
    value = int.from_bytes(packet, "big")
    likely = [
        ((int.from_bytes(one.packet, "big") ^ value).bit_count(), one.order, one)
        for one in flights
        if one.receiver == receiver and not one.arrivals and len(one.packet) == len(packet) and not one.is_lost
    ]
    bits, _, found = min(likely, default=(MOST_CHANGED_BITS + 1, 0, None))
    if found is None or bits > MOST_CHANGED_BITS:
        return None
    if bits == 1:
        found.fate = "corrupted"
    return found
