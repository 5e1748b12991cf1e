"""A connection drawn as a ladder: time, the states of both ends, the segments between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from ustack.cli.lifelines import Lifeline, Lifelines, Row
from ustack.cli.text import size_text
from ustack.device.base import Device, ObservingDevice
from ustack.tcp.state import State
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet

TIME_WIDTH = 10
STATE_WIDTH = 12
ARROW_WIDTH = 62
WIDTH = TIME_WIDTH + 2 * STATE_WIDTH + ARROW_WIDTH + 3
_EDGE = 5
"""Rows that are always shown after the opening and before the close."""
_FOLLOWED = 1000
"""Connections that a watcher remembers."""
_STYLES = {"SYN": "green", "FIN": "yellow", "RST": "red bold"}


def draw(line: Lifeline, *, left: str = "", right: str = "", most: int = 40) -> list[str]:
    """The ladder as lines of plain text, WIDTH columns wide. ``left`` and ``right`` say who the ends are.

    More rows than ``most`` are folded: opening, close and every change of a state stay.
    """
    gap = " " * (TIME_WIDTH + 1)
    span = WIDTH - TIME_WIDTH - 1
    names = [f"{who} {end.name}".strip() for who, end in ((left, line.left), (right, line.right))]
    lines = [gap + names[0] + names[1].rjust(span - len(names[0]))]
    first = line.first_states
    lines.append(_frame("time (ms)", _state(first[0], None), " " * ARROW_WIDTH, _state(first[1], None)))
    last = first
    for item in _folded(line.rows, most):
        if isinstance(item, str):
            lines.append(_frame("", "│", item.center(ARROW_WIDTH), "│"))
            continue
        at = f"{(item.at - line.started_at) / 1e6:.3f}"
        states = (_state(item.left, last[0]), _state(item.right, last[1]))
        lines.append(_frame(at, states[0], _arrow(item), states[1]))
        last = (item.left, item.right)
    return [one.rstrip() for one in lines]


def _frame(time: str, left: str, middle: str, right: str) -> str:
    return f"{time:>{TIME_WIDTH}} {left:>{STATE_WIDTH}} {middle} {right:<{STATE_WIDTH}}"


def _state(state: State, before: State | None) -> str:
    return "│" if state is before else state.name


def _arrow(row: Row) -> str:
    label = row.label if len(row.label) <= ARROW_WIDTH - 8 else row.label[: ARROW_WIDTH - 9] + "…"
    if row.from_left:
        return f"── {label} ".ljust(ARROW_WIDTH - 1, "─") + "▶"
    return "◀" + f" {label} ──".rjust(ARROW_WIDTH - 1, "─")


def _folded(rows: Sequence[Row], most: int) -> Iterator[Row | str]:
    """Rows, and a sentence in the place of each stretch that is left out."""
    if len(rows) <= most:
        yield from rows
        return
    keep = {index for index, row in enumerate(rows) if not row.is_plain}
    keep.update(range(_EDGE + 3))
    keep.update(range(len(rows) - _EDGE, len(rows)))
    hidden: list[Row] = []
    for index, row in enumerate(rows):
        if index not in keep:
            hidden.append(row)
            continue
        if hidden:
            yield _summary(hidden)
            hidden = []
        yield row


def _summary(rows: list[Row]) -> str:
    words = [f"⋮ {len(rows)} segments more"]
    for from_left, sign in ((True, "▶"), (False, "◀")):
        count = sum(row.length for row in rows if row.from_left is from_left)
        if count:
            words.append(f"{size_text(count)} {sign}")
    return ", ".join(words) + " ⋮"


def show(console: Console, line: Lifeline, *, left: str = "", right: str = "", most: int = 40) -> None:
    """Prints the ladder, coloured where the console is a terminal."""
    for row in draw(line, left=left, right=right, most=most):
        text = Text(row, no_wrap=True, overflow="crop")
        for word, style in _STYLES.items():
            if f" {word} " in row:
                text.stylize(style)
        for state in State:
            text.highlight_words([f" {state.name} "], "bold cyan")
        console.print(text, highlight=False, soft_wrap=True)


class Watcher:
    """Follows the TCP connections among packets and hands over each one once, when it is over."""

    def __init__(self, finished: Callable[[Lifeline], None]) -> None:
        self._lines = Lifelines(_FOLLOWED)
        self._finished = finished

    def see(self, packets: Sequence[bytes], now: int) -> None:
        """Packets that passed, in order."""
        for packet in packets:
            frame = parse_packet(packet)
            if not isinstance(frame, Segment):
                continue
            line = self._lines.see(frame, now)
            if line.is_over() and not line.is_shown:
                line.is_shown = True
                self._finished(line)


class LadderDevice(ObservingDevice):
    """Wraps a device and shows each TCP connection to a watcher. It looks at every packet: not for speed."""

    def __init__(self, inner: Device, watcher: Watcher, complain: Callable[[str], object] | None = None) -> None:
        super().__init__(inner, "the ladder", complain)
        self._watcher = watcher

    def observe(self, packets: Sequence[bytes], now: int, incoming: bool) -> None:
        self._watcher.see(packets, now)
