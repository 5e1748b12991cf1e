"""The graphs of a connection from the wire alone, as tcptrace and Wireshark's stream graphs have them."""

from __future__ import annotations

from collections import deque

from ustack.explain.flow import LATE, NEW, PROBE, RESENT, Flow
from ustack.explain.segment import Seen
from ustack.plot.panel import BYTES, RATE, TIME, Curve, Marked, Marks, Panel, Picture, Samples, rates, sequence_top
from ustack.trace.events import span
from ustack.wire.tcp import ACK, RST, SYN


def picture(flow: Flow, side: int) -> Picture:
    """All graphs of what ``side`` sends."""
    half = flow.halves[side]
    title = f"{half.name} > {flow.halves[1 - side].name}"
    panels = [time_sequence(flow, side), throughput(flow, side), round_trips(flow, side), in_flight(flow, side)]
    note = "from the wire alone, as it passed where the capture was made"
    found = Picture(title, [panel for panel in panels if panel.has_anything()], note)
    last = _busy_until(flow, side)
    if last - found.start() < found.length() // 3:
        found.shown = found.start(), last
        found.note += f"; the connection lasts {span(found.length())}, and the rest is quiet (--to shows it)"
    return found


def _busy_until(flow: Flow, side: int) -> int:
    """When the last byte of text, or the ACK for it, had passed; somewhat later."""
    text = [seen for seen in flow.halves[side].text if seen.length and seen.kind != PROBE]
    if not text:
        return flow.segments[-1].at
    end = max(seen.end for seen in text)
    ack = next((seen.at for seen in flow.segments if seen.side != side and seen.ack >= end), text[-1].at)
    first = flow.segments[0].at
    last = max(text[-1].at, ack)
    return min(flow.segments[-1].at, last + (last - first) // 20)


def busier_side(flow: Flow) -> int:
    """The end that sends more."""
    return 0 if flow.halves[0].bytes >= flow.halves[1].bytes else 1


def time_sequence(flow: Flow, side: int) -> Panel:
    """What was sent, acknowledged and allowed, by sequence number from 0; resends, holes, SACK."""
    base = flow.halves[side].first
    sent, again, lost = Samples(), Marked(), Marked()
    for seen in flow.halves[side].text:
        if seen.kind in (NEW, LATE):
            sent.add(seen.at, max(seen.end - base, sent.last() or 0))
        if seen.kind == RESENT:
            again.add(seen.at, seen.start - base)
            if seen.original is not None:
                lost.add(seen.original.at, seen.original.start - base)
    lost.points.sort()
    curves, sacks = _answers(flow, side, base)
    curves.insert(1, Curve("sent", "sent", sent.points))
    marks = [sacks, Marks("sent again later", "lost", lost.points), Marks("resent", "resent", again.points)]
    top = sequence_top(sent.points, curves[0].points)
    return Panel("Sequence numbers", BYTES, curves, [one for one in marks if one.points], top=top)


def _answers(flow: Flow, side: int, base: int) -> tuple[list[Curve], Marks]:
    """What the other end acknowledged and allowed; and the newest SACK block of each ACK as a stroke."""
    acked, allowed, sacked = Samples(), Samples(), Marked()
    strokes: dict[tuple[int, float], float] = {}
    edge = -1
    for seen in flow.segments:
        if seen.side == side or not seen.flags & ACK or seen.flags & RST:
            continue
        acked.add(seen.at, max(seen.ack - base, acked.last() or 0))
        edge = max(edge, seen.ack + seen.window) if seen.window >= 0 else edge
        if edge >= 0:
            allowed.add(seen.at, edge - base)
        if seen.sack and seen.sack[0][1] > seen.ack:
            low, high = seen.sack[0]
            sacked.add(seen.at, low - base)
            strokes[seen.at, low - base] = high - base
    curves = [Curve("receiver's window ends", "window", allowed.points), Curve("acknowledged", "acked", acked.points)]
    return curves, Marks("SACK blocks", "sack", sacked.points, [strokes[point] for point in sacked.points])


def throughput(flow: Flow, side: int) -> Panel:
    """What was sent, resends included, and what was acknowledged; by round trips, at most a hundred times."""
    half = flow.halves[side]
    sent = [(seen.at, seen.length) for seen in half.text if seen.length]
    acked = []
    una = half.first
    for seen in flow.segments:
        if seen.side != side and seen.flags & ACK and not seen.flags & (RST | SYN) and seen.ack > una:
            acked.append((seen.at, seen.ack - una))
            una = seen.ack
    if not sent or flow.duration() <= 0:
        return Panel("Throughput", RATE, [])
    start = sent[0][0]
    end = max(sent[-1][0], acked[-1][0] if acked else 0, start + 1)
    parts = max(1, min(100, (end - start) // max(flow.rtt(), 1)))
    curves = [Curve("sent, with resends", "sent", rates(sent, start, end, parts)),
              Curve("acknowledged", "acked", rates(acked, start, end, parts))]  # fmt: skip
    return Panel("Throughput", RATE, curves)


def round_trips(flow: Flow, side: int) -> Panel:
    """From a segment that was sent once to the first ACK or SACK of it (Karn's rule, RFC 6298 section 3)."""
    times = Marked()
    waiting: deque[Seen] = deque()
    told: set[int] = set()
    """Segments that a SACK has named: their index."""
    at = 0
    text = [seen for seen in flow.halves[side].text if seen.length]
    for seen in flow.segments:
        if seen.side == side or not seen.flags & ACK or seen.flags & RST:
            continue
        while at < len(text) and text[at].index < seen.index:
            waiting.append(text[at])
            at += 1
        news = [one for one in waiting if one.index not in told and _is_told(one, seen)] if seen.sack else []
        told.update(one.index for one in news)
        while waiting and waiting[0].end <= seen.ack:
            one = waiting.popleft()
            if one.index not in told:
                news.append(one)
        newest = max(
            (one for one in news if one.kind == NEW and not one.is_resent), key=lambda one: one.at, default=None
        )
        if newest is not None:
            times.add(seen.at, seen.at - newest.at)
    return Panel("Round trips", TIME, [], [Marks("segment to its ACK", "rtt", times.points)] if times.points else [])


def _is_told(one: Seen, ack: Seen) -> bool:
    """A SACK block of ``ack`` holds the segment."""
    return one.end > ack.ack and any(low <= one.start and one.end <= high for low, high in ack.sack)


def in_flight(flow: Flow, side: int) -> Panel:
    """Bytes sent and not acknowledged, beside the window that the receiver offers."""
    flight, window = Samples(), Samples()
    highest = una = flow.halves[side].first
    for seen in flow.segments:
        if seen.flags & RST:
            continue
        if seen.side == side and seen.space():
            highest = max(highest, seen.end)
        elif seen.side != side and seen.flags & ACK:
            una, highest = max(una, seen.ack), max(highest, seen.ack)
            if seen.window >= 0:
                window.add(seen.at, seen.window)
        flight.add(seen.at, highest - una)
    curves = [Curve("receiver's window", "window", window.points), Curve("in flight", "flight", flight.points)]
    return Panel("In flight, and the receiver's window", BYTES, curves)
