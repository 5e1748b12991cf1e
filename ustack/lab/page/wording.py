"""What stands on an arrow and in a note, in few words and in the reader's language."""

from __future__ import annotations

import re
from typing import NamedTuple

from ustack.lab.ladder import short
from ustack.lab.language import translate
from ustack.lab.report import Flight
from ustack.trace.events import Called, Event, Moved, Queued, TimerEvent
from ustack.wire.frame import Segment
from ustack.wire.tcp import ACK, CWR, ECE, FIN, RST, SYN, URG

_NUMBERS = re.compile(r"(?P<seq>-?\d+):(?P<end>-?\d+)\((?P<length>\d+)\)(?: ack (?P<ack>-?\d+))?")
_SACK = re.compile(r"sack ([-\d: ]+)")
_UNIT = re.compile(r"(\d) (ms|s|min|h|bytes)\b")
KINDS = {
    "syn": "SYN: opens",
    "text": "text: bytes of the stream",
    "ack": "ACK alone",
    "resent": "sent again",
    "probe": "probe or keepalive",
    "fin": "FIN: ends a direction",
    "rst": "RST: breaks off",
    "other": "not TCP",
}
"""How arrows are told apart, and what each sort is."""


class Numbers(NamedTuple):
    """The numbers of a segment's text, relative to both ISNs."""

    seq: int
    length: int
    ack: str


def numbers_of(flight: Flight) -> Numbers | None:
    """None for what is no segment."""
    found = _NUMBERS.search(flight.text) if isinstance(flight.frame, Segment) else None
    return Numbers(int(found["seq"]), int(found["length"]), found["ack"] or "") if found else None


def kind_of(flight: Flight, is_again: bool) -> str:
    """A key of ``KINDS``."""
    frame = flight.frame
    if not isinstance(frame, Segment):
        return "other"
    if frame.flags & RST:
        return "rst"
    if flight.rule == "resent" or is_again:
        return "resent"
    if flight.rule in ("probe", "keepalive"):
        return "probe"
    if frame.flags & SYN:
        return "syn"
    if frame.flags & FIN:
        return "fin"
    return "text" if frame.payload_length else "ack"


def again(flights: list[Flight]) -> set[int]:
    """Those (by their ``order``) whose numbers were sent before: SYNs, FINs and text that are resent."""
    seen: set[tuple[str, str, int, int]] = set()
    repeated = set()
    for flight in flights:
        frame = flight.frame
        if not isinstance(frame, Segment) or not (frame.payload_length or frame.flags & (SYN | FIN)):
            continue
        this = (flight.connection, flight.sender, frame.seq, frame.flags & (SYN | FIN))
        if this in seen:
            repeated.add(flight.order)
        seen.add(this)
    return repeated


def arrow_text(flight: Flight, is_again: bool, many: bool) -> str:
    """What stands on the arrow; ``many``: of several connections, whose ports tell them apart."""
    frame, numbers = flight.frame, numbers_of(flight)
    if not isinstance(frame, Segment) or numbers is None:
        return short(flight.text)
    flags = frame.flags
    head = [name for flag, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (URG, "URG")) if flags & flag]
    if not flags & SYN:
        head += [name for flag, name in ((ECE, "ECE"), (CWR, "CWR")) if flags & flag]
    if flags & ACK and (flags & SYN or not (head or numbers.length)):
        head.append("ACK")
    words = [" ".join(head)] if head else []
    if numbers.length:
        words.append(translate("{count} bytes").format(count=f"{numbers.length:,}"))
    says_seq = head != ["ACK"] or flight.rule in ("probe", "keepalive")
    if says_seq:
        words.append(f"seq {numbers.seq}")
    if numbers.ack and not flags & RST:
        words.append(f"ack {numbers.ack}" if says_seq else numbers.ack)
    words += _extras(flight, frame)
    port = f"[{_port(flight)}] " if many and flight.connection else ""
    return port + ("↻ " if is_again else "") + " ".join(words)


def _extras(flight: Flight, frame: Segment) -> list[str]:
    """A closed window, and what is acknowledged selectively."""
    extras = ["win 0"] if frame.window == 0 and not frame.flags & RST else []
    sack = _SACK.search(flight.text)
    if sack:
        extras.append(f"sack {sack[1].strip()}")
    return extras


def _port(flight: Flight) -> str:
    return flight.connection.split(" > ")[0].rpartition(":")[2]


def what(event: Event) -> str:
    """What happened, translated where it is made of the trace's own words."""
    if isinstance(event, TimerEvent):
        return translate("{timer} {action}").format(timer=translate(event.timer), action=translate(event.action))
    if isinstance(event, Queued):
        return translate("{queue}: {length} of {most}").format(
            queue=translate(event.queue), length=event.length, most=event.most
        )
    if isinstance(event, Moved):
        return event.after
    if isinstance(event, Called) and event.result.startswith("done after "):
        time = event.result.removeprefix("done after ")
        return f"{event.name}: " + translate("returns after {time}").format(time=_joined(time))
    return _joined(event.what())


def is_death(event: Event) -> bool:
    """The host lost its power: its connections are no more."""
    return isinstance(event, Called) and event.name == translate("the host dies")


def _joined(text: str) -> str:
    """Numbers stay with their units."""
    return _UNIT.sub("\\1\u00a0\\2", text)
