"""A question put to Linux: one side is the kernel, time is real, and both ladders are laid side by side."""

from __future__ import annotations

import dataclasses
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from ustack.device.namespace import Namespace
from ustack.lab.evidence import Evidence
from ustack.lab.kernel import KernelPlace, KernelSide, kernel_state
from ustack.lab.ladder import clock, short
from ustack.lab.language import translate
from ustack.lab.place import LabPlace
from ustack.lab.question import Question
from ustack.lab.report import Figure, Flight, Report
from ustack.lab.side import Side
from ustack.lab.world import Lab, LabNetwork
from ustack.settings import Settings
from ustack.sim.network import SimHost
from ustack.units import SECOND
from ustack.wire.describe import endpoint_text
from ustack.wire.frame import Datagram, Fragment, Segment

PATIENCE = 300 * SECOND
"""A wait without a limit ends after this: nothing of the lab lasts so long live."""
GRAIN = SECOND // 1000
LOOK_AGAIN = SECOND // 50
"""What is waited for may happen inside the kernel, without a packet: so often it is looked at."""


class LiveNetwork(LabNetwork):
    """A simulated network whose clock is the real one: who waits sleeps until the next event, or the kernel's next
    packet."""

    def __init__(self) -> None:
        super().__init__()
        self.place: KernelPlace | None = None
        self._began = time.monotonic_ns() - self.start
        self._waiting: tuple[int, int] | None = None

    def run_until(self, done: Callable[[], bool], limit: int | None = None) -> bool:
        """Lets real time pass until ``done()`` or until instant ``limit``."""
        clock_ = self.clock
        last = clock_.now + PATIENCE if limit is None else limit
        self.flush()
        while not done():
            now = time.monotonic_ns() - self._began
            at = clock_.next_at()
            if at is not None and at <= min(now, last):
                clock_.step()
            elif now >= last:
                clock_.now = max(clock_.now, last)
                return done()
            else:
                clock_.now = max(clock_.now, now)
                if self.place is None or not self.place.take():
                    self._sleep(min(last, last if at is None else at, now + LOOK_AGAIN) - now)
        clock_.now = max(clock_.now, min(time.monotonic_ns() - self._began, last))
        return True

    def _sleep(self, duration: int) -> None:
        poll = select.poll()
        if self.place is not None:
            poll.register(self.place.device.fileno(), select.POLLIN)
        if self._waiting is not None:
            poll.register(*self._waiting)
        poll.poll(max(duration // GRAIN, 0) + 1 if duration > GRAIN else 0)

    def wait_for(self, descriptor: int, events: int, limit: int | None) -> bool:
        """Lets time pass until a descriptor of the kernel's is ready (poll(2)'s ``events``)."""
        poll = select.poll()
        poll.register(descriptor, events)
        self._waiting = descriptor, events
        try:
            return self.run_until(lambda: bool(poll.poll(0)), limit)
        finally:
            self._waiting = None


class LiveLab(Lab):
    """A lab where the side called ``kernel`` is Linux. What only a trace can show is not seen of it."""

    def __init__(self, question: Question, changes: Mapping[str, str], kernel: str) -> None:
        self.kernel = kernel
        super().__init__(question, changes)

    def _make_network(self) -> LabNetwork:
        return LiveNetwork()

    def _make(self, name: str, address: str, settings: Settings, kind: type[LabPlace] = LabPlace) -> Side:
        if name != self.kernel:
            return super()._make(name, address, settings, kind)
        network = self.network
        assert isinstance(network, LiveNetwork)
        place = network.place = KernelPlace(network, name, address)
        place.arriving = lambda packets: self._arrived_at_kernel(place, packets)
        network.hosts.append(place)
        self._places[name] = place
        self.report.sides.append(name)
        changed = [*getattr(self.question, name, {}), *(word.rpartition(".")[2] for word in self.knobs.changes)]
        return KernelSide(place, address, settings, changed, network.wait_for, self._note)

    def _arrived_at_kernel(self, place: SimHost, packets: Sequence[bytes]) -> None:
        self._arriving(place, packets)
        for flight in self._expected:
            flight.arrivals.append(self._elapsed())
            flight.receiver_state = self._state(place.name, flight.frame, True)
        self._expected.clear()

    def _state(self, name: str, frame: Any, arrived: bool) -> str:
        if name != self.kernel:
            return super()._state(name, frame, arrived)
        if not isinstance(frame, Segment):
            return ""
        ends = endpoint_text(frame.destination, frame.destination_port), endpoint_text(frame.source, frame.source_port)
        return kernel_state(*(ends if arrived else ends[::-1]))

    def path(self, side: Side, *, since: float = 0.0) -> str:
        """Of Linux: what /proc/net/tcp said when a segment left or came."""
        if side.name != self.kernel:
            return super().path(side, since=since)
        seen = [(flight.at, flight.connection, flight.sender_state) for flight in self.flights(side)]
        for flight in self.report.flights:
            if flight.receiver == side.name and flight.arrivals:
                seen.append((flight.arrivals[-1], flight.connection, flight.receiver_state))
        now: dict[str, str] = {}
        states = []
        for at, connection, state in sorted(seen, key=lambda one: one[0]):
            if state == "LISTEN":
                state = "CLOSED" if connection in now else ""  # noqa: PLW2901 - of this connection nothing is left
            if state and now.get(connection) != state:
                now[connection] = state
                if at >= since * SECOND:
                    states.append(state)
        return ", ".join(states)

    def restart(self, side: Side, **settings: Any) -> None:
        """Only the simulated side can die and come back."""
        if side.name == self.kernel:
            raise ValueError("Linux cannot be restarted here")
        super().restart(side, **settings)

    def say(self, evidence: Evidence, sentence: str, **values: object) -> None:
        """What Linux shows only of its wire leaves some sentences without evidence: they are left out."""
        self.say_if(evidence, sentence, **values)

    def close(self) -> None:
        """Nothing is written down any more; the device goes with its namespace."""
        super().close()
        network = self.network
        if isinstance(network, LiveNetwork) and network.place is not None:
            network.place.device.close()


def kernel_answer(question: Question, changes: Mapping[str, str], kernel: str) -> Report:
    """Runs a question with Linux as the side ``kernel``, in a network of its own. Raises OSError without the right."""
    with Namespace():
        return LiveLab(question, changes, kernel).answer()


@dataclasses.dataclass
class Pair:
    """A segment of ours beside the one that Linux has in its place; one of them may be missing."""

    ours: Flight | None
    theirs: Flight | None

    @property
    def agrees(self) -> bool:
        """Both are there, and say the same."""
        return self.ours is not None and self.theirs is not None


def wire_text(flight: Flight) -> str:
    """What must be the same: who, flags, sequence numbers, what is acknowledged, what became of it. The numbers of what
    is late count from another connection's ISN, which the clock has made.
    """
    frame = flight.frame
    words = flight.text.split(" ")[0] if flight.late else short(flight.text).split(" win ")[0]
    words = re.sub(r"-\d+", "before the ISN", words)
    if isinstance(frame, Datagram):  # whose port and identification Linux draws at random
        words = f"udp to port {frame.destination_port} ({len(frame.payload)})"
    elif isinstance(frame, Fragment):
        words = f"fragment {frame.offset}{'+' if frame.more else ''} ({len(frame.payload)})"
    return f"{flight.sender} {words}{' lost' if flight.is_lost else ''}"


def compare(ours: Report, theirs: Report) -> list[Pair]:
    """Both runs, segment by segment."""
    left, right = ours.flights, theirs.flights
    matcher = SequenceMatcher(None, [wire_text(one) for one in left], [wire_text(one) for one in right], autojunk=False)
    pairs: list[Pair] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            pairs += [Pair(one, other) for one, other in zip(left[i1:i2], right[j1:j2], strict=True)]
        else:
            pairs += [Pair(one, None) for one in left[i1:i2]]
            pairs += [Pair(None, other) for other in right[j1:j2]]
    return pairs


def disagreements(ours: Report, theirs: Report) -> list[str]:
    """A sentence for each segment and figure that differs."""
    found = []
    for pair in compare(ours, theirs):
        if pair.theirs is None and pair.ours is not None:
            found.append(f"only ustack: {clock(pair.ours.at)} {wire_text(pair.ours)}")
        elif pair.ours is None and pair.theirs is not None:
            found.append(f"only Linux: {clock(pair.theirs.at)} {wire_text(pair.theirs)}")
    found += [f"Linux: {figure.label}: {figure.text(figure.seen)}" for figure in live_wrong(theirs)]
    return found


def live_wrong(report: Report) -> list[Figure]:
    """Figures that do not hold live: a time may be a tenth and 60 ms later than it must be, since it is a real one."""
    wrong = []
    for figure in report.wrong():
        if figure.unit in ("s", "ms") and not isinstance(figure.seen, str) and not isinstance(figure.expected, str):
            slack = 0.06 * (1000 if figure.unit == "ms" else 1)
            if -slack <= figure.seen - figure.expected <= slack + figure.expected / 10:
                continue
        wrong.append(figure)
    return wrong


def side_by_side(ours: Report, theirs: Report, kernel: str) -> list[str]:
    """Both ladders, a line for each segment; what differs is marked."""
    head = translate("Linux as the {side}").format(side=translate(kernel))
    lines = [f"{'':2}{'ustack':<58}{head}", ""]
    for pair in compare(ours, theirs):
        sign = " " if pair.agrees else "≠"
        columns = [_column(one, 56) if one is not None else "" for one in (pair.ours, pair.theirs)]
        lines.append(f"{sign} {columns[0]:<58}{columns[1]}".rstrip())
    return lines


def _column(flight: Flight, width: int) -> str:
    arrow = "▶" if flight.sender == "client" else "◀"
    text = f"{clock(flight.at):>10} {arrow} {short(flight.text).split(' <')[0]}{' ✗' if flight.is_lost else ''}"
    return text if len(text) <= width else text[: width - 1] + "…"
