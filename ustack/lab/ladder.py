"""A report as text: the ladder with both ends' states, and beside it what happened there."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator

from rich.cells import cell_len

from ustack.lab.language import translate, wrapped
from ustack.lab.report import Flight, Note, Report, Unseen
from ustack.trace.events import Called, Event, Marked, Moved, Queued, Stepped, TimerEvent, span
from ustack.units import SECOND
from ustack.wire.frame import Segment
from ustack.wire.tcp import SYN

WIDTH = 118
TIME = 11
STATE = 12
ARROW = WIDTH - TIME - 2 * STATE - 4
QUIET = SECOND
"""After so much silence a line says how long it was."""
MOST_ROWS = 80
_SHOWN = (Called, Queued, Marked)


@dataclasses.dataclass
class Row:
    """A line of the ladder; ``right`` says at which side a note stands."""

    at: int
    item: Flight | Note | Unseen


def draw(report: Report, *, most: int = MOST_ROWS, everything: bool = False) -> list[str]:
    """The ladder as lines of plain text. ``everything``: every event, not only what matters most."""
    left = " / ".join(report.left)
    right = " / ".join(name for name in report.sides if name not in report.left)
    lines = [" " * (TIME + 1) + left + right.rjust(WIDTH - TIME - 1 - len(left)), ""]
    rows = rows_of(report, everything)
    crossing = crossed(report)
    many = Names(report)
    states: dict[str, str] = {}
    last = 0
    for row in folded(rows, most):
        if isinstance(row, str):
            lines.append(" " * (TIME + 1) + row.center(WIDTH - TIME - 1))
            continue
        if row.at - last >= QUIET:
            silence = translate("{time} pass").format(time=span(row.at - last))
            lines.append(" " * (TIME + 1) + f"⋮ {silence} ⋮".center(WIDTH - TIME - 1))
        last = row.at
        if isinstance(row.item, Unseen):
            last = row.item.until
            lines.append(" " * (TIME + 1) + _unseen_text(row.item).center(WIDTH - TIME - 1))
        elif isinstance(row.item, Flight):
            lines.append(_flight_line(report, row.item, states, many, id(row.item) in crossing))
        else:
            lines.extend(_note_lines(report, row.item))
    return [line.rstrip() for line in lines]


class Names:
    """How the connections of a run are told apart on its arrows: not at all when there is one; by the client's port; by
    both ports when that is not enough."""

    def __init__(self, report: Report) -> None:
        pairs = {flight.connection for flight in report.flights if flight.connection}
        self._many = len(pairs) > 1
        self._by_port = len({_ports(pair)[0] for pair in pairs}) == len(pairs)

    def __bool__(self) -> bool:
        return self._many

    def of(self, connection: str) -> str:
        """What stands before a segment's text."""
        if not self._many or not connection:
            return ""
        ours, theirs = _ports(connection)
        return f"[{ours}] " if self._by_port else f"[{ours} > {theirs}] "


def _ports(connection: str) -> tuple[str, str]:
    ours, _, theirs = connection.partition(" > ")
    return ours.rpartition(":")[2], theirs.rpartition(":")[2]


def rows_of(report: Report, everything: bool = False) -> list[Row]:
    """Segments and what happened beside them, in the order of time."""
    items: list[Flight | Note | Unseen] = [*report.flights, *report.unseen]
    drawn = _states_on_arrows(report)
    items += [
        note
        for note in report.notes
        if matters(note.event, report.shows)
        or (isinstance(note.event, Moved) and (note.side, note.at, note.event.after) not in drawn)
        or (everything and note.event.kind not in ("sent", "arrived", "state"))
    ]
    return [Row(item.at, item) for item in sorted(items, key=lambda one: (one.at, one.order))]


def _states_on_arrows(report: Report) -> set[tuple[str, int, str]]:
    """Side, instant, state: what stands at the ends of arrows. Other changes of state need a line of their own."""
    drawn = {(flight.sender, flight.at, flight.sender_state) for flight in report.flights}
    crossing = crossed(report)
    for flight in report.flights:
        if id(flight) not in crossing:
            drawn.update((flight.receiver, at, flight.receiver_state) for at in flight.arrivals)
    return drawn


def crossed(report: Report) -> set[int]:
    """The ``id()`` of each segment that meets another one of its connection on the way: what its arrival changes must
    not stand at its arrow, which is drawn when it leaves.
    """
    crossing: set[int] = set()
    on_the_way: list[Flight] = []
    for flight in report.flights:
        on_the_way = [one for one in on_the_way if one.arrivals and one.arrivals[-1] > flight.at]
        for other in on_the_way:
            if other.sender == flight.receiver and other.connection == flight.connection:
                crossing.add(id(other))
        on_the_way.append(flight)
    return crossing


def _unseen_text(stretch: Unseen) -> str:
    counted = translate("{segments} segments in {time}").format(
        segments=f"{stretch.segments:,}", time=span(stretch.until - stretch.at)
    )
    return f"⋮ {stretch.text} ({counted}) ⋮"


def matters(event: Event, shows: tuple[str, ...] = ()) -> bool:
    """What stands beside the ladder without being asked for; ``shows``: calls that else are left out."""
    if isinstance(event, TimerEvent):
        if event.timer == "TIME-WAIT timer" or (event.timer == "FIN-WAIT-2 timer" and event.action != "stopped"):
            return True
        return event.action == "fired" and event.timer != "pacing timer"
    if isinstance(event, Called):
        name = event.name.partition("(")[0]
        return name not in ("socket", "bind") or bool(event.result) or name in shows
    return isinstance(event, _SHOWN)


def folded(rows: list[Row], most: int) -> Iterator[Row | str]:
    """Rows, and a sentence in the place of the middle when there are many more than ``most``. A stretch that was not
    written down has a line of its own in it: else nobody would learn of it.
    """
    if len(rows) <= most + most // 10:
        yield from rows
        return
    head, tail = most * 2 // 3, most - most * 2 // 3
    yield from rows[:head]
    hidden = rows[head : len(rows) - tail]
    for is_unseen, part in itertools.groupby(hidden, lambda row: isinstance(row.item, Unseen)):
        stretch = list(part)
        yield from stretch if is_unseen else [_more(stretch)]
    yield from rows[len(rows) - tail :]


def _more(rows: list[Row]) -> str:
    segments = sum(isinstance(row.item, Flight) for row in rows)
    return translate("⋮ {segments} segments and {events} events more, in {time} ⋮").format(
        segments=segments, events=len(rows) - segments, time=span(rows[-1].at - rows[0].at)
    )


def clock(at: int) -> str:
    """An instant, as the ladder's first column shows it: seconds, beyond an hour hours."""
    seconds = at / SECOND
    if seconds < 10_000:
        return f"{seconds:.3f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _flight_line(report: Report, flight: Flight, states: dict[str, str], many: Names, crosses: bool) -> str:
    from_left = flight.sender in report.left
    if from_left is (flight.receiver in report.left):
        return _line_on_one_side(report, flight, many)
    label = _label(report, flight, many)
    before = {side: states.get(side + flight.connection, "") for side in (flight.sender, flight.receiver)}
    receiver_state = "" if crosses else flight.receiver_state
    for side, state in ((flight.sender, flight.sender_state), (flight.receiver, receiver_state)):
        if state:
            states[side + flight.connection] = state
    shown = {
        side: state if state != before[side] or many else "│"
        for side, state in ((flight.sender, flight.sender_state), (flight.receiver, receiver_state or "│"))
    }
    near, far = (flight.sender, flight.receiver) if from_left else (flight.receiver, flight.sender)
    arrow = _arrow(label, from_left, flight)
    return f"{clock(flight.at):>{TIME}} {shown[near] or '│':>{STATE}} {arrow} {shown[far] or '│':<{STATE}}"


def _line_on_one_side(report: Report, flight: Flight, many: Names) -> str:
    """A packet between two hosts that stand on the same side: there is no room for an arrow."""
    states = f" [{flight.sender_state}, {flight.receiver_state}]" if flight.sender_state else ""
    line = f"→ {_label(report, flight, many, WIDTH - TIME - 3 - len(states))}{states}"
    space = WIDTH - TIME - 1
    return f"{clock(flight.at):>{TIME}} {line.ljust(space) if flight.sender in report.left else line.rjust(space)}"


def _arrow(label: str, from_left: bool, flight: Flight) -> str:
    head, line = ("✗", "╌") if flight.is_lost else ("▶" if from_left else "◀", "─")
    reach = ARROW - 1
    if flight.fate == "held" and not flight.arrivals:
        head, line = "…", "╌"  # it comes later, as an arrow of its own
    if head in "✗…":
        reach = max(ARROW * 3 // 4, cell_len(label) + 5)
    filling = line * (reach - cell_len(label) - 4)
    rest = " " * (ARROW - max(reach, cell_len(label) + 4) - 1)
    return f"── {label} {filling}{head}{rest}" if from_left else f"{rest}{head}{filling} {label} ──"


def _label(report: Report, flight: Flight, many: Names, room: int = ARROW - 6) -> str:
    """What stands on the arrow. What became of the segment is never cut, its options are."""
    text, fate = short(flight.text, report.shows), _fate(flight)
    if "ISN" in report.shows and isinstance(flight.frame, Segment) and flight.frame.flags & SYN:
        letters, _, rest = text.split(" ", 2)
        text = f"{letters} isn {flight.frame.seq} {rest}"
    text = many.of(flight.connection) + text
    way = _way(report, flight)
    if way:
        text = f"{way}: {text}"
    room -= cell_len(fate)
    return (text if len(text) <= room else text[: room - 1] + "…") + fate


def _way(report: Report, flight: Flight) -> str:
    """Who is meant, where that is not the first on its side of the ladder."""
    if {flight.sender, flight.receiver} == set(report.sides[:2]):
        return ""
    if (flight.sender in report.left) is (flight.receiver in report.left):
        return translate("{sender} to {receiver}").format(sender=flight.sender, receiver=flight.receiver)
    if flight.receiver in report.sides[:2]:
        return translate("from {name}").format(name=flight.sender)
    return translate("to {name}").format(name=flight.receiver)


def _fate(flight: Flight) -> str:
    if flight.drop:
        late = f"{translate(flight.fate)}, " if flight.late else ""
        return f" ({late}{translate('dropped')}: {flight.drop})"
    if flight.is_lost:
        return f" ({translate('lost')})"
    if flight.late:
        return f" ({translate(flight.fate)})"
    if not flight.arrivals and flight.fate != "held":
        return f" ({translate('on its way')})"
    return f" ({translate(flight.fate)})" if flight.fate else ""


def short(text: str, shows: tuple[str, ...] = ()) -> str:
    """A segment's text without what says nothing: padding, and timestamps where they do not matter (``shows``)."""
    head, bracket, options = text.partition(" <")
    hidden = {"nop", "eol", "TS"} - set(shows)
    kept = [word for word in options.rstrip(">").split(",") if word.split(" ")[0] not in hidden]
    return head + (f" <{','.join(kept)}>" if bracket and kept else "")


def _note_lines(report: Report, note: Note) -> list[str]:
    event = note.event
    mark = {"timer": "⏲", "queue": "▤", "call": "»", "loss": "!", "variable": "~", "window": "~"}.get(event.kind, "·")
    text = f"{mark} {event.what()}"
    has_reason = isinstance(event, TimerEvent | Marked | Stepped) or (
        isinstance(event, Moved) and event.cause in ("segment", "skip")
    )
    if has_reason and event.why:
        text += f": {event.why}"
    width = WIDTH - TIME - 3
    is_right = note.side not in report.left
    if sum((name in report.left) is (note.side in report.left) for name in report.sides) > 1:
        text = f"{note.side} {text}"
    lines = textwrap.wrap(text, width - 20) or [text]
    if is_right:
        return [
            f"{clock(note.at) if not index else '':>{TIME}} " + line.rjust(width + 2)
            for index, line in enumerate(lines)
        ]
    return [f"{clock(note.at) if not index else '':>{TIME}} {line}" for index, line in enumerate(lines)]


def _indented(rows: list[str]) -> Iterator[str]:
    """Lines of a tool, those that are too long in several."""
    for row in rows:
        short_enough = len(row) <= WIDTH - 4
        yield from (
            [f"    {row}"]
            if short_enough
            else textwrap.wrap(row.strip(), WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
        )


def text(report: Report, *, most: int = MOST_ROWS, everything: bool = False) -> list[str]:
    """The whole report as lines of plain text."""
    lines = [f"{report.id}  {report.question}", ""]
    lines += wrapped(report.setup, WIDTH)
    if report.changed:
        lines += [translate("Changed: ") + ", ".join(f"{name}={value}" for name, value in report.changed.items())]
    lines += ["", *draw(report, most=most, everything=everything), ""]
    for at, title, rows in report.listings:
        lines += [f"{title}, {clock(at)}:", *_indented(rows), ""]
    for at, title, rows in report.headers:
        lines += [f"{title} ({clock(at)}):", *(f"  {row}" for row in rows), ""]
    for figure in report.figures:
        sign = "✓" if figure.holds else "✗"
        must = "" if figure.holds else translate(", must be {value}").format(value=figure.text(figure.expected))
        rule = f"  [{figure.rule}]" if figure.rule else ""
        line = f"{sign} {figure.label}: {figure.text(figure.seen)}{must}{rule}"
        lines += wrapped(line, WIDTH, "  ", "    ")
    lines.append("")
    for sentence in report.sentences:
        lines += wrapped(f"{sentence.text} ({clock(sentence.at)})", WIDTH, "• ", "  ")
    if report.tries:
        commands = "; ".join(f"ustack lab {report.id} --set {one}" for one in report.tries)
        lines += ["", *wrapped(translate("Try: ") + commands, WIDTH)]
    if report.next:
        lines += [translate("Ask next: ") + ", ".join(report.next)]
    return lines
