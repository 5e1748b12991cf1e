"""The ladder as a picture: lifelines, slanted arrows to scale in time, states as bars, and notes beside them."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

from ustack.lab.ladder import clock
from ustack.lab.language import translate
from ustack.lab.page.margin import width_of
from ustack.lab.page.markup import add, make
from ustack.lab.page.plan import LETTER, LINE, TOP, Box, Plan
from ustack.lab.page.scale import Fold, Point
from ustack.lab.page.story import Hidden, ends_of
from ustack.lab.page.wording import arrow_text, is_death, kind_of
from ustack.lab.report import Flight, Note, Unseen
from ustack.trace.events import Moved, span

ENDS_AT = 0.62
"""A lost segment's cross stands at this part of its way."""
STEEP = 40.0
"""Labels of arrows that fall by more than this (degrees) are not turned with them."""
HELD_AT = 0.55
"""Where the network keeps what it delivers later."""


class Picture(Plan):
    """A story as an SVG."""

    def draw(self) -> Element:
        """The svg element, without style."""
        layout, report = self.layout, self.story.report
        root = make("svg", class_=f"ladder {layout.name}", role="group", aria_label=f"{report.id}: {report.question}",
                    viewBox=f"0 0 {layout.width:g} {self.height:.0f}", width=f"{layout.width:g}",
                    height=f"{self.height:.0f}")  # fmt: skip
        add(root, make("rect", class_="now", x=0, y=TOP, width=layout.width, height=2))
        add(root, [self._lifeline(side) for side in self.story.sides], self._bars(), self._times())
        add(root, [self._fold(fold) for fold in self.folds], [self._gap(*one) for one in self.gaps])
        add(root, [self._arrow(flight) for flight in self.story.flights])
        add(root, [self._note(box) for box in self.boxes])
        return root

    def _lifeline(self, side: str) -> Element:
        x = self.x[side]
        anchor = "middle"
        if not self.layout.is_wide and self.is_outer(side):
            anchor = "start" if side == self.story.sides[0] else "end"
            x += -12 if anchor == "start" else 12
        name = make("text", side, class_="side", x=x, y=26, text_anchor=anchor)
        x = self.x[side]
        return make("g", name, make("line", class_="life", x1=x, x2=x, y1=38, y2=self.height - 12))

    def _bars(self) -> list[Element]:
        """What each connection's state is, along the lifelines of both ends."""
        bars = []
        for side in self.story.sides:
            moves: dict[frozenset[str], list[Note]] = {ends_of(one): [] for one in self.story.connections}
            for note in self.story.report.notes:
                if note.side == side and isinstance(note.event, Moved):
                    moves.get(ends_of(note.event.who), []).append(note)
            for slot, ones in enumerate(ones for ones in moves.values() if ones):
                bars += self._bars_of(side, slot, ones)
        return bars

    def _bars_of(self, side: str, slot: int, moves: list[Note]) -> list[Element]:
        heights = [self._height_of_move(move) for move in moves] + [self.height - 12]
        outward = 1 if self.x[side] > self.layout.width / 2 else -1
        x = self.x[side] - 3 + outward * slot * 7
        bars = []
        deaths = [box.point.y for box in self.boxes if box.note.side == side and is_death(box.note.event)]
        if (
            not slot
            and moves
            and isinstance(moves[0].event, Moved)
            and moves[0].event.before == "LISTEN"
            and heights[0] > TOP
        ):
            bars.append(make("rect", class_="state LISTEN", x=x, y=TOP, width=6, height=heights[0] - TOP))
        for move, begin, end in zip(moves, heights, heights[1:], strict=False):
            assert isinstance(move.event, Moved)
            state = move.event.after
            until = min((death for death in deaths if begin <= death < end), default=end)
            if state != "CLOSED" and until > begin:
                bar = make("rect", class_=f"state {state}", x=x, y=begin, width=6, height=until - begin)
                add(bar, make("title", f"{side}: {state}"))
                bars.append(bar)
        return bars

    def _height_of_move(self, move: Note) -> float:
        for box in self.boxes:
            if box.note is move:
                return box.point.y
        return self.height_of(move.at)

    def _times(self) -> list[Element]:
        """The clock, at the left edge of the wide picture."""
        if not self.layout.is_wide:
            return []
        times, last, last_text = [], 0.0, ""
        for point in self.points:
            text = clock(point.at).removesuffix(" s")
            if point.is_event and text != last_text and point.y - last >= 13:
                times.append(make("text", text, class_="time", x=50, y=point.y + 4, text_anchor="end"))
                last, last_text = point.y, text
        return [make("text", translate("seconds"), class_="time", x=50, y=26, text_anchor="end"), *times]

    def _fold(self, fold: Fold) -> Element:
        """Two waves across the lifelines, and how long the silence was."""
        words = translate("{time} pass").format(time=span(fold.end - fold.begin))
        middle = self._middle()
        for flight in self.story.flights:
            if flight.at <= fold.begin and flight.arrivals and flight.arrivals[0] >= fold.end:
                here, there = self.x.get(flight.sender, middle), self.x.get(flight.receiver, middle)
                middle = here + 0.78 * (there - here)  # its label has the other half
                break
        waves = [self._wave(x, fold.y) for x in self.x.values()]
        return make("g", waves, make("text", words, class_="fold", x=middle, y=fold.y + 4, text_anchor="middle"))

    def _gap(self, hidden: Hidden | Unseen, point: Point) -> Element:
        middle, lines = self._middle(), self.gap_lines(hidden)
        y = point.y - (len(lines) - 1) * 7 + 4
        texts = [make("text", line, class_="fold", x=middle, y=y + 14 * index, text_anchor="middle")
                 for index, line in enumerate(lines)]  # fmt: skip
        return make("g", [self._wave(x, point.y) for x in self.x.values()], texts)

    def _middle(self) -> float:
        """Where words about the whole picture stand: between two lifelines, never on one."""
        places = list(self.x.values())
        return (places[0] + places[-1]) / 2 if len(places) % 2 == 0 else (places[0] + places[1]) / 2

    @staticmethod
    def _wave(x: float, y: float) -> Element:
        path = "".join(f"M{x - 9:g} {at + 3:.1f}q4.5 -8 9 -3t9 -3" for at in (y - 3, y + 3))
        return make(
            "g", make("rect", class_="cut", x=x - 9, y=y - 4, width=18, height=8), make("path", class_="wave", d=path)
        )

    # Arrows

    def _arrow(self, flight: Flight) -> Element:
        leaving = self.leaving[flight.order]
        x1, y1 = self.x.get(flight.sender, self.layout.left), leaving.y
        x2, y2 = self.x.get(flight.receiver, self.layout.right), self.arriving[flight.order].y
        way = 1 if x2 > x1 else -1
        x1, x2 = x1 + 4 * way, x2 - 4 * way
        is_whole = bool(flight.arrivals)
        if flight.late:
            x1 += (x2 - x1) * HELD_AT
        elif not is_whole:
            part = HELD_AT if flight.fate == "held" else ENDS_AT
            x2, y2 = x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
        is_again = flight.order in self.story.again
        kind = kind_of(flight, is_again)
        group = make("g", class_=f"flight {kind}" + ("" if is_whole else " lost") + (" dropped" if flight.drop else ""),
                     data_flight=flight.order)  # fmt: skip
        add(group, make("title", self.spoken(flight)), make("line", class_="reach", x1=x1, y1=y1, x2=x2, y2=y2))
        add(group, make("line", class_="shaft", x1=x1, y1=y1, x2=x2, y2=y2))
        add(group, *self._ends(flight, (x1, y1, x2, y2)), self._label(flight, is_again, (x1, y1, x2, y2)))
        return group

    def _ends(self, flight: Flight, line: tuple[float, float, float, float]) -> list[Element]:
        """The arrow's head, or the cross of what ends here, with the reason."""
        x1, y1, x2, y2 = line
        way = 1 if x2 > x1 else -1
        marks = [make("circle", class_="kept", cx=x1, cy=y1, r=3)] if flight.late else []
        if flight.arrivals and not flight.drop:
            head = make("path", class_="head", d=f"M{x2:.1f} {y2:.1f}l{-9 * way} -4.5v9z",
                        transform=f"rotate({_angle(line) * way:.1f} {x2:.1f} {y2:.1f})")  # fmt: skip
            return [*marks, head]
        cross = make("path", class_="cross", d=f"M{x2 - 5:.1f} {y2 - 5:.1f}l10 10m0 -10l-10 10")
        if flight.drop:
            x, anchor = x2 - 9 * way, "end" if way > 0 else "start"
            return [*marks, cross, make("text", flight.drop, class_="fate", x=x, y=y2 + 14, text_anchor=anchor)]
        mark = cross if flight.is_lost else make("circle", class_="kept", cx=x2, cy=y2, r=3)
        if self._is_crossed(flight) and self.layout.is_wide:
            return [*marks, mark]  # there is no room but in the label
        text = self._end_word(flight)
        anchor = "start" if way > 0 else "end"
        sort = "fate" if flight.is_lost else "fate kept"
        x, y, angle = x2 + 10 * way, y2 + 4, _angle(line) * way if self.layout.is_wide else 0.0
        turn = f"rotate({angle:.1f} {x2:.1f} {y2:.1f})" if angle else None
        return [*marks, mark, make("text", text, class_=sort, x=x, y=y, text_anchor=anchor, transform=turn)]

    @staticmethod
    def _end_word(flight: Flight) -> str:
        """What became of a segment that does not arrive, in a word."""
        return translate("lost") if flight.is_lost else translate(flight.fate or "on its way")

    def _label(self, flight: Flight, is_again: bool, line: tuple[float, float, float, float]) -> Element:
        x1, y1, x2, y2 = line
        text = arrow_text(flight, is_again, self.story.has_many)
        if flight.late:
            text = f"{translate('late')}: {text}"
        text = self.prefixes.get(flight.order, "") + text
        way = 1 if x2 > x1 else -1
        room = self._label_room(flight)
        if not flight.arrivals and self.layout.is_wide and self._is_crossed(flight):
            end = f" ({self._end_word(flight)})"
            text = _cut(text, room / self.layout.letter - width_of(end)) + end
        text = _cut(text, room / self.layout.letter)
        x, anchor = x1 + 10 * way, "start" if way > 0 else "end"
        angle = _angle(line) if self.layout.is_wide else 0.0
        turned = abs(angle) <= STEEP and self.layout.is_wide
        y = y1 - 4 + (10 * abs(y2 - y1) / max(abs(x2 - x1), 1) if turned else 0)
        turn = f"rotate({angle * way:.1f} {x:.1f} {y:.1f})" if turned else None
        return make("text", text, class_="label", x=x, y=y, text_anchor=anchor, transform=turn)

    def _label_room(self, flight: Flight) -> float:
        """The width that an arrow's label may have."""
        reach = abs(self.x.get(flight.receiver, self.layout.right) - self.x.get(flight.sender, self.layout.left))
        reach *= 1 - HELD_AT if flight.late else 1
        if not self.layout.is_wide:
            return reach * 0.94 - 22
        if not flight.arrivals:
            return reach * min(ENDS_AT, 0.5 if self._is_crossed(flight) else 1) - 22
        is_folded = any(flight.at <= fold.begin and flight.arrivals[0] >= fold.end for fold in self.folds)
        return reach * (0.5 if is_folded or self._is_crossed(flight) else 0.86) - 22

    def _is_crossed(self, flight: Flight) -> bool:
        """Something flies the other way meanwhile: the labels share the width."""
        end = flight.arrivals[0] if flight.arrivals else flight.at + self.usual
        return any(
            other.sender == flight.receiver
            and other.at < end
            and (other.arrivals[0] if other.arrivals else other.at + self.usual) > flight.at
            for other in self.story.flights
        )

    def spoken(self, flight: Flight) -> str:
        """A segment in a sentence, for those who hear the page."""
        words = translate("{time}, {sender} to {receiver}: {text}").format(
            time=clock(flight.at), sender=flight.sender, receiver=flight.receiver,
            text=arrow_text(flight, flight.order in self.story.again, self.story.has_many),
        )  # fmt: skip
        return f"{words} ({fate_of(flight)})"

    # Notes

    def _note(self, box: Box) -> Element:
        event = box.note.event
        state = f" {event.after}" if isinstance(event, Moved) else ""
        group = make("g", class_=f"note {event.kind}{state}", data_at=box.note.at)
        if event.why:
            add(group, make("title", event.why))
        height = len(box.lines) * LINE
        if self.layout.is_wide:
            add(group, self._leader(box))
        else:
            wide = min(max(width_of(line) for line in box.lines) * LETTER + 12, self.layout.note_width)
            x = box.x + self.layout.note_width - wide if box.is_right else box.x
            add(group, make("rect", class_="paper", x=x, y=box.y, width=wide, height=height))
        edge = box.x + self.layout.note_width - 3 if box.is_right is not self.layout.is_wide else box.x
        if self.layout.is_wide and not box.is_right:
            edge = box.x + self.layout.note_width - 3
        add(group, make("rect", class_="edge", x=edge, y=box.y + 1.5, width=3, height=height - 3))
        at_end = edge > box.x
        x, anchor = (edge - 6, "end") if at_end else (box.x + 9, "start")
        for index, line in enumerate(box.lines):
            y = box.y + 11 + index * LINE
            add(group, make("text", line, class_="words", x=x, y=y, text_anchor=anchor))
        return group

    def _leader(self, box: Box) -> Element:
        life = self.x.get(box.note.side, self.layout.left)
        y = box.y + LINE / 2
        near = box.x if box.is_right else box.x + self.layout.note_width
        bend = near - 8 if box.is_right else near + 8
        start = life + (5 if box.is_right else -5)
        return make("polyline", class_="leader",
                    points=f"{start:.1f},{box.point.y:.1f} {bend:.1f},{y:.1f} {near:.1f},{y:.1f}")  # fmt: skip


def fate_of(flight: Flight) -> str:
    """What became of a segment."""
    if flight.drop:
        return f"{translate('dropped')}: {flight.drop}"
    if flight.is_lost:
        return translate("lost")
    if not flight.arrivals:
        return translate(flight.fate or "on its way")
    arrives = translate("arrives at {time}").format(time=", ".join(clock(at) for at in flight.arrivals[:3]))
    return f"{translate(flight.fate)}, {arrives}" if flight.fate else arrives


def _angle(line: tuple[float, float, float, float]) -> float:
    """How far the line falls, in degrees, whichever way it goes."""
    from_x, from_y, to_x, to_y = line
    return math.degrees(math.atan2(to_y - from_y, abs(to_x - from_x)))


def _cut(text: str, letters: float) -> str:
    while width_of(text) > letters and len(text) > 4:
        text = text[:-2].rstrip() + "…"
    return text
