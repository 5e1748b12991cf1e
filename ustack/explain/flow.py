"""One connection of a capture: its segments in order, each with what can be told of it when it passed.

The observer may stand anywhere between the ends. So "unseen" means that a segment did not pass here, which is not the
same as that it was not sent.
"""

from __future__ import annotations

from ustack.cli.lifelines import End as Life
from ustack.cli.lifelines import move
from ustack.explain.segment import End, IcmpError, Seen
from ustack.ranges import RangeSet
from ustack.seqnum import unwrap
from ustack.tcp.state import State
from ustack.wire.tcp import ACK, FIN, RST, SYN

NEW, RESENT, LATE, KEEPALIVE, PROBE, PURE = "new", "resent", "late", "keepalive", "probe", "pure"
STRAY = "stray"
"""What a segment is: new text (or SYN, FIN); sent before; new here, below what was seen; a keep-alive; a window probe;
nothing that takes sequence numbers; what does not belong to this connection by its numbers."""
_NEAR = 1 << 26
"""Numbers that are no further apart may be of one connection."""


class Half(Life):
    """One end, and what it has sent. Sequence numbers are unbounded (``seqnum.unwrap``)."""

    def __init__(self, end: End, state: State) -> None:
        super().__init__(str(end), state)
        self.end = end
        self.mss = -1
        self.offered_scale = -1
        """The window scale of its SYN; -1 none, or no SYN was seen."""
        self.sack_ok = False
        self.first = -1
        """The first sequence number seen of it."""
        self.una = -1
        """What the other end has acknowledged of it."""
        self.edge = -1
        """How far the other end lets it send; -1 unknown."""
        self.window = -1
        """The last window that it offered; -1 unknown."""
        self.largest_window = 0
        self.sent = RangeSet()
        self.by_start: dict[int, Seen] = {}
        self.text: list[Seen] = []
        """Its segments that take sequence numbers."""
        self.unseen_bytes = 0
        """Acknowledged by the other end, but never seen here."""
        self.fastest_ack = -1
        """Shortest time from text of this end to its ACK, ns; -1 none."""
        self.longest = 0
        """Text of its longest segment."""
        self.segs = 0
        self.bytes = 0
        self.is_known = False
        """One of its segments was seen."""


class Flow:
    """One connection. Side 0 is the client, where a SYN says who that is."""

    def __init__(self, first: Seen) -> None:
        opening = first.flags & (SYN | ACK)
        self.has_syn = bool(first.flags & SYN)
        forth = opening != SYN | ACK
        start = State.CLOSED if self.has_syn else State.ESTABLISHED
        answer = State.LISTEN if self.has_syn else State.ESTABLISHED
        ends = (first.source, first.destination) if forth else (first.destination, first.source)
        self.halves = (Half(ends[0], start), Half(ends[1], answer))
        if opening == SYN | ACK:
            self.halves[0].state, self.halves[1].state = State.SYN_SENT, State.SYN_RECEIVED
        self.segments: list[Seen] = []
        self.copies: list[Seen] = []
        """Segments that the capture holds twice: they count no more."""
        self.icmp: list[IcmpError] = []
        self.inside: Flow | None = None
        """The connection between the same ends that was not over when this one's SYN came."""
        self.met: list[int] = []
        """Packets of that one that answered this one's SYN."""
        self.handshake_rtt = -1
        self._syn_at: int | None = None
        """When the only SYN of the client left; -1 when there were more: which one was answered is not known."""

    # What it is

    def name(self, side: int) -> str:
        """How sentences call an end."""
        return ("the client", "the server")[side] if self.has_syn else str(self.halves[side].end)

    def is_over(self) -> bool:
        """Nothing but TIME-WAIT is left at either end."""
        return all(half.state in (State.CLOSED, State.TIME_WAIT) for half in self.halves)

    def scales(self) -> bool | None:
        """Whether windows are scaled; None where that cannot be known, as the SYNs are missing."""
        if not all(half.has_opened for half in self.halves):
            return None
        return all(half.offered_scale >= 0 for half in self.halves)

    def rtt(self) -> int:
        """The round trip in ns: of the handshake, else the sum of the fastest ACKs of both; -1 unknown."""
        if self.handshake_rtt >= 0:
            return self.handshake_rtt
        known = [half.fastest_ack for half in self.halves if half.fastest_ack >= 0]
        return sum(known) if known else -1

    def duration(self) -> int:
        """From the first segment to the last, ns."""
        return self.segments[-1].at - self.segments[0].at if self.segments else 0

    def mss_of(self, side: int) -> int:
        """The longest text that ``side`` may put in a segment: what the other end's SYN said; 0 unknown."""
        return max(0, self.halves[1 - side].mss) or 0

    # What passes

    def restarts(self, seen: Seen) -> bool:
        """Whether ``seen`` is the SYN of another connection between the same ends."""
        if seen.flags & (SYN | ACK | RST) != SYN:
            return False
        half = self.halves[self.side_of(seen)]
        if half.has_opened:
            return (half.isn - seen.seq) & 0xFFFFFFFF != 0
        return not any(other.has_opened for other in self.halves)

    def fits(self, seen: Seen) -> bool:
        """Whether its numbers are near those of this connection."""
        side = self.side_of(seen)
        numbers = [(seen.seq, self.halves[side].highest)]
        if seen.flags & ACK:
            numbers.append((seen.raw_ack, self.halves[1 - side].highest))
        return all(known < 0 or abs(unwrap(wire, known) - known) < _NEAR for wire, known in numbers)

    def side_of(self, seen: Seen) -> int:
        """Which end sent it."""
        return 0 if seen.source == self.halves[0].end else 1

    def add(self, seen: Seen) -> None:
        """The next segment."""
        side = self.side_of(seen)
        sender, receiver = self.halves[side], self.halves[1 - side]
        seen.side, seen.index = side, len(self.segments)
        self.segments.append(seen)
        if self._is_stray(seen, sender, receiver):
            seen.kind = STRAY
            return
        self._open(seen, sender)
        seen.start = unwrap(seen.seq, sender.highest)
        seen.end = seen.start + seen.space()
        self._take_ack(seen, sender, receiver)
        seen.acknowledged, seen.edge = sender.una, sender.edge
        seen.kind = self._kind(seen, sender, receiver)
        seen.flight = max(0, seen.end - max(sender.una, sender.first))
        if seen.kind not in (PURE, KEEPALIVE) and seen.space():
            _keep(seen, sender)
        self._take_window(seen, sender, receiver)
        if seen.flags & RST and sender.state is State.SYN_RECEIVED and not sender.has_opened:
            sender.state = State.CLOSED
        if not seen.flags & RST or sender.una <= seen.start <= sender.highest:
            move(seen.flags, sender, receiver)  # a RST with another number is not believed (RFC 5961 section 3)
        sender.segs += 1

    @staticmethod
    def _is_stray(seen: Seen, sender: Half, receiver: Half) -> bool:
        """An answer to the SYN that does not acknowledge it: of an older connection."""
        if seen.flags & (SYN | RST | ACK) != ACK or sender.has_opened or not receiver.has_opened:
            return False
        ahead = (seen.raw_ack - receiver.isn - 1) & 0xFFFFFFFF
        return ahead > max(0, receiver.highest - receiver.isn - 1)

    def _open(self, seen: Seen, sender: Half) -> None:
        is_syn = bool(seen.flags & SYN)
        if not sender.is_known:
            sender.is_known = True
            sender.isn = seen.seq if is_syn else seen.seq - 1
            sender.highest = sender.first = seen.seq
            if sender.una < 0:
                sender.una = seen.seq
        if is_syn and not sender.has_opened:
            sender.has_opened = True
            sender.mss, sender.offered_scale, sender.sack_ok = seen.mss, seen.wscale, seen.sack_ok
        if seen.flags & (SYN | ACK) == SYN:
            self._syn_at = seen.at if self._syn_at is None else -1
        elif (self._syn_at or 0) >= 0 and seen.side == 0 and self.halves[1].has_opened and self.handshake_rtt < 0:
            self.handshake_rtt = -1 if self._syn_at is None else seen.at - self._syn_at

    def _take_ack(self, seen: Seen, sender: Half, receiver: Half) -> None:
        if not seen.flags & ACK:
            return
        if receiver.highest < 0:  # its own segments are yet to be seen, or never will
            receiver.isn = seen.raw_ack - 1
            receiver.highest = receiver.first = receiver.una = seen.raw_ack
        seen.ack = unwrap(seen.raw_ack, receiver.highest)
        seen.sack = [(unwrap(low, seen.ack), unwrap(high, seen.ack)) for low, high in seen.sack_wire]
        if seen.flags & RST:
            return
        if seen.ack > receiver.highest and seen.ack - receiver.highest < 1 << 30:
            if receiver.is_known:
                receiver.unseen_bytes += seen.ack - receiver.highest
            receiver.highest = seen.ack
        if seen.ack > receiver.una:
            _time_ack(seen, receiver)
            receiver.una = seen.ack
        receiver.acked = max(receiver.acked, seen.ack)

    def _take_window(self, seen: Seen, sender: Half, receiver: Half) -> None:
        """Windows count from the last ACK number; a RST offers none."""
        if seen.flags & RST or (not seen.flags & ACK and not seen.flags & SYN):
            return
        scales = self.scales()
        if seen.flags & SYN:
            seen.window = seen.raw_window
        elif scales is not None:
            seen.window = seen.raw_window << (sender.offered_scale if scales else 0)
        elif seen.raw_window == 0:
            seen.window = 0
        if seen.ack >= receiver.una:  # an old ACK says nothing of today
            sender.window = seen.window
            sender.largest_window = max(sender.largest_window, seen.window)
            if seen.flags & ACK:
                receiver.edge = -1 if seen.window < 0 else max(receiver.edge, seen.ack + seen.window)

    def _kind(self, seen: Seen, sender: Half, receiver: Half) -> str:
        if seen.flags & RST:
            return PURE
        is_bare = not seen.flags & (SYN | FIN)
        if is_bare and seen.length <= 1 and seen.start == sender.highest - 1 == sender.una - 1:
            if sender.highest <= sender.first:
                return PURE
            return PROBE if receiver.window == 0 else KEEPALIVE
        if not seen.space():
            is_probe = receiver.window == 0 and seen.start == sender.una - 1
            return PROBE if is_probe else PURE
        if receiver.window == 0 and seen.length == 1 and is_bare and seen.start >= sender.una:
            return PROBE
        if seen.start >= sender.highest:
            return NEW
        if sender.sent.overlap(seen.start, seen.end) or seen.start < sender.first:
            return RESENT if seen.start >= sender.first else NEW
        return LATE


def _time_ack(seen: Seen, receiver: Half) -> None:
    """The time that this ACK took, when it is the first to cover a whole segment that was sent once."""
    for one in reversed(receiver.text[-64:]):
        if one.end == seen.ack and one.kind == NEW and not one.is_resent and one.length:
            took = seen.at - one.at
            if receiver.fastest_ack < 0 or took < receiver.fastest_ack:
                receiver.fastest_ack = took
            return


def _keep(seen: Seen, sender: Half) -> None:
    """Brings along what an end has sent."""
    if seen.kind == RESENT:
        seen.original = sender.by_start.get(seen.start) or _covering(sender, seen.start)
        if seen.original is not None:
            seen.count = seen.original.count + 1
            seen.original.is_resent = True
    sender.sent.add(seen.start, seen.end)
    sender.by_start[seen.start] = seen
    sender.text.append(seen)
    sender.longest = max(sender.longest, seen.length)
    if seen.kind in (NEW, LATE):
        sender.bytes += seen.length
    if seen.flags & FIN:
        sender.fin_end = seen.end
    sender.highest = max(sender.highest, seen.end)


def _covering(sender: Half, start: int) -> Seen | None:
    """The last segment that held the byte ``start``."""
    for one in reversed(sender.text[-4096:]):
        if one.start <= start < one.end:
            return one
    return None
