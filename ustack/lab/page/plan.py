"""Where everything of the ladder stands: lifelines, ends of arrows, folds and notes, in one of two layouts.

The wide layout has notes in margins of their own, with a line to their instant. The narrow one, for a telephone or two
pictures side by side, gives each text a strip of its own between the lifelines.
"""

from __future__ import annotations

import dataclasses

from ustack.lab.ladder import clock
from ustack.lab.page.margin import spread, wrapped
from ustack.lab.page.scale import Fold, Point, place, usual_flight
from ustack.lab.page.story import Hidden, Row, Story, gap_text
from ustack.lab.page.wording import what
from ustack.lab.report import Flight, Note, Unseen
from ustack.trace.events import Moved

TOP = 58.0
LINE = 14.0
"""The height of a line of a note."""
LETTER = 6.4
"""The width of a letter of a note."""
NOTE_GAP = 5.0
ROW = 17.0
"""The least distance of two ends of arrows at one side."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Measures in units of the picture; a unit is a pixel where the picture has its natural width."""

    name: str
    width: float
    left: float
    right: float
    note_width: float
    letter: float
    """The width of one letter of an arrow's label."""

    @property
    def is_wide(self) -> bool:
        """Notes have margins of their own."""
        return self.name == "wide"


WIDE = Layout("wide", 872, 262, 654, 180, 7.0)
NARROW = Layout("narrow", 344, 22, 322, 262, 6.9)


@dataclasses.dataclass
class Box:
    """A note's place: its text's lines, and the point on the lifeline that it belongs to."""

    note: Note
    lines: list[str]
    point: Point
    x: float
    y: float
    is_right: bool

    @property
    def height(self) -> float:
        """With the gap to the next."""
        return len(self.lines) * LINE + NOTE_GAP


class Plan:
    """A story, laid out. ``heights`` says where the slider's instants are."""

    def __init__(self, story: Story, layout: Layout) -> None:
        self.story = story
        self.layout = layout
        sides = story.sides
        step = (layout.right - layout.left) / max(len(sides) - 1, 1)
        self.x = {side: layout.left + step * index for index, side in enumerate(sides)}
        self.leaving: dict[int, Point] = {}
        self.arriving: dict[int, Point] = {}
        self.boxes: list[Box] = []
        self.prefixes: dict[int, str] = {}
        self._last_arrival: dict[str, int] = {}
        self._last_time = ""
        self.gaps: list[tuple[Hidden | Unseen, Point]] = []
        self.usual = usual_flight(row.arrivals[0] - row.at for row in story.flights if row.arrivals)
        self._margin = self._margins()
        self.points: list[Point] = [Point(0, (-1, 0), ())]
        for row in story.rows:
            self._add(row)
        self.folds: list[Fold] = place(self.points, self.usual, TOP)
        self._lay_out_notes()
        ends = [point.y for point in self.points] + [box.y + box.height for box in self.boxes]
        self.height = max(ends) + 40

    # Where everything stands

    def _add(self, row: Row) -> None:
        if isinstance(row, Unseen | Hidden):
            room = 16 + LINE / 2 * len(self.gap_lines(row))
            point = Point(row.at, (1, row.order), tuple(self.story.sides), above=room, below=room, until=row.until)
            self.gaps.append((row, point))
            self.points.append(point)
        elif isinstance(row, Note):
            self._add_note(row)
        else:
            self._add_flight(row)

    def gap_lines(self, hidden: Hidden | Unseen) -> list[str]:
        """What stands in the place of rows that are not drawn, between two lifelines."""
        lanes = len(self.x) - 1 if len(self.x) % 2 else 1
        return wrapped(gap_text(hidden), ((self.layout.right - self.layout.left) / lanes - 30) / LETTER)

    def _add_flight(self, flight: Flight) -> None:
        strip = tuple(self.story.sides) if not self.layout.is_wide else (flight.sender,)
        leaving = Point(flight.at, (1, flight.order), strip, above=ROW, below=3)
        self.leaving[flight.order] = leaving
        self.prefixes[flight.order] = self._timed(flight.at)
        self.points.append(leaving)
        if flight.arrivals:
            at = flight.arrivals[0]
            order = (0, flight.order) if at > flight.at else (1, flight.order + 0.5)
            room = ROW if flight.drop or self.layout.is_wide else 8
            strip = tuple(self.story.sides) if flight.drop and not self.layout.is_wide else (flight.receiver,)
            self._last_arrival[flight.sender] = at
            arriving = Point(at, order, strip, above=room, below=17 if flight.drop else 2)
        else:
            at = flight.at + self.usual  # it would arrive then: so its arrow is parallel to the others'
            before = self._last_arrival.get(flight.sender, 0)
            at = before if at < before < at + self.usual else at
            arriving = Point(at, (0, flight.order), (flight.receiver,), above=ROW, below=2, is_event=False)
        self.arriving[flight.order] = arriving
        self.points.append(arriving)

    def _timed(self, at: int) -> str:
        """The instant, before the first text of an instant: the narrow picture has no clock at its edge."""
        text = clock(at)
        if self.layout.is_wide or text == self._last_time:
            return ""
        self._last_time = text
        return f"{text}  "

    def _add_note(self, note: Note) -> None:
        layout = self.layout
        is_right = self._margin[note.side] == "right"
        text = what(note.event)
        if isinstance(note.event, Moved) and self.story.has_many:
            text = f"[{_port_of(note.event.who)}] {text}"
        if len(self.story.sides) > 2 and not self.is_outer(note.side):
            text = f"{note.side}: {text}"
        text = self._timed(note.at) + text
        lines = wrapped(text, (layout.note_width - 12) / LETTER)
        tall = len(lines) * LINE + NOTE_GAP
        if layout.is_wide:
            point = Point(note.at, (1, note.order), (), margin="right" if is_right else "left", height=tall)
            x = layout.width - layout.note_width if is_right else layout.left - 24 - layout.note_width
        else:
            point = Point(note.at, (1, note.order), tuple(self.story.sides), above=5, below=tall - 2)
            x = layout.right - 12 - layout.note_width if is_right else layout.left + 12
        self.points.append(point)
        self.boxes.append(Box(note, lines, point, x, 0, is_right))

    def _margins(self) -> dict[str, str]:
        """In which margin each side's notes stand: those of a side in the middle where fewer stand at the time."""
        sides, notes = self.story.sides, self.story.notes
        margins = dict.fromkeys(sides, "left") | {sides[-1]: "right"}
        for side in sides[1:-1]:
            beside = [
                sum(abs(one.at - other.at) <= 2 * self.usual for one in notes if one.side == side for other in notes
                    if other.side == outer)
                for outer in (sides[0], sides[-1])
            ]  # fmt: skip
            margins[side] = "left" if beside[0] < beside[1] else "right"
        return margins

    def is_outer(self, side: str) -> bool:
        return side in (self.story.sides[0], self.story.sides[-1])

    def _lay_out_notes(self) -> None:
        if not self.layout.is_wide:
            for box in self.boxes:
                box.y = box.point.y
            return
        for is_right in (False, True):
            boxes = sorted((box for box in self.boxes if box.is_right is is_right), key=lambda box: box.point.y)
            tops = spread([box.point.y - LINE / 2 for box in boxes], [box.height for box in boxes], TOP - 8)
            for box, top in zip(boxes, tops, strict=True):
                box.y = top

    def heights(self) -> list[list[float]]:
        """For each instant of the slider the heights between which it is drawn."""
        found: dict[int, list[float]] = {}
        for point in self.points:
            band = found.setdefault(point.at, [point.y, point.y])
            band[0], band[1] = min(band[0], point.y), max(band[1], point.y)
        return [[round(y, 1) for y in found.get(at, [TOP, TOP])] for at in self.story.moments]

    def height_of(self, at: int) -> float:
        """The height of an instant at which nothing need be drawn."""
        before = [point.y for point in self.points if point.at <= at]
        return before[-1] if before else TOP


def _port_of(who: str) -> str:
    """The larger of the two ports: the client's."""
    return str(max(int(end.rpartition(":")[2]) for end in who.split(" > ") if end.rpartition(":")[2].isdigit()))
