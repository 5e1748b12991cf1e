"""What was seen in a run: events, segments, views."""

from __future__ import annotations

from typing import TypeVar

from ustack.lab.evidence import Evidence, instant_of
from ustack.lab.link import matcher
from ustack.lab.report import Flight, Report, View
from ustack.lab.side import Side
from ustack.sim.network import SimNetwork
from ustack.trace import Called, Event, Moved
from ustack.units import SECOND
from ustack.wire.frame import Frame, Segment

Kind = TypeVar("Kind", bound=Event)


class Seen:
    """The part of a :class:`~ustack.lab.Lab` that is asked what happened."""

    report: Report
    network: SimNetwork

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._elapsed() / SECOND

    def _elapsed(self) -> int:
        """ns since the run began."""
        return self.network.now - self.network.start

    def events(self, kind: type[Kind], side: Side | None = None, **wanted: object) -> list[Kind]:
        """The events of one kind at one side (all without) whose fields are as ``wanted``."""
        return [
            note.event
            for note in self.report.notes
            if isinstance(note.event, kind)
            and (side is None or note.side == side.name)
            and all(getattr(note.event, name) == value for name, value in wanted.items())
        ]

    def first(self, kind: type[Kind], side: Side | None = None, **wanted: object) -> Kind | None:
        """The first such event, if there is one."""
        found = self.events(kind, side, **wanted)
        return found[0] if found else None

    def flights(
        self,
        sender: Side | None = None,
        has: str = "",
        lacks: str = "",
        text: bool | None = None,
        *,
        late: bool = False,
    ) -> list[Flight]:
        """The segments that ``sender`` sent with the flags ``has`` and without those of ``lacks``, lost ones too.

        ``late``: those that the network held or copied, as they come.
        """
        match = matcher({"has": has, "lacks": lacks, **({} if text is None else {"text": text})})
        return [
            flight
            for flight in self.report.flights
            if flight.late is late
            and (sender is None or flight.sender == sender.name)
            and isinstance(flight.frame, Segment)
            and match(flight.frame)
        ]

    def path(self, side: Side, *, since: float = 0.0) -> str:
        """The states that a side's connections went through, ``FIN_WAIT_1, FIN_WAIT_2, ...``, from an instant on."""
        return ", ".join(one.after for one in self.events(Moved, side) if one.at >= since * SECOND)

    def packets(self, kind: type[Frame], sender: Side | None = None) -> list[Flight]:
        """What is no TCP: the flights of a kind of packet (``ustack.wire.frame``: Datagram, Fragment, IcmpMessage)."""
        return [
            flight
            for flight in self.report.flights
            if isinstance(flight.frame, kind) and (sender is None or flight.sender == sender.name)
        ]

    def instant(self, evidence: Evidence) -> float:
        """When it happened, seconds."""
        at = instant_of(evidence)
        return self.now if at is None else at / SECOND

    def views(self, side: Side, port: int) -> list[View]:
        """The views of a side's connections with this local port, in the order of time."""
        return [view for view in self.report.views if view.side == side.name and f":{port} >" in view.who]

    def outcome(self, result: str, side: Side | None = None) -> Called | None:
        """The first call whose result begins with ``result`` (``ETIMEDOUT``)."""
        return next((call for call in self._calls(side) if call.result.startswith(result)), None)

    def _calls(self, side: Side | None) -> list[Called]:
        notes = [note for note in self.report.notes if side is None or note.side == side.name]
        return [note.event for note in notes if isinstance(note.event, Called)]
