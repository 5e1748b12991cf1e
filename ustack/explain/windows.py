"""What a receiver's window does to a transfer: closed, tiny, too small, not scaled (RFC 9293 section 3.8.6)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ustack.cli.text import rate_text, size_text
from ustack.explain.finding import CERTAIN, FAULT, NOTE, POSSIBLE, PROBABLE, Finding, listed, times
from ustack.explain.flow import KEEPALIVE, NEW, PROBE, PURE, RESENT, Flow
from ustack.explain.segment import Seen
from ustack.trace.events import span
from ustack.units import MILLISECOND
from ustack.wire.tcp import FIN, RST, SYN

_LEAST_RTT = 2 * MILLISECOND
"""Below this a window of any common size limits nothing that matters."""
_SILLY_TIMES = 4
_LIMITED_SHARE = 0.3


def zero_windows(flow: Flow) -> Iterator[Finding]:
    """A window that closed while the other end had, or might have had, more to send."""
    for side in (0, 1):
        closed: Seen | None = None
        for seen in flow.segments:
            if seen.side != side or seen.flags & RST:
                continue
            if closed is None and seen.window == 0 and not seen.flags & SYN and _matters(flow, seen):
                closed = seen
            elif closed is not None and seen.raw_window and seen.ack >= closed.ack:
                yield _closed(flow, closed, seen)
                closed = None
        if closed is not None:
            yield _closed(flow, closed, None)


def _matters(flow: Flow, seen: Seen) -> bool:
    """Not after the FIN of who would send, nor when this end has said that it is done with everything."""
    other = flow.halves[1 - seen.side]
    return not (other.fin_end >= 0 and seen.ack >= other.fin_end)


def _closed(flow: Flow, closed: Seen, opened: Seen | None) -> Finding:
    until = opened.index if opened else len(flow.segments)
    between = flow.segments[closed.index + 1 : until]
    probes = [one for one in between if one.side != closed.side and one.kind in (PROBE, KEEPALIVE)]
    who, other = flow.name(closed.side), flow.name(1 - closed.side)
    numbers = [closed.number, *([opened.number] if opened else [])]
    last = opened or flow.segments[-1]
    how_long = span(last.at - closed.at)
    text = f"{who}'s window is closed from packet {closed.number} "
    text += f"to packet {opened.number}, {how_long}" if opened else f"to the end of the capture, {how_long} at least"
    text += ": its buffer is full, since its application reads more slowly than "
    text += f"{other} sends."
    if probes:
        text += (
            f" {other[:1].upper() + other[1:]} asks {times(len(probes))} whether it is open again "
            f"({listed([one.number for one in probes])})."
        )
        numbers += [one.number for one in probes[:5]]
    return Finding("zero window", text[:1].upper() + text[1:], tuple(numbers), CERTAIN, FAULT)


def silly_windows(flow: Flow) -> Iterator[Finding]:
    """Small segments, each of which fills a small window (RFC 1122 section 4.2.3.3)."""
    for side in (0, 1):
        half, other = flow.halves[side], flow.halves[1 - side]
        mss = flow.mss_of(side) or half.longest
        found = [
            seen
            for seen in half.text
            if seen.kind == NEW and 0 < seen.length < mss // 2 and seen.end == seen.edge
            and seen.length < other.largest_window // 4
        ]  # fmt: skip
        found = _in_a_row(found)
        if len(found) >= _SILLY_TIMES:
            sizes = [seen.length for seen in found]
            between = f"{sizes[0]} bytes" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} bytes"
            text = (
                f"Silly window: {flow.name(1 - side)} opens its window by {between} at a time, {times(len(sizes))}, "
                "and "
                f"{flow.name(side)} fills each at once with a small segment ({listed([s.number for s in found])}): "
                f"a receiver should wait until a whole segment ({mss} bytes) fits."
            )
            yield Finding("silly window", text, tuple(seen.number for seen in found), CERTAIN, FAULT)


def _in_a_row(found: list[Seen]) -> list[Seen]:
    """The longest stretch of segments each of which begins where the last one ended."""
    best: list[Seen] = []
    now: list[Seen] = []
    for seen in found:
        if now and now[-1].end != seen.start:
            now = []
        now.append(seen)
        best = list(now) if len(now) > len(best) else best
    return best


def limited_by_window(flow: Flow) -> Iterator[Finding]:
    """The sender waits, again and again, with the window full to less than a segment."""
    rtt = flow.rtt()
    if rtt < _LEAST_RTT:
        return
    for side in (0, 1):
        yield from _limited(flow, side, rtt)


def _limited(flow: Flow, side: int, rtt: int) -> Iterator[Finding]:
    half = flow.halves[side]
    text = [seen for seen in half.text if seen.length and seen.kind == NEW]
    if len(text) < 10:
        return
    mss = flow.mss_of(side) or half.longest
    waits = []
    waited = 0
    for seen, following in itertools.pairwise(text):
        pause = following.at - seen.at
        room = seen.edge - seen.end
        if 0 <= seen.edge < following.end and room < mss and _waits(flow, seen, following, mss):
            waits.append(seen)
            waited += pause
    whole = text[-1].at - text[0].at
    if len(waits) < 3 or waited < whole * _LIMITED_SHARE:
        return
    window = max(seen.flight for seen in waits)
    who, other = flow.name(side), flow.name(1 - side)
    sentence = (
        f"The window limits the rate: {who} has filled {other}'s window of {size_text(window)} {times(len(waits))} "
        f"({listed([s.number for s in waits])}) and waits, {span(waited)} of {span(whole)} in all. With a round trip "
        "of "
        f"{span(rtt)} no more than {rate_text(window, rtt)} can pass."
    )
    numbers = [seen.number for seen in waits]
    if flow.scales() is False and window <= 65535:
        sentence += f" {_who_lacks(flow)} has no window scale option, so no window is above 65 535 bytes (RFC 7323)."
        yield Finding("window scaling missing", sentence, tuple(numbers), CERTAIN, FAULT)
    else:
        sentence += f" A larger receive buffer at {other} would let more pass."
        yield Finding("window limits the rate", sentence, tuple(numbers), PROBABLE, FAULT)


def _waits(flow: Flow, seen: Seen, following: Seen, mss: int) -> bool:
    """A pause that an open window would have spared."""
    is_long = following.at - seen.at >= flow.rtt() // 4
    return is_long and seen.flight > mss and not _closed_between(flow, seen, following)


def _closed_between(flow: Flow, seen: Seen, following: Seen) -> bool:
    """The window was shut meanwhile, or something was lost: those are other findings."""
    between = flow.segments[seen.index + 1 : following.index]
    return any((one.side != seen.side and (one.window == 0 or one.sack)) or one.kind == RESENT for one in between)


def _who_lacks(flow: Flow) -> str:
    lacking = [side for side in (0, 1) if flow.halves[side].offered_scale < 0]
    if len(lacking) == 2:
        return "Neither SYN"
    return f"The SYN of {flow.name(lacking[0])}" if lacking[0] == 0 else f"The SYN-ACK of {flow.name(1)}"


def scale_unknown(flow: Flow) -> Iterator[Finding]:
    """A capture without the SYNs cannot tell how large windows are."""
    if flow.scales() is not None or not any(half.bytes for half in flow.halves):
        return
    if all(half.has_opened is False for half in flow.halves):
        text = (
            "The capture begins in the middle of this connection: its MSS, its options and the scale of its windows "
            "are unknown, so nothing is said about windows unless they are zero."
        )
    else:
        which = flow.name(0 if not flow.halves[0].has_opened else 1)
        text = f"The SYN of {which} is not in the capture: the scale of windows is unknown."
    yield Finding("begins in the middle", text, (flow.segments[0].number,), CERTAIN, NOTE)


def stalls(flow: Flow) -> Iterator[Finding]:
    """Nagle's algorithm meets a delayed ACK: a small segment waits for an ACK that waits for a segment.

    What is seen: a small segment; 30 to 500 ms later a bare ACK for it; right behind that ACK another small segment.
    (RFC 1122 sections 4.2.3.2 and 4.2.3.4.)
    """
    for side in (0, 1):
        found = list(_stalled(flow, side))
        if not found:
            continue
        lost = sum(ack.at - first.at for first, ack, _ in found)
        who, other = flow.name(side), flow.name(1 - side)
        first, ack, held = found[0]
        text = (
            f"{who} sends {first.length} bytes in packet {first.number}, {other} acknowledges them only after "
            f"{span(ack.at - first.at)} (packet {ack.number}), and then at once {who} sends {held.length} more bytes "
            f"(packet {held.number}): Nagle's algorithm held them back until a delayed ACK came."
        )
        if len(found) > 1:
            text += f" This happens {times(len(found))} and costs {span(lost)} in all."
        text += " TCP_NODELAY at the sender, or one write() instead of two, ends it."
        confidence = PROBABLE if len(found) > 1 else POSSIBLE
        numbers = tuple(one.number for stall in found[:5] for one in stall)
        yield Finding("Nagle and delayed ACK", text[:1].upper() + text[1:], numbers, confidence, FAULT)


def _stalled(flow: Flow, side: int) -> Iterator[tuple[Seen, Seen, Seen]]:
    rtt = max(flow.rtt(), 0)
    half = flow.halves[side]
    usual = half.fastest_ack if half.fastest_ack >= 0 else rtt  # at the receiver's side of the path it is short
    mss = flow.mss_of(side) or half.longest + 1
    segments = flow.segments
    for index in range(len(segments) - 2):
        first, ack = segments[index], segments[index + 1]
        if first.side != side or first.kind != NEW or not 0 < first.length < mss or first.flags & (SYN | FIN):
            continue
        if ack.side == side or ack.kind != PURE or ack.flags & (SYN | RST) or ack.ack != first.end:
            continue
        held = segments[index + 2]
        waited = ack.at - first.at - usual
        if held.side != side or held.kind != NEW or not 0 < held.length < mss or held.start != first.end:
            continue
        quick = held.at - ack.at <= max(rtt, 0) + 2 * MILLISECOND
        if 30 * MILLISECOND <= waited <= 500 * MILLISECOND and quick and first.flight == first.length:
            yield first, ack, held
