"""The wire between two sides, and what a question may do to the packets on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ustack.device.impairment import parse_impairment
from ustack.lab.report import Flight
from ustack.lab.side import Side
from ustack.sim.network import SimHost, SimLink
from ustack.units import SECOND
from ustack.wire import ipv4
from ustack.wire.frame import Frame, Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, TcpHeader, build_segment

_FLAGS = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST, "PSH": PSH, "URG": URG}
ALWAYS = 1 << 60


@dataclasses.dataclass
class Rule:
    """What happens to some packets of one side. ``first`` and ``count``: which of those that match, from now on."""

    sender: str
    match: Callable[[Frame], bool]
    action: str
    first: int
    count: int
    by: int = 0
    seen: int = 0
    packets: list[bytes] = dataclasses.field(default_factory=list)

    def applies(self, sender: str, packet: bytes) -> bool:
        """This packet is one of them."""
        frame = parse_packet(packet)
        if sender != self.sender or not self.match(frame):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.count


class LabLink:
    """A link of the lab. ``nth`` counts the segments that match from the call on, from 1; ``count``: so many of them.

    What matches: ``has`` names flags that must be set (``"SYN ACK"``), ``lacks`` flags that must not, ``text`` says
    whether there is text in it, ``where`` is a predicate of one's own. ``kind`` is what it is about instead of TCP's
    segments: ``Datagram``, ``Fragment``, ``IcmpMessage`` of ``ustack.wire.frame``.
    """

    def __init__(self, link: SimLink, note: Callable[..., None]) -> None:
        self.sim = link
        self._note = note
        self.rules: list[Rule] = []
        link.tamper = self._tamper

    def lose(self, sender: Side, **which: object) -> Rule:
        """Segments of ``sender`` are lost."""
        return self._add(sender, "lost", 0, which)

    def hold(self, sender: Side, by: float, **which: object) -> Rule:
        """Segments of ``sender`` take ``by`` seconds longer than others: they may be overtaken."""
        return self._add(sender, "held", round(by * SECOND), which)

    def repeat(self, sender: Side, by: float = 0.0, **which: object) -> Rule:
        """A copy of segments of ``sender`` arrives ``by`` seconds after them."""
        return self._add(sender, "repeated", round(by * SECOND), which)

    def keep(self, sender: Side, **which: object) -> Rule:
        """The network keeps a copy of segments of ``sender``, in the rule's ``packets``: for :meth:`replay`."""
        return self._add(sender, "kept", 0, which)

    def corrupt(self, sender: Side, **which: object) -> Rule:
        """One bit of the segments' last byte is turned."""
        return self._add(sender, "corrupted", 0, which)

    def forget(self, *rules: Rule) -> None:
        """These rules count no more; without an argument all of them."""
        self.rules = [rule for rule in self.rules if rules and rule not in rules]

    @property
    def round_trip(self) -> float:
        """Seconds that the link alone takes, there and back."""
        return sum(path.impairment.delay for path in self.sim.paths) / SECOND

    def cut(self) -> None:
        """The cable is out: whatever is sent is lost."""
        self.sim.is_up = False

    def heal(self) -> None:
        """The cable is back."""
        self.sim.is_up = True

    def change(self, impairment: str) -> None:
        """Another behaviour from now on, both ways (``delay=20ms,loss=1%``)."""
        self.sim.change(parse_impairment(impairment))

    def _add(self, sender: Side, action: str, by: int, which: dict[str, object]) -> Rule:
        rule = Rule(sender.name, matcher(which), action, int(str(which.get("nth", 1))), _count(which), by)
        self.rules.append(rule)
        return rule

    def _tamper(self, sender: SimHost, packet: bytes) -> list[bytes]:
        fate = "" if self.sim.is_up else "lost"
        rule = None
        for candidate in self.rules:
            if not candidate.applies(sender.name, packet):
                continue
            if candidate.action == "kept":
                candidate.packets.append(packet)
            elif rule is None:
                rule = candidate
                fate = rule.action if self.sim.is_up else "lost"
        crossing = packet[:-1] + bytes([packet[-1] ^ 1]) if fate == "corrupted" else packet
        self._note(sender.name, packet, fate, crossing)
        if rule is None or not self.sim.is_up:
            return [packet]
        if rule.action == "lost":
            return []
        if rule.action == "corrupted":
            return [crossing]
        sender.network.clock.after(rule.by, lambda: self.replay(sender, packet))
        return [packet] if rule.action == "repeated" else []

    def replay(self, sender: Side | SimHost, packet: bytes) -> None:
        """The network delivers a packet of ``sender`` once more, or late: no rule applies to it."""
        self._put(sender if isinstance(sender, SimHost) else self.place_of(sender), packet, "late")

    def forge(self, like: Flight, **changes: Any) -> None:
        """Somebody sends a segment in the name of ``like``'s sender: as that one, but for ``flags`` (``"RST"``),
        ``seq`` and ``ack`` (as they stand on the wire), ``window``, ``options`` (bytes) and ``text`` (bytes).
        """
        was = like.frame
        assert isinstance(was, Segment)
        at = 4 * (like.packet[0] & 15)
        options = like.packet[at + 20 : at + 4 * (like.packet[at + 12] >> 4)]  # its timestamps, too
        fields: dict[str, Any] = {"flags": was.flags, "seq": was.seq, "ack": was.ack, "window": was.window}
        fields |= {"options": options, "text": b""}
        unknown = set(changes) - set(fields)
        if unknown:
            raise TypeError(f"unknown: {', '.join(sorted(unknown))}")
        fields |= changes
        flags = fields["flags"] if isinstance(fields["flags"], int) else _flags(fields["flags"])
        seq, ack = fields["seq"] & 0xFFFFFFFF, fields["ack"] & 0xFFFFFFFF
        header = TcpHeader(was.source_port, was.destination_port, seq, ack, flags, fields["window"])
        ends = was.source, was.destination
        packet = ipv4.build(*ends, 6, build_segment(*ends, header, bytes(fields["options"]), fields["text"]))
        self._put(next(end for end in self.sim.ends if end.name == like.sender), packet, "forged")

    def _put(self, place: SimHost, packet: bytes, fate: str) -> None:
        packet = bytes(bytearray(packet))  # another object: it is another journey
        self._note(place.name, packet, fate if self.sim.is_up else "lost", packet, late=True)
        tamper, self.sim.tamper = self.sim.tamper, None
        self.sim.carry(place, packet)
        self.sim.tamper = tamper

    def place_of(self, side: Side) -> SimHost:
        """The end of the link that a side is."""
        return next(end for end in self.sim.ends if end.name == side.name)


def _count(which: dict[str, object]) -> int:
    return int(str(which.get("count", 1 if "nth" in which else ALWAYS)))


def matcher(which: dict[str, object]) -> Callable[[Frame], bool]:
    """What ``kind``, ``has``, ``lacks``, ``text`` and ``where`` ask of a packet. Raises TypeError for another word."""
    unknown = set(which) - {"nth", "count", "has", "lacks", "text", "where", "kind"}
    if unknown:
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}")
    wanted = _flags(which.get("has"))
    unwanted = _flags(which.get("lacks"))
    text, where, kind = which.get("text"), which.get("where"), which.get("kind", Segment)
    assert isinstance(kind, type)

    def match(frame: Frame) -> bool:
        if not isinstance(frame, kind):
            return False
        if isinstance(frame, Segment):
            if frame.flags & wanted != wanted or frame.flags & unwanted:
                return False
            if text is not None and bool(frame.payload_length) is not text:
                return False
        return bool(where(frame)) if callable(where) else True

    return match


def _flags(names: object) -> int:
    return sum(_FLAGS[name] for name in str(names).split()) if names else 0
