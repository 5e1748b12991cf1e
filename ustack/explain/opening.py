"""How a connection opens, or does not: SYNs sent again, refused, dropped (RFC 9293 section 3.5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ustack.explain.finding import CERTAIN, FAULT, NOTE, POSSIBLE, PROBABLE, Finding, listed, times
from ustack.explain.flow import Flow
from ustack.explain.segment import Seen
from ustack.trace.events import span
from ustack.wire.tcp import ACK, RST, SYN


def syns(flow: Flow) -> Iterator[Finding]:
    """SYNs and SYN-ACKs that were sent more than once, or found no answer."""
    asked = [seen for seen in flow.segments if seen.flags & (SYN | ACK | RST) == SYN and seen.side == 0]
    answers = [seen for seen in flow.segments if seen.flags & (SYN | ACK | RST) == SYN | ACK and seen.side == 1]
    if asked:
        yield from _asked(flow, asked, answers)
    if len(answers) > 1:
        yield from _answered_again(flow, asked, answers)


def _asked(flow: Flow, asked: list[Seen], answers: list[Seen]) -> Iterator[Finding]:
    numbers = [seen.number for seen in asked]
    other = flow.name(1)
    heard = [seen for seen in flow.segments if seen.side == 1 or seen.flags & (SYN | RST | ACK) == ACK]
    if flow.inside is not None:
        yield _inside(flow, asked)
        return
    if not heard and not flow.icmp:
        again = f" ({listed(numbers)}, {_apart(asked)} apart)" if len(asked) > 1 else f" (packet {numbers[0]})"
        text = (
            f"Nothing answers the client's SYN{again}: the host is not there, a filter drops it without a word, or "
            f"the listener's queues are full. Which, the capture cannot tell; no answer of {flow.halves[1].name} "
            "passed here."
        )
        yield Finding("SYN unanswered", text, tuple(numbers), CERTAIN if len(asked) > 1 else POSSIBLE, FAULT)
        return
    if len(asked) < 2:
        return
    early = [seen for seen in answers if seen.at < asked[-1].at]
    text = f"The client sends its SYN {times(len(asked))} ({listed(numbers)}, {_apart(asked)} apart): "
    if early:
        text += (
            f"though {other} had answered in packet {early[0].number}. That SYN-ACK was lost behind this place, or "
            "the client refused it."
        )
        yield Finding("SYN-ACK lost", text, (*numbers, early[0].number), PROBABLE, FAULT)
    else:
        text += (
            f"the earlier ones, or {other}'s answers to them, were lost, or it dropped them (a full queue, a "
            "filter, a limit)."
        )
        yield Finding("SYN resent", text, tuple(numbers), CERTAIN, FAULT)


def _inside(flow: Flow, asked: list[Seen]) -> Finding:
    """A SYN for ends that have a connection already (RFC 9293 section 3.10.7.4, RFC 5961 section 4)."""
    numbers = [seen.number for seen in asked]
    text = (
        f"The SYN in {listed(numbers)} comes while an older connection between the same ends is open, or not wholly "
        "closed: the client was restarted and has forgotten it, takes the port anew, or somebody forges. "
    )
    if flow.met:
        text += (
            f"The server answers with an ACK of the older connection ({listed(flow.met)}), as it must (RFC 5961 "
            "section 4)."
        )
    elif not flow.halves[1].has_opened:
        text += "The server does not answer it."
    else:
        text += "The server takes it as a new connection."
    return Finding("SYN inside a connection", text, (*numbers, *flow.met), CERTAIN, FAULT)


def _answered_again(flow: Flow, asked: list[Seen], answers: list[Seen]) -> Iterator[Finding]:
    """More SYN-ACKs than SYNs that they answer: the third ACK did not arrive, or was not taken."""
    timed = [seen for seen in answers[1:] if not _answers_syn(flow, seen)]
    if not timed:
        return
    thirds = [
        seen for seen in flow.segments
        if seen.side == 0 and seen.flags & (ACK | SYN | RST) == ACK and answers[0].at <= seen.at < timed[0].at
    ]  # fmt: skip
    numbers = [seen.number for seen in answers]
    text = f"The server sends its SYN-ACK {times(len(answers))} ({listed(numbers)}, {_apart(answers)} apart): "
    if thirds:
        text += (
            f"the client's ACK in packet {thirds[0].number} did not arrive, or the server did not take it: Linux drops "
            "it while the accept queue is full (nstat: TcpExtListenOverflows)."
        )
        yield Finding("SYN-ACK resent", text, (*numbers, thirds[0].number), PROBABLE, FAULT)
    else:
        text += "no ACK of the client had come by here. The client did not get the SYN-ACK, or does not answer."
        yield Finding("SYN-ACK resent", text, tuple(numbers), PROBABLE, FAULT)


def _answers_syn(flow: Flow, seen: Seen) -> bool:
    """The last thing that the client sent before it was a SYN."""
    for one in reversed(flow.segments[: seen.index]):
        if one.side == 0:
            is_between = not any(
                other.side == 1 and other.flags & SYN for other in flow.segments[one.index : seen.index]
            )
            return bool(one.flags & SYN) and is_between
    return False


def _apart(found: list[Seen]) -> str:
    return ", ".join(span(later.at - sooner.at) for sooner, later in itertools.pairwise(found))


def options(flow: Flow) -> Iterator[Finding]:
    """What a SYN leaves out and what that costs."""
    first = next((seen for seen in flow.segments if seen.flags & SYN), None)
    if first is None:
        return
    for side in (0, 1):
        half = flow.halves[side]
        if not half.has_opened:
            continue
        is_v4 = half.end.address.startswith(bytes(10) + b"\xff\xff")
        least = 536 if is_v4 else 1220
        if half.mss < 0 and (half.bytes or flow.halves[1 - side].bytes):
            text = (f"The SYN of {flow.name(side)} has no MSS option: {flow.name(1 - side)} may send segments of "
                    f"{least} bytes only (RFC 9293 section 3.7.1).")  # fmt: skip
            yield Finding("no MSS", text, (first.number,), CERTAIN, NOTE)
        elif 0 <= half.mss < least and flow.halves[1 - side].bytes > 10 * least:
            text = (f"The SYN of {flow.name(side)} says MSS {half.mss}: {flow.name(1 - side)} sends that much in a "
                    "segment at most, and headers take a large part of the rate.")  # fmt: skip
            yield Finding("small MSS", text, (first.number,), CERTAIN, NOTE)
