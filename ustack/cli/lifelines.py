"""What both ends of a TCP connection went through, read off the segments that passed between them.

The observer stands at one end's device, so that end's state is exact; the other end's is the state it has
once it has seen what passed (RFC 9293 figure 5, by the same table that drives ustack's own connections).
"""

from __future__ import annotations

import dataclasses

from ustack.seqnum import unwrap
from ustack.tcp.state import TABLE, Input, State
from ustack.wire import tcp
from ustack.wire.address import format_address
from ustack.wire.frame import Segment
from ustack.wire.tcp import TcpOptions, parse_options


class End:
    """One end of a connection, as far as its segments tell."""

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.state = state
        self.isn = -1
        """Sequence number of its SYN, -1 unknown (the capture began later)."""
        self.highest = -1
        """One past the highest sequence number it sent; unbounded, -1 nothing yet."""
        self.fin_end = -1
        """One past its FIN."""
        self.acked = -1
        """The highest acknowledgment the other end sent it."""
        self.wscale = 0
        self.has_opened = False
        """It sent a SYN of its own."""

    def see(self, event: Input) -> None:
        """Moves along figure 5; what has no arrow there (a repeat, say) changes nothing."""
        self.state = TABLE.get((self.state, event), self.state)

    def relative(self, seq: int) -> int:
        """``seq`` counted from this end's SYN (0), or from the first number seen."""
        return seq - self.isn


@dataclasses.dataclass(frozen=True)
class Row:
    """One segment, and the states of both ends once it has arrived."""

    at: int
    """Nanoseconds, on the capture's clock."""
    from_left: bool
    label: str
    left: State
    right: State
    length: int
    is_plain: bool
    """Neither SYN, FIN nor RST, and no state changed."""


class Lifeline:
    """One connection. The end that sent the first SYN stands on the left."""

    def __init__(self, first: Segment, at: int) -> None:
        opening = first.flags & (tcp.SYN | tcp.ACK)
        forth = opening != tcp.SYN | tcp.ACK
        start = State.CLOSED if opening & tcp.SYN else State.ESTABLISHED
        answer = State.LISTEN if opening & tcp.SYN else State.ESTABLISHED
        source, destination = _name(first, True), _name(first, False)
        self.left = End(source if forth else destination, start)
        self.right = End(destination if forth else source, answer)
        if opening == tcp.SYN | tcp.ACK:
            self.left.state, self.right.state = State.SYN_SENT, State.SYN_RECEIVED
        self.started_at = at
        self.first_states = (self.left.state, self.right.state)
        self.rows: list[Row] = []
        self.is_shown = False

    def is_over(self) -> bool:
        """Whether nothing but TIME-WAIT is left of it at either end."""
        return all(end.state in (State.CLOSED, State.TIME_WAIT) for end in (self.left, self.right))

    def see(self, segment: Segment, at: int) -> Row:
        """One more segment passed."""
        from_left = _name(segment, True) == self.left.name
        sender, receiver = (self.left, self.right) if from_left else (self.right, self.left)
        before = (self.left.state, self.right.state)
        options = parse_options(segment.options)
        is_repeat = self._count(segment, sender, options)
        ack = self._acknowledge(segment, sender, receiver)
        if segment.flags & tcp.RST and sender.state is State.SYN_RECEIVED and not sender.has_opened:
            self._nobody_listens(sender)
        move(segment.flags, sender, receiver)
        label = _label(segment, sender, receiver, ack, options) + (" (again)" if is_repeat else "")
        after = (self.left.state, self.right.state)
        plain = after == before and not segment.flags & (tcp.SYN | tcp.FIN | tcp.RST)
        row = Row(at, from_left, label, after[0], after[1], segment.payload_length, plain)
        self.rows.append(row)
        return row

    def _nobody_listens(self, end: End) -> None:
        """A SYN was answered with RST: that end never was in LISTEN, as was assumed."""
        end.state = State.CLOSED
        if end is self.right:
            self.first_states = (self.first_states[0], State.CLOSED)
            self.rows = [dataclasses.replace(row, right=State.CLOSED) for row in self.rows]

    def _count(self, segment: Segment, sender: End, options: TcpOptions) -> bool:
        """Brings the sender's numbers along. Whether it has sent all of this before."""
        flags = segment.flags
        if sender.isn < 0:
            sender.isn = segment.seq if flags & tcp.SYN else segment.seq - 1
            sender.highest = segment.seq
        if flags & tcp.SYN:
            sender.has_opened = True
        if flags & tcp.SYN and options.wscale >= 0:
            sender.wscale = options.wscale
        space = segment.payload_length + (1 if flags & tcp.SYN else 0) + (1 if flags & tcp.FIN else 0)
        end = unwrap(segment.seq, sender.highest) + space
        is_repeat = space > 0 and end <= sender.highest
        sender.highest = max(sender.highest, end)
        if flags & tcp.FIN:
            sender.fin_end = end
        return is_repeat

    def _acknowledge(self, segment: Segment, sender: End, receiver: End) -> int:
        """The acknowledgment number, relative; -1 for none."""
        if not segment.flags & tcp.ACK:
            return -1
        if receiver.isn < 0:
            receiver.isn = segment.ack - 1
            receiver.highest = segment.ack
        ack = unwrap(segment.ack, receiver.highest)
        if ack <= receiver.highest:
            receiver.acked = max(receiver.acked, ack)
        return receiver.relative(ack)


def move(flags: int, sender: End, receiver: End) -> None:
    """The inputs of figure 5 that a segment with ``flags`` stands for, first the sender's, then the receiver's."""
    if flags & tcp.RST:
        sender.see(Input.RESET)
        receiver.see(Input.RESET)
        return
    if flags & tcp.SYN and not flags & tcp.ACK:
        sender.see(Input.SYN_SENT)
    if flags & tcp.FIN:
        sender.see(Input.FIN_SENT)
    if flags & tcp.SYN and not (flags & tcp.ACK and receiver.state is State.SYN_SENT):
        receiver.see(Input.SYN_RECEIVED)
    if flags & tcp.ACK:
        if receiver.acked > receiver.isn:
            receiver.see(Input.SYN_ACKED)
        if receiver.fin_end >= 0 and receiver.acked >= receiver.fin_end:
            receiver.see(Input.FIN_ACKED)
    if flags & tcp.FIN:
        receiver.see(Input.FIN_RECEIVED)


_FLAGS = (
    (tcp.SYN, "SYN"), (tcp.FIN, "FIN"), (tcp.RST, "RST"), (tcp.PSH, "PSH"), (tcp.URG, "URG"),
    (tcp.ECE, "ECE"), (tcp.CWR, "CWR"), (tcp.ACK, "ACK"),
)  # fmt: skip


def _label(segment: Segment, sender: End, receiver: End, ack: int, options: TcpOptions) -> str:
    flags = segment.flags
    words = [name for flag, name in _FLAGS if flags & flag]
    seq = sender.relative(unwrap(segment.seq, sender.highest))
    if segment.payload_length:
        words.append(f"{seq}:{seq + segment.payload_length}({segment.payload_length})")
    elif flags & (tcp.SYN | tcp.FIN | tcp.RST):
        words.append(f"seq {seq}")
    if ack >= 0:
        words.append(f"ack {ack}")
    if not flags & tcp.RST:
        scale = 0 if flags & tcp.SYN else (sender.wscale if receiver.wscale else 0)
        words.append(f"win {segment.window << scale}")
    if options.mss >= 0:
        words.append(f"mss {options.mss}")
    if options.wscale >= 0:
        words.append(f"ws {options.wscale}")
    if options.sack_permitted:
        words.append("sackOK")
    if options.sack:
        blocks = [(_relative(receiver, start), _relative(receiver, end)) for start, end in options.sack]
        words.append("sack " + " ".join(f"{start}:{end}" for start, end in blocks))
    return " ".join(words)


def _relative(end: End, wire: int) -> int:
    return end.relative(unwrap(wire, end.highest))


def _name(segment: Segment, source: bool) -> str:
    address = format_address(segment.source if source else segment.destination)
    port = segment.source_port if source else segment.destination_port
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Lifelines:
    """The connections that a device sees, in order. A new SYN on an old pair of endpoints begins a new one.

    Beyond ``most`` the oldest are forgotten.
    """

    def __init__(self, most: int = 1 << 62) -> None:
        self.connections: list[Lifeline] = []
        self._most = most
        self._open: dict[frozenset[str], Lifeline] = {}

    def see(self, segment: Segment, at: int) -> Lifeline:
        """Hands the segment to its connection, which is returned."""
        pair = frozenset((_name(segment, True), _name(segment, False)))
        line = self._open.get(pair)
        opens = segment.flags & (tcp.SYN | tcp.ACK) == tcp.SYN
        if line is None or (opens and line.is_over()):
            line = Lifeline(segment, at)
            self._open[pair] = line
            self.connections.append(line)
            self._forget()
        line.see(segment, at)
        return line

    def _forget(self) -> None:
        if len(self.connections) <= self._most:
            return
        oldest = self.connections.pop(0)
        self._open = {pair: line for pair, line in self._open.items() if line is not oldest}
