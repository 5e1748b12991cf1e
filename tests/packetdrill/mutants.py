"""Changes one thing in a passing script; each such mutant must fail.

``python tests/packetdrill/mutants.py [FOLDER]`` runs all mutants of all passing scripts below FOLDER and
lists the survivors. ``mutants_of`` is what the tests use.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ustack.packetdrill.config import configure
from ustack.packetdrill.parser import parse_file
from ustack.packetdrill.printer import format_event
from ustack.packetdrill.runner import Verdict, run_script
from ustack.packetdrill.tree import (
    Clock,
    Direction,
    Event,
    IcmpPacket,
    Number,
    OptionKind,
    Script,
    SystemCall,
    TcpOption,
    TcpPacket,
    UdpPacket,
)
from ustack.packetdrill.virtual import VirtualHost

MILLISECOND = 1_000_000


@dataclass
class Mutant:
    """A script with one thing wrong, and what that is."""

    name: str
    script: Script


def _is_expected(event: Event) -> bool:
    return isinstance(event.action, TcpPacket | UdpPacket | IcmpPacket) and event.action.direction is Direction.OUTBOUND


def _time(event: Event) -> None:
    event.time.start += 100 * MILLISECOND
    if event.time.end is not None:
        event.time.end += 1000 * MILLISECOND
        event.time.start += 900 * MILLISECOND


def _flags(packet: TcpPacket) -> None:
    packet.flags = packet.flags.replace("F", "") or "." if packet.has("F") else "F" + packet.flags


def _push(packet: TcpPacket) -> None:
    packet.flags = packet.flags.replace("P", "") or "." if packet.has("P") else "P" + packet.flags


def _options(packet: TcpPacket) -> None:
    assert packet.options is not None
    packet.options = [*packet.options, *[TcpOption(OptionKind.NOP)] * 4]


def _option_number(packet: TcpPacket) -> None:
    assert packet.options
    option = packet.options[0]
    option.numbers = (option.numbers[0] + 1, *option.numbers[1:])


def _packet_changes(packet: TcpPacket, relaxed: bool) -> Iterator[tuple[str, Callable[[TcpPacket], None]]]:
    # The number of an expected SYN is where counting begins: another one is the same script in other words.
    if not packet.has("S"):
        yield "seq", lambda p: setattr(p, "seq", p.seq + 1)
    yield "length", lambda p: setattr(p, "length", p.length + 1)
    if packet.ack is not None:
        yield "ack", lambda p: setattr(p, "ack", (p.ack or 0) + 1)
    if packet.window is not None:
        yield "window", lambda p: setattr(p, "window", (p.window or 0) ^ 1)
    yield "FIN", _flags
    if not relaxed:
        yield "PSH", _push
    yield "urgent", lambda p: setattr(p, "urgent", (p.urgent or 0) + 1)
    if packet.options is not None:
        yield "options", _options
    if packet.options and packet.options[0].numbers:
        yield "option's number", _option_number


def _call_changes(call: SystemCall) -> Iterator[tuple[str, Callable[[SystemCall], None]]]:
    makes_descriptor = call.name in ("socket", "accept", "epoll_create")
    if isinstance(call.result, Number) and not makes_descriptor:
        yield "result", lambda c: setattr(c, "result", Number(call.result.value + 1))
    if isinstance(call.result, Number) and makes_descriptor:
        yield "result", lambda c: setattr(c, "result", Number(7 if call.errno else -1))
    if call.errno is not None:
        yield "errno", lambda c: setattr(c, "errno", "EXDEV")
    if call.until is not None:
        yield "end", lambda c: setattr(c, "until", c.until + 100 * MILLISECOND)


def _with(script: Script, index: int, change: Callable[[Event], None]) -> Script:
    twin = copy.copy(script)
    twin.events = list(script.events)
    twin.events[index] = copy.deepcopy(script.events[index])
    change(twin.events[index])
    return twin


def mutants_of(script: Script) -> Iterator[Mutant]:
    """All mutants of one script, in order."""
    relaxed = configure(script).ignore_boundaries
    for index, event in enumerate(script.events):
        where = f"line {event.line}: "
        action = event.action
        if _is_expected(event):
            if event.time.clock is not Clock.ANY:
                yield Mutant(where + "time", _with(script, index, _time))
            twin = copy.copy(script)
            twin.events = script.events[:index] + script.events[index + 1 :]
            yield Mutant(where + "expectation removed", twin)
            twin = copy.copy(script)
            twin.events = [*script.events[: index + 1], event, *script.events[index + 1 :]]
            yield Mutant(where + "expectation repeated", twin)
        if isinstance(action, TcpPacket) and action.direction is Direction.OUTBOUND:
            for name, change in _packet_changes(action, relaxed):
                yield Mutant(where + name, _with(script, index, lambda e, c=change: c(e.action)))
        elif isinstance(action, UdpPacket) and action.direction is Direction.OUTBOUND:
            yield Mutant(where + "length", _with(script, index, lambda e: setattr(e.action, "length", 1)))
        elif isinstance(action, SystemCall):
            for name, change in _call_changes(action):
                yield Mutant(where + name, _with(script, index, lambda e, c=change: c(e.action)))


def passes(script: Script) -> bool:
    return run_script(script, configure(script), VirtualHost).verdict is Verdict.PASS


def survivors(path: Path) -> tuple[int, list[str]]:
    """How many mutants a passing script has, and those that pass too. (0, []) for a script that does not pass."""
    script = parse_file(path)
    if not passes(script):
        return 0, []
    mutants = list(mutants_of(script))
    alive = []
    for mutant in mutants:
        if passes(mutant.script):
            line = int(mutant.name.split()[1].rstrip(":"))
            text = next((format_event(event) for event in script.events if event.line == line), "")
            alive.append(f"{path}: {mutant.name}:  {text}")
    return len(mutants), alive


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/rfc")
    total, alive = 0, []
    for path in sorted(folder.rglob("*.pkt")):
        count, left = survivors(path)
        total += count
        alive += left
    print("\n".join(alive))
    print(f"{total} mutants, {total - len(alive)} killed, {len(alive)} alive")
    return 0


if __name__ == "__main__":
    sys.exit(main())
