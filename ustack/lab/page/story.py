"""What a page shows of a report: the segments and notes that are drawn, in order, and what is folded away."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right

from ustack.lab.ladder import matters
from ustack.lab.language import translate
from ustack.lab.page.wording import again
from ustack.lab.report import Flight, Note, Report, Unseen
from ustack.trace.events import Moved, span

MOST_ROWS = 150
"""More segments and notes than this are folded, but never those at the instants that the answer names."""
MOST_CONNECTIONS = 3
"""So many connections of a side are drawn as bars and as control blocks."""
_NEAR = 6
"""Rows before and after an instant of the answer that stay."""
_LEAST_FOLDED = 4


@dataclasses.dataclass
class Hidden:
    """Rows that are folded away, between two that are shown."""

    at: int
    until: int
    segments: int
    events: int
    order: int


Row = Flight | Note | Unseen | Hidden


class Story:
    """The rows of a report's ladder; ``sides`` from left to right."""

    def __init__(self, report: Report, most: int = MOST_ROWS) -> None:
        self.report = report
        self.sides = ordered_sides(report)
        self.rows = self._chosen(most)
        self.flights = [row for row in self.rows if isinstance(row, Flight)]
        self.notes = [row for row in self.rows if isinstance(row, Note)]
        self.hidden = [row for row in self.rows if isinstance(row, Unseen | Hidden)]
        self.again = again(report.flights)
        connections = [flight.connection for flight in report.flights if flight.connection]
        self.has_many = len(set(connections)) > 1
        self.connections = list(dict.fromkeys(connections))[:MOST_CONNECTIONS]
        self.left_out = len(set(connections)) - len(self.connections)
        self.moments = self._instants()

    def _chosen(self, most: int) -> list[Row]:
        report = self.report
        rows: list[Flight | Note | Unseen] = [*report.flights, *report.unseen]
        rows += [note for note in report.notes if matters(note.event, report.shows) or isinstance(note.event, Moved)]
        rows.sort(key=lambda row: (row.at, row.order))
        if len(rows) <= most:
            return list(rows)
        head, tail = most // 3, most // 4
        kept = {index for index, row in enumerate(rows) if isinstance(row, Unseen)}
        kept |= set(range(head)) | set(range(len(rows) - tail, len(rows)))
        instants = [row.at for row in rows]
        for sentence in report.sentences:
            middle = bisect_right(instants, sentence.at)
            kept |= set(range(max(middle - _NEAR, 0), min(middle + _NEAR, len(rows))))
        return _folded(rows, kept)

    def _instants(self) -> list[int]:
        """Where the slider stops."""
        found = {0}
        for row in self.rows:
            if not isinstance(row, Unseen | Hidden):
                found.add(row.at)
            if isinstance(row, Flight):
                found.update(row.arrivals[:2])
        return sorted(found)

    def moment_of(self, at: int) -> int:
        """The number of the last instant that is not after ``at``."""
        return max(bisect_right(self.moments, at) - 1, 0)


def _folded(rows: list[Flight | Note | Unseen], kept: set[int]) -> list[Row]:
    chosen: list[Row] = []
    run: list[Flight | Note | Unseen] = []
    for index, row in enumerate([*rows, None]):
        if row is not None and index not in kept:
            run.append(row)
            continue
        if len(run) < _LEAST_FOLDED:
            chosen += run
        else:
            segments = sum(isinstance(one, Flight) for one in run)
            chosen.append(Hidden(run[0].at, run[-1].at, segments, len(run) - segments, run[0].order))
        run = []
        if row is not None:
            chosen.append(row)
    return chosen


def ordered_sides(report: Report) -> list[str]:
    """Who talks to most others stands in the middle, so that no arrow crosses a lifeline without need."""
    sides = list(report.sides)
    if len(sides) < 3:
        return sides
    partners: dict[str, set[str]] = {side: set() for side in sides}
    for flight in report.flights:
        if flight.sender in partners and flight.receiver in partners:
            partners[flight.sender].add(flight.receiver)
            partners[flight.receiver].add(flight.sender)
    hub = max(sides, key=lambda side: len(partners[side]))
    others = [side for side in sides if side != hub]
    middle = (len(others) + 1) // 2
    return [*others[:middle], hub, *others[middle:]]


def ends_of(who: str) -> frozenset[str]:
    """The two endpoints of a connection, whichever comes first."""
    return frozenset(who.split(" > "))


def gap_text(hidden: Hidden | Unseen) -> str:
    """What is not drawn here."""
    time, segments = span(hidden.until - hidden.at), f"{hidden.segments:,}"
    if isinstance(hidden, Unseen) and not hidden.segments:
        return f"{hidden.text} ({time})"
    if isinstance(hidden, Unseen):
        return f"{hidden.text} ({translate('{segments} segments in {time}').format(segments=segments, time=time)})"
    words = translate("{segments} segments and {events} events more, in {time}")
    return words.format(segments=segments, events=hidden.events, time=time)
