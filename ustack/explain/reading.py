"""A whole capture, read: its connections, and what was seen of the capture itself."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable

from ustack.cli.capture import Captured
from ustack.explain.flow import Flow
from ustack.explain.segment import End, IcmpError, Seen, read_segment
from ustack.wire.tcp import SYN

COPY_TIME = 5_000_000
"""Two packets that are the same to the last byte of TCP, with the same IPv4 identification, and no further apart than
this (ns): one packet, captured twice or doubled on its way. A resend comes later, and Linux gives it a new number."""
_RECENT = 64


@dataclasses.dataclass
class Reading:
    """What a capture holds."""

    flows: list[Flow] = dataclasses.field(default_factory=list)
    packets: int = 0
    tcp: int = 0
    copies: int = 0
    cut_short: int = 0
    """Packets of which only the beginning was kept."""
    first_at: int = -1
    last_at: int = -1
    backward: int = 0
    """Packets with an earlier instant than the one before."""


def read(packets: Iterable[Captured]) -> Reading:
    """Sorts a capture's segments into connections."""
    reading = Reading()
    latest: dict[frozenset[End], Flow] = {}
    recent: deque[Seen] = deque(maxlen=_RECENT)
    for found in packets:
        _count(reading, found)
        seen = read_segment(found)
        if isinstance(seen, IcmpError):
            flow = latest.get(frozenset(seen.ends))
            if flow is not None:
                flow.icmp.append(seen)
        elif seen is not None:
            reading.tcp += 1
            pair = frozenset((seen.source, seen.destination))
            flow = latest.get(pair)
            if flow is None or flow.restarts(seen):
                older, flow = flow, Flow(seen)
                flow.inside = older if older is not None and not older.is_over() else None
                latest[pair] = flow
                reading.flows.append(flow)
            elif flow.inside is not None and not flow.halves[1].has_opened and not seen.flags & SYN:
                flow = _owner(flow, flow.inside, seen)
            if _is_copy(seen, recent):
                reading.copies += 1
                flow.copies.append(seen)
            else:
                recent.append(seen)
                flow.add(seen)
    return reading


def _count(reading: Reading, found: Captured) -> None:
    reading.packets += 1
    reading.cut_short += bool(found.missing)
    reading.backward += found.at < reading.last_at
    reading.first_at = found.at if reading.first_at < 0 else reading.first_at
    reading.last_at = found.at


def _owner(flow: Flow, older: Flow, seen: Seen) -> Flow:
    """Of two connections between the same ends the one whose numbers ``seen`` has; the newer is not yet open."""
    if not older.fits(seen) or flow.halves[1].is_known:
        return flow
    if flow.side_of(seen) == 1:
        flow.met.append(seen.number)
    return older


def _is_copy(seen: Seen, recent: deque[Seen]) -> bool:
    """Bare ACKs of IPv6, and of IPv4 without identification, may be the same and yet two."""
    names_itself = seen.identity > 0
    if not names_itself and not seen.space():
        return False
    return any(
        one.digest == seen.digest
        and one.identity == seen.identity
        and one.source == seen.source
        and one.destination == seen.destination
        and abs(seen.at - one.at) <= (COPY_TIME if names_itself else COPY_TIME // 5)
        for one in recent
    )
