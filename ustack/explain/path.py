"""What the path does to packets (MTU, damage, ICMP), and what the capture does to them (copies, offload, gaps)."""

from __future__ import annotations

from collections.abc import Iterator

from ustack.explain.finding import CERTAIN, FAULT, NOTE, POSSIBLE, PROBABLE, Finding, counted, listed, times
from ustack.explain.flow import RESENT, Flow
from ustack.explain.segment import BAD, GOOD, UNFINISHED, Seen
from ustack.wire.tcp import SYN

_MANY_COPIES = 0.25
_MOST_BAD = 0.2
_LEAST_SENDINGS = 3
_SHORTEST = 400
"""Bytes of text: no path of today is too narrow for less."""


def icmp_errors(flow: Flow) -> Iterator[Finding]:
    """What routers and hosts said about segments of this connection."""
    said: dict[tuple[str, str, int, int], list[int]] = {}
    for error in flow.icmp:
        side = 0 if error.ends[0] == flow.halves[0].end else 1
        said.setdefault((error.router, error.words, error.mtu if error.too_big else -1, side), []).append(error.number)
    for (router, words, mtu, side), numbers in said.items():
        who = flow.name(side)
        if mtu >= 0:
            limit = (
                f"packets of more than {mtu} bytes"
                if mtu
                else ("packets as long as that (it does not say how long they may be)")
            )
            text = f"{router} says ({listed(numbers)}) that {limit} of {who} do not fit through the path."
            text += _obeyed(flow, side, numbers[0], mtu)
            kind = "path MTU"
            weight = FAULT
        else:
            text = f"{router} says ({listed(numbers)}) that packets of {who} do not arrive: {words}."
            kind, weight = "ICMP error", FAULT
        yield Finding(kind, text, tuple(numbers), CERTAIN, weight)


def _obeyed(flow: Flow, side: int, number: int, mtu: int) -> str:
    """Whether the sender's later segments are short enough."""
    if not mtu:
        return ""
    is_v4 = flow.halves[side].end.address.startswith(bytes(10) + b"\xff\xff")
    room = mtu - (20 if is_v4 else 40) - 20
    later = [seen for seen in flow.halves[side].text if seen.number > number and seen.length]
    too_long = [seen for seen in later if seen.length > room]
    if not later:
        return ""
    if too_long and not any(seen.length <= room for seen in later):
        return (
            f" It goes on with longer ones ({listed([s.number for s in too_long])}): the message does not reach "
            "it, or it ignores it."
        )
    return " It sends shorter ones from then on."


def black_hole(flow: Flow) -> Iterator[Finding]:
    """Long segments that never arrive while short ones do, and nobody says why (RFC 2923 section 2.1)."""
    if any(error.too_big for error in flow.icmp):
        return
    for side in (0, 1):
        half = flow.halves[side]
        text = [seen for seen in half.text if seen.length and not seen.flags & SYN]
        if half.longest < _SHORTEST:
            continue
        arrived = max((seen.length for seen in text if seen.end <= half.una), default=0)
        stuck = [
            seen for seen in text if seen.kind == RESENT and seen.end > seen.acknowledged and seen.length >= _SHORTEST
        ]
        first = next(
            (seen for seen in stuck if seen.count >= _LEAST_SENDINGS - 1 and seen.start == seen.acknowledged), None
        )
        if first is None:
            continue
        same = [seen for seen in text if seen.start == first.start and seen.length == first.length]
        if len(same) < _LEAST_SENDINGS or (first.end <= half.una and not _shrunk(text, first)):
            continue
        yield from _hole(flow, side, same, arrived)


def _shrunk(text: list[Seen], first: Seen) -> bool:
    """The bytes were sent once more in shorter segments, after the long ones."""
    return any(seen.start == first.start and seen.index > first.index and seen.length < first.length for seen in text)


def _hole(flow: Flow, side: int, same: list[Seen], arrived: int) -> Iterator[Finding]:
    half = flow.halves[side]
    length = same[0].length
    who = flow.name(side)
    shorter = [seen for seen in half.text
               if seen.start == same[0].start and seen.length < length and seen.index > same[0].index]  # fmt: skip
    numbers = [seen.number for seen in same]
    text = f"{who} sends {length} bytes {times(len(same))} ({listed(numbers)}), and they are not acknowledged"
    if shorter and shorter[0].end <= half.una:
        text += f"; the same bytes in a shorter segment (packet {shorter[0].number}, {shorter[0].length} bytes) are. "
        text += "The path takes no packets as long as that, and no ICMP message said so: a path MTU black hole."
        yield Finding("MTU black hole", text[:1].upper() + text[1:], (*numbers, shorter[0].number), CERTAIN, FAULT)
        return
    heard_later = any(seen.side != side and seen.index > same[0].index for seen in flow.segments)
    if arrived >= length or (not arrived and not heard_later):
        return  # as long ones did arrive, or the other end is just silent
    if arrived:
        text += f", though segments of up to {arrived} bytes are"
    else:
        text += ", though the other end is there"
    text += (
        ". A path MTU smaller than that, whose ICMP messages are filtered (a black hole), looks so; so does plain loss."
    )
    confidence = PROBABLE if heard_later or len(same) > _LEAST_SENDINGS else POSSIBLE
    yield Finding("MTU black hole", text[:1].upper() + text[1:], tuple(numbers), confidence, FAULT)


def checksums(flow: Flow) -> Iterator[Finding]:
    """Wrong checksums: damage on the way, or only that a network card was to fill them in."""
    for side in (0, 1):
        own = [seen for seen in flow.segments if seen.side == side]
        bad = [seen for seen in own if seen.checksum == BAD]
        good = sum(seen.checksum == GOOD for seen in own)
        unfinished = [seen.number for seen in own if seen.checksum == UNFINISHED]
        if unfinished:
            text = (f"{counted(unfinished)} of {flow.name(side)} came without a checksum ({listed(unfinished)}): the "
                    "capture was made on that host, whose network card fills it in. That is no error.")  # fmt: skip
            yield Finding("checksum offload", text, tuple(unfinished[:5]), CERTAIN, NOTE)
        if not bad:
            continue
        numbers = [seen.number for seen in bad]
        if len(bad) > _MOST_BAD * (good + len(bad)) and len(bad) > 1 and not good:
            text = (f"No segment of {flow.name(side)} has a right checksum: its network card fills them in after the "
                    "capture, most likely. That is no error.")  # fmt: skip
            yield Finding("checksum offload", text, tuple(numbers[:5]), PROBABLE, NOTE)
            continue
        text = (
            f"The TCP checksum of {listed(numbers)} of {flow.name(side)} is wrong: damaged on the way, and the "
            "receiver drops it."
        )
        again = [seen.number for seen in flow.halves[side].text if seen.original in bad]
        if again:
            text += f" The bytes come again in {listed(again)}."
        yield Finding("damaged", text, tuple(numbers), CERTAIN, FAULT)


def long_segments(flow: Flow) -> Iterator[Finding]:
    """Segments longer than the MSS: the capture sees what the card will cut, or has merged."""
    for side in (0, 1):
        mss = flow.mss_of(side)
        found = [seen.number for seen in flow.halves[side].text if mss and seen.length > mss]
        if found:
            text = (f"{flow.name(side)} sends {counted(found)} longer than the MSS of {mss} ({listed(found)}): the "
                    "capture was made where the network card cuts or merges segments (TSO, GRO). The wire carried "
                    "shorter ones.")  # fmt: skip
            yield Finding("segmentation offload", text[:1].upper() + text[1:], tuple(found[:5]), CERTAIN, NOTE)


def unseen(flow: Flow) -> Iterator[Finding]:
    """Text that was acknowledged but is not in the capture."""
    for side in (0, 1):
        half = flow.halves[side]
        if not half.is_known or not half.bytes:
            if half.una >= 0 and flow.halves[1 - side].is_known and not half.is_known and len(flow.segments) > 2:
                text = (
                    f"Nothing of {flow.name(side)} is in the capture: it sees one direction only, and much cannot "
                    "be told."
                )
                yield Finding("one direction only", text, (flow.segments[0].number,), CERTAIN, NOTE)
            continue
        holes, at = 0, half.first
        for low, high in half.sent:
            holes += max(0, min(low, half.una) - at) if at < half.una else 0
            at = max(at, high)
        holes += max(0, half.una - at)
        if half.fin_end >= 0 and half.una >= half.fin_end and holes == 1:
            holes = 0
        if holes > 0:
            text = (f"{holes} bytes of {flow.name(side)} were acknowledged but are not in the capture: it dropped "
                    "packets, "
                    "or does not stand where all of them pass.")  # fmt: skip
            yield Finding("gaps in the capture", text, (flow.segments[0].number,), CERTAIN, NOTE)


def copies(flow: Flow) -> Iterator[Finding]:
    """Packets that are in the capture twice."""
    if not flow.copies:
        return
    numbers = [seen.number for seen in flow.copies]
    if len(numbers) > _MANY_COPIES * (len(flow.segments) + len(numbers)):
        text = (f"{len(numbers)} packets are in the capture twice ({listed(numbers)}): it was made at two places at "
                "once "
                "(tcpdump -i any, a mirror port of both sides). They are left out of what is said here.")  # fmt: skip
        yield Finding("captured twice", text, tuple(numbers[:5]), PROBABLE, NOTE)
    else:
        text = (f"{listed(numbers)} {'is a copy' if len(numbers) == 1 else 'are copies'} of the same packet a moment "
                "before, "
                "not a resend: the network doubled it, or it was captured twice.")  # fmt: skip
        yield Finding("copy", text[:1].upper() + text[1:], tuple(numbers), CERTAIN, NOTE)
