"""The findings of a capture, as text and as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ustack.cli.text import rate_text, size_text
from ustack.explain import endings, opening, path, resends, windows
from ustack.explain.finding import CERTAIN, NOTE, Finding
from ustack.explain.flow import Flow
from ustack.explain.reading import Reading
from ustack.tcp.state import State
from ustack.trace.events import span
from ustack.wire.tcp import FIN, RST

Detector = Callable[[Flow], Iterator[Finding]]
DETECTORS: tuple[Detector, ...] = (
    windows.scale_unknown,
    path.copies,
    path.unseen,
    path.checksums,
    path.long_segments,
    opening.syns,
    opening.options,
    path.icmp_errors,
    path.black_hole,
    resends.resends,
    windows.zero_windows,
    windows.silly_windows,
    windows.limited_by_window,
    windows.stalls,
    endings.keepalives,
    endings.silence,
    endings.resets,
)


def findings(flow: Flow) -> list[Finding]:
    """All that is odd about a connection, in the order of the packets that show it; notes last."""
    found = [finding for detector in DETECTORS for finding in detector(flow)]
    return sorted(found, key=lambda one: (one.weight == NOTE, one.packets[0]))


def heading(number: int, flow: Flow) -> str:
    """``1. 10.0.0.1:40000 (client) > 10.0.0.2:80 (server), packets 1 to 35``."""
    left, right = flow.halves
    first, last = flow.segments[0].number, flow.segments[-1].number
    names = f"{left.name} (client) > {right.name} (server)" if flow.has_syn else f"{left.name} - {right.name}"
    return f"{number}. {names}, packet{f's {first} to {last}' if last > first else f' {first}'}"


def story(flow: Flow) -> str:
    """How it opened, what it carried, how it stands at the end."""
    parts = []
    rtt = flow.rtt()
    if all(half.has_opened for half in flow.halves):
        parts.append(
            "It opens with a handshake" + (f" of {span(flow.handshake_rtt)}" if flow.handshake_rtt >= 0 else "")
        )
    elif flow.has_syn:
        parts.append("It never gets past its opening" if not _is_open(flow) else "It opens")
    else:
        parts.append("It was open already")
    for side in (0, 1):
        half = flow.halves[side]
        if half.bytes:
            rate = f" ({rate_text(half.bytes, flow.duration())})" if flow.duration() > 0 else ""
            parts.append(f"{flow.name(side)} sends {size_text(half.bytes)}{rate}")
    if rtt >= 0 and flow.handshake_rtt < 0:
        parts.append(f"the fastest answer takes {span(rtt)}")
    sentence = "; ".join(parts) + f". It lasts {span(flow.duration())}. "
    return sentence + _end(flow)


def _is_open(flow: Flow) -> bool:
    return any(half.state in (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1) for half in flow.halves)


def _end(flow: Flow) -> str:
    if any(seen.flags & RST for seen in flow.segments):
        last = next(seen for seen in flow.segments if seen.flags & RST)
        if any(half.state is State.CLOSED for half in flow.halves):
            return f"It ends with a RST of {flow.name(last.side)} (packet {last.number})."
    fins = [next((seen for seen in flow.halves[side].text if seen.flags & FIN), None) for side in (0, 1)]
    closed = [f"{flow.name(fin.side)} closes in packet {fin.number}" for fin in fins if fin is not None]
    states = f"At the end of the capture {flow.name(0)} is {_word(flow, 0)}, {flow.name(1)} {_word(flow, 1)}."
    said = "; ".join(closed)
    return f"{said[:1].upper() + said[1:]}. {states}" if closed else states


def _word(flow: Flow, side: int) -> str:
    """The state as RFC 9293 writes it."""
    return flow.halves[side].state.name.replace("_", "-")


def overview(reading: Reading) -> str:
    """The capture in a sentence."""
    words = f"{reading.packets} packets in {span(reading.last_at - reading.first_at)}, {reading.tcp} of TCP"
    count = len(reading.flows)
    words += f", {count} connection{'' if count == 1 else 's'}."
    if reading.cut_short:
        words += f" {reading.cut_short} were captured in part: their checksums are not looked at."
    if reading.backward:
        words += f" {reading.backward} have an earlier time than the one before: times of two sources are mixed."
    return words


def lines(reading: Reading, only: int = 0, quiet: bool = False) -> Iterator[tuple[str, str]]:
    """Style and text of each line. ``only``: one connection, from 1; 0 all. ``quiet``: those with something odd."""
    yield "", overview(reading)
    for number, flow in enumerate(reading.flows, 1):
        if only and number != only:
            continue
        found = findings(flow)
        if quiet and not any(one.weight != NOTE for one in found):
            continue
        yield "", ""
        yield "bold", heading(number, flow)
        yield "", f"   {story(flow)}"
        if not found:
            yield "green", "   Nothing odd."
        for one in found:
            sure = "" if one.confidence == CERTAIN else f"({one.confidence}) "
            yield ("dim" if one.weight == NOTE else "yellow"), f" {'·' if one.weight == NOTE else '!'} {sure}{one.text}"


def as_dict(reading: Reading, only: int = 0) -> dict[str, Any]:
    """For JSON."""
    flows = [
        {
            "number": number,
            "client" if flow.has_syn else "one": flow.halves[0].name,
            "server" if flow.has_syn else "other": flow.halves[1].name,
            "packets": [flow.segments[0].number, flow.segments[-1].number],
            "states": [half.state.name for half in flow.halves],
            "bytes": [half.bytes for half in flow.halves],
            "rtt_ns": flow.rtt(),
            "story": story(flow),
            "findings": [one.as_dict() for one in findings(flow)],
        }
        for number, flow in enumerate(reading.flows, 1)
        if not only or number == only
    ]
    return {"packets": reading.packets, "tcp": reading.tcp, "connections": flows}
