"""Why an end sent the same bytes again. The evidence is what passed here between the first sending and the next.

Rules: RFC 6298 (timer), RFC 5681 and 6675 and 8985 (fast retransmit by duplicate ACKs, by SACK, by RACK; tail loss
probe), RFC 2883 and 3708 (D-SACK), RFC 3522 (Eifel: timestamps tell which of two sendings was acknowledged).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from ustack.explain.finding import FAULT, NOTE, POSSIBLE, PROBABLE, Finding, listed, times
from ustack.explain.flow import LATE, NEW, PURE, RESENT, Flow
from ustack.explain.segment import Seen
from ustack.trace.events import span
from ustack.units import MILLISECOND
from ustack.wire.tcp import FIN, RST, SYN

DUPLICATES = 3
"""Duplicate ACKs that RFC 5681 section 3.2 waits for."""
LEAST_RTO = 180 * MILLISECOND
"""Linux never waits less than 200 ms for its timer (TCP_RTO_MIN); a little is left for the way."""
FAST, TIMER, TAIL, AFTER_TIMER, ANSWERED, UNKNOWN = "fast", "timer", "tail", "after timer", "answered", "unknown"
COPY, EITHER = "late copy", "timer or probe"
_TIMERS = (TIMER, EITHER, AFTER_TIMER)


@dataclasses.dataclass
class Cause:
    """Of one resend."""

    seen: Seen
    name: str
    confidence: str
    words: str
    dsack: Seen | None = None
    """The ACK that says: these bytes have come twice."""
    eifel: Seen | None = None
    """The ACK that answers the first sending, by its timestamp."""


def resends(flow: Flow) -> Iterator[Finding]:
    """One finding for each stretch of resends of one end with one cause."""
    for side in (0, 1):
        causes = judge(flow, side)
        group: list[Cause] = []
        for cause in causes:
            if group and not _together(group[-1], cause):
                yield _finding(flow, side, group)
                group = []
            group.append(cause)
        if group:
            yield _finding(flow, side, group)
    yield from _late(flow)


def judge(flow: Flow, side: int) -> list[Cause]:
    """The cause of each resend of text or FIN by ``side``, in order."""
    causes: list[Cause] = []
    for seen in flow.halves[side].text:
        if seen.kind != RESENT or seen.flags & (SYN | RST):
            continue
        cause = _cause(flow, seen, causes[-1] if causes else None)
        cause.dsack = _told_twice(flow, seen)
        cause.eifel = None if cause.dsack else _first_answered(flow, seen)
        causes.append(cause)
    return causes


def _cause(flow: Flow, seen: Seen, before: Cause | None) -> Cause:
    original = seen.original
    if original is not None and seen.identity > 0 and seen.is_same_as(original):
        words = "the same packet to the last bit, its IPv4 identification too: a copy that the network held, no resend"
        return Cause(seen, COPY, PROBABLE, words)
    if seen.end <= seen.acknowledged:
        words = "all of it had been acknowledged here before: that ACK was late, or lost on its way to the sender"
        return Cause(seen, ANSWERED, PROBABLE, words)
    if original is None:
        return Cause(seen, UNKNOWN, POSSIBLE, "why, this capture cannot tell")
    waited = seen.at - original.at
    duplicates, above, last = _duplicates(flow, seen, original)
    highest = _highest_before(flow, seen)
    is_last = seen.end == highest and not above
    is_first = seen.start <= seen.acknowledged
    if is_last and not is_first and waited >= _patience(flow):
        words = f"a tail loss probe: the last segment again, after {span(_silence(flow, seen))} without an ACK"
        return Cause(seen, TAIL, PROBABLE, words)
    if above or duplicates >= DUPLICATES:
        return _by_duplicates(flow, seen, (duplicates, above, last))
    if before is not None and _goes_on(flow, seen, before):
        return Cause(seen, AFTER_TIMER, PROBABLE, "the sender goes on from where its timer made it begin")
    if waited >= LEAST_RTO and is_first and duplicates < DUPLICATES:
        return _by_time(flow, seen, waited, is_last)
    words = f"why, this capture cannot tell: {span(waited)} after the first, {duplicates} duplicate ACKs"
    return Cause(seen, UNKNOWN, POSSIBLE, words)


def _goes_on(flow: Flow, seen: Seen, before: Cause) -> bool:
    """It follows a resend that a timer caused, at once and in order."""
    is_soon = seen.at - before.seen.at < max(flow.rtt() * 2, LEAST_RTO)
    return before.name in _TIMERS and before.seen.end <= seen.start + 1 and is_soon


def _by_time(flow: Flow, seen: Seen, waited: int, is_last: bool) -> Cause:
    """The first bytes that are missing, again, and no ACK told of a loss: a timer. With one segment only, which?"""
    alone = is_last and seen.count == 1 and seen.end - seen.start >= seen.flight
    if alone and seen.original is not None and not seen.flags & FIN and flow.halves[1 - seen.side].sack_ok:
        words = (
            f"no ACK for {span(waited)}: its retransmission timer (RTO), or a tail loss probe, which look the same "
            "where only one segment is under way"
        )
        return Cause(seen, EITHER, PROBABLE, words)
    words = f"its retransmission timer (RTO): no ACK for it in {span(waited)}"
    return Cause(seen, TIMER, PROBABLE, words)


def _by_duplicates(flow: Flow, seen: Seen, told: tuple[int, int, Seen | None]) -> Cause:
    duplicates, above, last = told
    assert last is not None
    after = seen.at - last.at
    if after > max(2 * flow.rtt(), LEAST_RTO):
        words = f"its retransmission timer (RTO): {span(after)} after the last ACK, though ACKs had told of the loss"
        return Cause(seen, TIMER, PROBABLE, words)
    if above:
        words = f"fast retransmit: SACK told of {above} bytes behind it that had arrived (packet {last.number})"
    else:
        words = f"fast retransmit: {duplicates} duplicate ACKs, the last in packet {last.number}"
    return Cause(seen, FAST, PROBABLE, words)


def _duplicates(flow: Flow, seen: Seen, original: Seen) -> tuple[int, int, Seen | None]:
    """Duplicate ACKs for the resend's first byte since it was sent; bytes behind it that SACK named; the last of them.

    An ACK counts as RFC 5681 section 2 says: no text, the same number and window, and something is under way.
    """
    count = above = 0
    last, one_before = None, None
    for one in flow.segments[original.index + 1 : seen.index]:
        if one.side == seen.side or one.flags & (SYN | RST):
            continue
        beyond = sum(high - max(low, seen.end) for low, high in one.sack if high > seen.end)
        if beyond:
            above, last = beyond, one
        is_same = one_before is not None and one.ack == one_before.ack
        if (
            is_same
            and not one.length
            and one.ack <= seen.start
            and (one.sack or (one_before and one.window == one_before.window))
        ):
            count, last = count + 1, one
        elif not is_same:
            count = 0
        one_before = one
    return count, above, last


def _highest_before(flow: Flow, seen: Seen) -> int:
    """One past the highest number that the sender had used before ``seen``."""
    highest = seen.start
    for one in reversed(flow.segments[max(0, seen.index - 4096) : seen.index]):
        if one.side == seen.side and one.kind != PURE:
            highest = max(highest, one.end)
    return highest


def _silence(flow: Flow, seen: Seen) -> int:
    """How long (ns) the sender had sent nothing and heard nothing."""
    return seen.at - flow.segments[seen.index - 1].at if seen.index else 0


def _patience(flow: Flow) -> int:
    """The least that a tail loss probe waits (RFC 8985 section 7.2: two round trips), with some tolerance."""
    return max(flow.rtt() * 3 // 2, MILLISECOND)


def _told_twice(flow: Flow, seen: Seen) -> Seen | None:
    """The ACK whose first SACK block names bytes of the resend though they are acknowledged (RFC 2883)."""
    for one in flow.segments[seen.index + 1 : seen.index + 4096]:
        if one.side == seen.side or not one.sack:
            continue
        low, high = one.sack[0]
        is_dsack = high <= one.ack or any(start <= low and high <= end for start, end in one.sack[1:])
        if is_dsack and low < seen.end and seen.start < high:
            return one
    return None


def _first_answered(flow: Flow, seen: Seen) -> Seen | None:
    """The ACK for the resend's bytes when its timestamp echoes the first sending (RFC 3522)."""
    original = seen.original
    if original is None or original.ts_val < 0 or seen.ts_val == original.ts_val:
        return None
    for one in flow.segments[seen.index + 1 : seen.index + 4096]:
        if one.side != seen.side and one.ack >= seen.end and not one.flags & RST:
            is_old = one.ts_ecr >= 0 and (seen.ts_val - one.ts_ecr) & 0xFFFFFFFF not in range(1 << 31)
            is_older = 0 < (seen.ts_val - one.ts_ecr) & 0xFFFFFFFF < 1 << 31
            return one if one.ts_ecr >= 0 and is_older and not is_old and _was_alone(flow, seen, one) else None
    return None


def _was_alone(flow: Flow, seen: Seen, ack: Seen) -> bool:
    """A receiver that had a hole echoes the time of before the hole (RFC 7323 section 4.3): then it says nothing."""
    return not any(one.side != seen.side and one.sack for one in flow.segments[max(0, seen.index - 64) : ack.index])


def _together(one: Cause, other: Cause) -> bool:
    """Two resends that are one story."""
    same = {one.name, other.name} <= set(_TIMERS) or one.name == other.name
    spurious = bool(one.dsack or one.eifel) == bool(other.dsack or other.eifel)
    if one.name in _TIMERS and other.name in (TIMER, EITHER) and other.seen.start != one.seen.start:
        return False
    is_near = one.name in _TIMERS or other.seen.at - one.seen.at < 1000 * MILLISECOND
    return same and spurious and is_near


def _finding(flow: Flow, side: int, group: list[Cause]) -> Finding:
    first = group[0]
    numbers = [cause.seen.number for cause in group]
    who = flow.name(side)
    seen = first.seen
    what = "its FIN" if seen.flags & FIN and not seen.length else f"{seen.length} bytes"
    if len(group) == 1:
        origin = f" of packet {seen.original.number}" if seen.original else ""
        text = f"{who} sends {what}{origin} again in packet {numbers[0]}: {first.words}."
    elif all(cause.seen.start == seen.start for cause in group):
        waits = [later.seen.at - sooner.seen.at for sooner, later in itertools.pairwise(group)]
        origin = f" of packet {seen.original.number}" if seen.original else ""
        text = (
            f"{who} sends {what}{origin} again {times(len(group))}, in {listed(numbers)}, "
            f"{', '.join(span(wait) for wait in waits[:6])} apart: {_again(first, waits)}."
        )
    else:
        total = sum(cause.seen.length for cause in group)
        text = f"{who} sends {total} bytes again in {listed(numbers)}; the first: {first.words}."
    numbers, spurious = _needless(group, numbers)
    name = TIMER if first.name == EITHER and len(group) > 2 else first.name
    kind = "spurious resend" if spurious or name == ANSWERED else name if name == COPY else f"resend: {name}"
    return Finding(kind, text[:1].upper() + text[1:] + spurious, tuple(numbers), first.confidence, FAULT)


def _again(first: Cause, waits: list[int]) -> str:
    """The same bytes again and again: a timer that doubles shows itself."""
    doubles = all(1.8 < later / max(sooner, 1) < 2.2 for sooner, later in itertools.pairwise(waits))
    if first.name in (TIMER, EITHER) and len(waits) > 1 and doubles:
        return "its retransmission timer (RTO), which doubles each time (RFC 6298 section 5.5)"
    return first.words


def _needless(group: list[Cause], numbers: list[int]) -> tuple[list[int], str]:
    """Whether the receiver says that it had the bytes already."""
    told = [cause for cause in group if cause.dsack]
    if told:
        acks = sorted({cause.dsack.number for cause in told if cause.dsack})
        which = "It was" if len(group) == 1 else f"{len(told)} of them were"
        return numbers + acks, f" {which} needless: the D-SACK in {listed(acks)} says that these bytes came twice."
    echoed = [cause.eifel.number for cause in group if cause.eifel]
    if echoed:
        return numbers + echoed, f" It was needless: the ACK in {listed(echoed)} echoes the time of the first sending."
    return numbers, ""


def _late(flow: Flow) -> Iterator[Finding]:
    """Text that fills a hole: lost before this place and sent again, or overtaken on the way."""
    for side in (0, 1):
        overtaken: list[Seen] = []
        again: list[Seen] = []
        unclear: list[Seen] = []
        for seen in flow.halves[side].text:
            if seen.kind == LATE:
                {"overtaken": overtaken, "again": again}.get(_origin(flow, seen), unclear).append(seen)
        who = flow.name(side)
        if overtaken:
            text = (f"{listed([s.number for s in overtaken])} of {who} came behind later ones: overtaken on the way, "
                    "not sent again.")  # fmt: skip
            yield _of(flow, "reordered", text, overtaken, PROBABLE)
        if again:
            text = (f"{listed([s.number for s in again])} of {who} fill holes a round trip or more after these were "
                    "seen: the first sendings were lost before they came by here.")  # fmt: skip
            yield _of(flow, "resend: lost before", text, again, PROBABLE)
        if unclear:
            text = (f"{listed([s.number for s in unclear])} of {who} fill holes: overtaken on the way, or lost before "
                    "and sent again; this capture cannot tell.")  # fmt: skip
            yield _of(flow, "hole filled", text, unclear, POSSIBLE)


def _of(flow: Flow, kind: str, text: str, found: list[Seen], confidence: str) -> Finding:
    weight = NOTE if kind == "reordered" else FAULT
    return Finding(kind, text[:1].upper() + text[1:], tuple(s.number for s in found), confidence, weight)


def _origin(flow: Flow, seen: Seen) -> str:
    """Where a segment that fills a hole comes from. ``overtaken``, ``again`` or empty."""
    jumper = None
    for one in reversed(flow.segments[max(0, seen.index - 4096) : seen.index]):
        if one.side == seen.side and one.kind == NEW and one.start >= seen.end:
            jumper = one
        elif one.side == seen.side and one.kind == NEW and one.end <= seen.start:
            break
    if jumper is None:
        return ""
    if seen.ts_val >= 0 and jumper.ts_val >= 0 and seen.ts_val != jumper.ts_val:
        is_older = 0 < (jumper.ts_val - seen.ts_val) & 0xFFFFFFFF < 1 << 31
        return "overtaken" if is_older else "again"
    waited, rtt = seen.at - jumper.at, flow.rtt()
    if rtt > 0 and waited >= rtt * 4 // 5:
        return "again"
    if seen.identity > 0 and jumper.identity > 0 and 0 < (jumper.identity - seen.identity) & 0xFFFF < 1 << 10:
        return "overtaken"
    return "overtaken" if rtt > 0 and waited < rtt // 4 else ""
