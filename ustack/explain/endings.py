"""Resets, who sent them and why; keep-alives; an end that has fallen silent (RFC 9293 sections 3.5.2 and 3.10.7)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ustack.explain.finding import CERTAIN, FAULT, NOTE, POSSIBLE, PROBABLE, Finding, listed, times
from ustack.explain.flow import KEEPALIVE, NEW, RESENT, STRAY, Flow
from ustack.explain.segment import Seen
from ustack.trace.events import span
from ustack.units import SECOND
from ustack.wire.tcp import ACK, FIN, RST, SYN

_FAR_HOPS = 3
"""A RST whose TTL differs by so many hops from the same end's other packets was perhaps sent by somebody else."""

_SILENCE = 3 * SECOND


def resets(flow: Flow) -> Iterator[Finding]:
    """The first RST of each end; those that follow answer what was still under way."""
    done: set[int] = set()
    for seen in flow.segments:
        if seen.flags & RST and seen.side not in done:
            done.add(seen.side)
            own = [one for one in flow.segments if one.flags & RST and one.side == seen.side]
            others = [one.number for one in own if one is not seen]
            yield _reset(flow, seen, others)


def _reset(flow: Flow, seen: Seen, others: list[int]) -> Finding:
    kind, why, confidence, weight = _why(flow, seen)
    text = f"{flow.name(seen.side)} sends a RST in packet {seen.number}: {why}"
    under_way = _under_way(flow, seen)
    if under_way and kind not in ("RST: refused", "RST: handshake given up"):
        text += f" {under_way} bytes were under way and not acknowledged then: they may be lost."
    if others:
        text += f" It sends {'another' if len(others) == 1 else f'{len(others)} more'} ({listed(others)})."
    text += _foreign(flow, seen) + _disbelieved(flow, seen)
    return Finding(kind, text[:1].upper() + text[1:], (seen.number, *others[:5]), confidence, weight)


def _why(flow: Flow, seen: Seen) -> tuple[str, str, str, str]:
    """Name, sentence, confidence, weight."""
    before = flow.segments[: seen.index]
    other = [one for one in before if one.side != seen.side and not one.flags & RST]
    own = [one for one in before if one.side == seen.side and not one.flags & RST]
    if not before:
        return "RST: unknown", "what went before it is not in the capture.", POSSIBLE, NOTE
    last = other[-1] if other else None
    if last is not None and last.flags & (SYN | ACK) == SYN and not own:
        port = flow.halves[seen.side].end.port
        why = (
            f"nobody listens on port {port} there, or a filter refuses in its name. It answers the SYN in packet "
            f"{last.number}."
        )
        return "RST: refused", why, CERTAIN, FAULT
    if seen.side == 0 and last is not None and last.flags & (SYN | ACK) == SYN | ACK and not _acked(own):
        why = (f"it does not want the connection that the SYN-ACK in packet {last.number} offers: it has given up "
               "meanwhile, or only looked whether the port is open.")  # fmt: skip
        return "RST: handshake given up", why, PROBABLE, FAULT
    if last is not None and last.kind == STRAY:
        why = (f"it has sent a SYN, and packet {last.number} answers with an ACK of an older connection, which the "
               "other "
               "end still has: the RST ends that one.")  # fmt: skip
        return "RST: older connection", why, PROBABLE, FAULT
    if any(one.flags & RST for one in before):
        return "RST: answer", "the other end had reset the connection already.", CERTAIN, NOTE
    unanswered = _unanswered(flow, seen)
    if unanswered:
        why = (
            f"{times(len(unanswered))} it asked with keep-alives ({listed(unanswered)}) and had no answer: it gives up."
        )
        return "RST: keep-alive", why, PROBABLE, FAULT
    return _why_established(flow, seen, own, last)


def _why_established(flow: Flow, seen: Seen, own: list[Seen], last: Seen | None) -> tuple[str, str, str, str]:
    half, peer = flow.halves[seen.side], flow.halves[1 - seen.side]
    own_fin = next((one for one in own if one.flags & FIN), None)
    answers = last is not None and not seen.flags & ACK and last.flags & ACK and seen.seq == last.raw_ack
    if own_fin is not None and last is not None and last.length and last.index > own_fin.index:
        why = (f"it has closed its socket (FIN in packet {own_fin.number}), and {flow.name(1 - seen.side)} sends on "
               f"(packet {last.number}): nobody is there to read that.")  # fmt: skip
        return "RST: sent after close", why, PROBABLE, FAULT
    if half.fin_end >= 0 and peer.fin_end >= 0:
        return "RST: after the close", "both ends had closed already; nothing is lost by it.", CERTAIN, NOTE
    if answers and last is not None and last.flags & FIN and not last.length and own_fin is None:
        return "RST: half-open", _half_open(last), POSSIBLE, FAULT
    if answers and last is not None and own_fin is None:
        return "RST: half-open", _half_open(last), PROBABLE, FAULT
    unread = _unread(flow, seen)
    if unread:
        why = (f"its application closed the socket with about {unread} bytes unread (the window of packet "
               f"{own[-1].number} is so much smaller), or was killed then.")  # fmt: skip
        return "RST: unread data", why, PROBABLE, FAULT
    got = [one for one in flow.segments[: seen.index] if one.side != seen.side and one.length]
    if got and seen.ack >= got[-1].end and _is_next_to(got[-1], seen):
        why = (f"it aborts right after the text in packet {got[-1].number}: its application closed the socket without "
               "reading it, or set SO_LINGER to 0, or was killed; the capture cannot tell which.")  # fmt: skip
        return "RST: abort", why, POSSIBLE, FAULT
    why = (
        "it aborts: its application set SO_LINGER to 0, closed the socket with data unread, or was killed; "
        "the capture cannot tell which."
    )
    return "RST: abort", why, POSSIBLE, FAULT


def _half_open(last: Seen) -> str:
    return (
        f"it answers packet {last.number} as a host does that knows nothing of this connection (its number is that "
        "packet's ACK number, RFC 9293 section 3.10.7.1): it was restarted, has closed, or has given it up: a "
        "half-open connection."
    )


def _is_next_to(text: Seen, reset: Seen) -> bool:
    return reset.at - text.at < SECOND


def _acked(own: list[Seen]) -> bool:
    return any(one.flags & (ACK | SYN) == ACK for one in own)


def _unread(flow: Flow, seen: Seen) -> int:
    """By how much the sender's last window was smaller than its largest; 0 where that is less than it had taken."""
    half = flow.halves[seen.side]
    own = [one for one in flow.segments[: seen.index] if one.side == seen.side and one.flags & (ACK | SYN | RST) == ACK]
    peer = flow.halves[1 - seen.side]
    if not own or own[-1].window < 0 or not peer.bytes:
        return 0
    missing = half.largest_window - own[-1].window
    return missing if 0 < missing <= peer.bytes else 0


def _under_way(flow: Flow, seen: Seen) -> int:
    """Text of both ends that nobody had acknowledged when the RST passed."""
    total = 0
    for half in flow.halves:
        text = [one for one in half.text if one.index < seen.index and one.kind == NEW and one.length]
        acked = max((one.ack for one in flow.segments[: seen.index + 1]
                     if one.flags & ACK and flow.halves[one.side] is not half), default=half.first)  # fmt: skip
        if text and text[-1].end > acked:
            total += sum(min(one.length, one.end - acked) for one in text if one.end > acked)
    return total


def _foreign(flow: Flow, seen: Seen) -> str:
    own = [one.ttl for one in flow.segments[: seen.index] if one.side == seen.side and not one.flags & RST]
    if len(own) < 2 or max(own) != min(own) or abs(own[0] - seen.ttl) < _FAR_HOPS or seen.ttl in (64, 128, 255):
        return ""
    return (
        f" Its TTL is {seen.ttl}, though that end's other packets have {own[0]}: something on the way (a firewall) "
        "may have sent it."
    )


def _disbelieved(flow: Flow, seen: Seen) -> str:
    """A RST that does not have the next number (RFC 5961 section 3)."""
    half = flow.halves[seen.side]
    before = flow.segments[: seen.index]
    acked = max((one.ack for one in before if one.side != seen.side and one.flags & ACK), default=-1)
    sent = max((one.end for one in half.text if one.index < seen.index), default=-1)
    if acked < 0 or sent < 0 or acked <= seen.start <= max(sent, acked):
        return ""
    return (f" Its number is {abs(seen.start - acked)} {'beyond' if seen.start > acked else 'below'} what the other "
            "end "
            "expects, so that end does not believe it (RFC 5961 section 3): it is late, or forged.")  # fmt: skip


def _unanswered(flow: Flow, seen: Seen) -> list[int]:
    """Keep-alives right before the RST that nothing answered."""
    found: list[int] = []
    for one in reversed(flow.segments[: seen.index]):
        if one.side != seen.side:
            break
        if one.kind == KEEPALIVE:
            found.append(one.number)
    return found[::-1]


def keepalives(flow: Flow) -> Iterator[Finding]:
    """Segments that only ask whether the other end is still there (RFC 9293 section 3.8.4)."""
    for side in (0, 1):
        asked = [seen for seen in flow.segments if seen.side == side and seen.kind == KEEPALIVE]
        if not asked:
            continue
        answered = [seen for seen in asked if _is_answered(flow, seen)]
        numbers = [seen.number for seen in asked]
        gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(asked)]
        pace = f", {span(min(gaps))} apart" if gaps else ""
        who = flow.name(side)
        if len(answered) == len(asked):
            text = (
                f"{who} asks {times(len(asked))} whether the other end is still there{pace} ({listed(numbers)}): it is."
            )
            yield Finding("keep-alive", text[:1].upper() + text[1:], tuple(numbers), CERTAIN, NOTE)
        elif asked[-1].index < len(flow.segments) - 1 or len(asked) > 1:
            without = [seen.number for seen in asked if seen not in answered]
            text = (f"{who} asks {times(len(asked))} with keep-alives{pace}; {listed(without)} found no answer: the "
                    "other end, or the way to it, is gone.")  # fmt: skip
            yield Finding("keep-alive unanswered", text[:1].upper() + text[1:], tuple(without), CERTAIN, FAULT)


def _is_answered(flow: Flow, seen: Seen) -> bool:
    for one in flow.segments[seen.index + 1 :]:
        if one.side != seen.side:
            return True
        if one.kind == KEEPALIVE:
            return False
    return False


def silence(flow: Flow) -> Iterator[Finding]:
    """An end that says nothing more, though the other sends the same again and again."""
    for side in (0, 1):
        text = [seen for seen in flow.halves[side].text if not seen.flags & SYN]
        if not text or text[-1].kind != RESENT or text[-1].count < 2:
            continue
        last_heard = max((seen.index for seen in flow.segments if seen.side != side), default=-1)
        tail = [seen for seen in text if seen.index > last_heard and seen.kind == RESENT]
        if last_heard < 0 or len(tail) < 3 or any(seen.flags & RST for seen in flow.segments[last_heard:]):
            continue
        heard = flow.segments[last_heard]
        waited = flow.segments[-1].at - heard.at
        if waited < _SILENCE:
            continue
        who, other = flow.name(side), flow.name(1 - side)
        sentence = (
            f"{other} is silent after packet {heard.number}, for {span(waited)} up to the end of the capture, while "
            f"{who} "
            f"resends {times(len(tail))}: the host is gone, or the way to it."
        )
        yield Finding("silent", sentence[:1].upper() + sentence[1:], (heard.number, *[s.number for s in tail[:5]]),
                      PROBABLE, FAULT)  # fmt: skip
