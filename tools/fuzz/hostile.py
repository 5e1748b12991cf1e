"""A Stack among hostile peers: operations, one after the other, and what must hold after each of them.

An operation is a plain tuple, so that ``repr`` of a list of them is a test. Which come is ``choice.py``'s business.
"""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

from tools.fuzz.flows import CONNECT_PORT, LISTEN_PORT, MASK, OURS, THEIRS, Flow, Forged, ForgedError
from tools.fuzz.invariants import check_empty, check_stack, require
from tools.fuzz.text import text, wire_text
from ustack import native
from ustack.drops import Drop
from ustack.ring import RingMaker
from ustack.seqnum import unwrap
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.owed import OWE_SYN
from ustack.tcp.sender import buffer
from ustack.tcp.state import State
from ustack.units import SECOND
from ustack.wire.address import ANY, reverse_key
from ustack.wire.frame import Datagram, Fragment, Frame, IcmpMessage, RawTransmit, Refused, Segment, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut
from ustack.wire.tcp import ACK, FIN, RST, SYN

START = 1_000_003_456_789
"""The first instant, most of the time: neither zero nor a whole second."""
MOST_OUTPUT = 5_000
"""Runs that one operation may release; more is an endless output."""
MOST_DEADLINES = 4_000
"""Deadlines that pass until all is over; more is a Stack that never comes to rest."""

Operation = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Setup:
    """The circumstances of one case."""

    settings: tuple[tuple[str, Any], ...] = ()
    listener: tuple[tuple[str, Any], ...] = ()
    backlog: int = 4
    native: bool = False
    mtu: int = 1500
    start: int = START


class Watch:
    """What was seen of one connection so far."""

    def __init__(self, connection: Connection, batch: int) -> None:
        self.iss = connection.sender.iss
        self.batch = batch
        """The batch after which the connection was first seen."""
        self.right = 0
        """The furthest that the peer ever let us send, as the Stack took it."""
        self.offered = -1
        """Our furthest right edge."""
        self.acked = -1
        self.bytes_sent = 0


class World:
    """One Stack, its application, and all the peers that it ever meets."""

    def __init__(self, setup: Setup) -> None:
        settings = Settings().replace(**dict(setup.settings))
        rings: RingMaker = native.NativeRings() if setup.native else RingMaker()
        self.receiver = native.Receiver(1 << 18, 64) if setup.native else None
        self.stack = Stack(settings, entropy=bytes(range(32)), rings=rings)
        for family, prefix in ((4, 24), (6, 64)):
            self.stack.add_address(OURS[family], prefix)
        self.stack.set_mtu(setup.mtu)
        self.mtu = setup.mtu
        self.now = self.start = setup.start
        own = self.options = SocketOptions()
        for name, value in setup.listener:
            setattr(own, name, value)
        self.stack.host.fast_open.make_key()
        self.listener: Listener | None = self.stack.listen(ANY, LISTEN_PORT, setup.backlog, own, self.now)
        self.held: list[Connection] = []
        """What the application holds; closed ones stay until they are dead."""
        self.watches: dict[int, tuple[Connection, Watch]] = {}
        self.cookies: dict[bytes, tuple[int, int]] = {}
        """Of each flow's last SYN-ACK: its sequence number and TSval, which may be all that anybody remembers."""
        self.batch = 0
        self.resets_sent = 0
        self.segments_sent = 0
        self.bare_acks_sent = 0

    # Operations

    def do(self, operation: Operation) -> None:
        """One operation, the output that it releases, and the checks."""
        getattr(self, "_do_" + operation[0])(*operation[1:])
        self.settle()

    def run(self, operations: list[Operation]) -> None:
        """All of them, and the end of everything."""
        for operation in operations:
            self.do(operation)
        self.finish()

    def _do_segments(self, *pairs: tuple[Flow, Forged]) -> None:
        cookies = self.cookies
        self._arrive(
            [forged.build(flow, self.stack, self.now, cookies.get(flow.key, (0, 0))) for flow, forged in pairs]
        )

    def _do_icmp(self, flow: Flow, forged: ForgedError) -> None:
        self._arrive([forged.build(flow, self.stack, self.now)])

    def _do_raw(self, *packets: bytes) -> None:
        self._arrive(list(packets))

    def _do_wait(self, duration: int) -> None:
        """Time passes, deadline by deadline."""
        end = self.now + duration
        steps = 0
        while (deadline := self.stack.next_deadline()) is not None and deadline <= end:
            steps += 1
            require(steps < MOST_DEADLINES, "deadlines without end", duration)
            self._expire(deadline)
            self.settle()
        self.now = end

    def _do_timer(self) -> None:
        """To the next deadline."""
        deadline = self.stack.next_deadline()
        if deadline is not None:
            self._expire(deadline)

    def _expire(self, deadline: int) -> None:
        self.now = max(self.now, deadline)
        self.stack.on_deadline(self.now)

    def _do_spurious(self) -> None:
        """on_deadline too early."""
        self.stack.on_deadline(self.now)

    def _do_accept(self) -> None:
        if self.listener is not None:
            taken = self.listener.accept(self.now)
            if taken is not None:
                require(not taken.in_accept_queue, "accepted, and still in the queue")
                self.held.append(taken)

    def _do_connect(self, family: int, port: int, own_port: int = 0, options: tuple[tuple[str, Any], ...] = ()) -> None:
        own = SocketOptions()
        for name, value in options:
            setattr(own, name, value)
        try:
            made = self.stack.connect(ANY, own_port, THEIRS[family], port, own, self.now)
        except OSError:
            return
        self.held.append(made)

    def _do_open_with(self, index: int, size: int) -> None:
        """The text that a SYN waits for (TCP_FASTOPEN_CONNECT)."""
        connection = self._held(index)
        if connection is not None and connection.fast_open is not None and connection.fast_open.is_deferred:
            taken = connection.open_with(memoryview(text(0, size)), self.now)
            require(0 <= taken <= size, "a SYN took more than it was given", taken)

    def _do_read(self, index: int, size: int) -> None:
        connection = self._held(index)
        if connection is None:
            return
        data = connection.read(size, self.now)
        at = connection.receiver.receive_ring.start - len(data)
        isn = self._isn(connection)
        good = wire_text(connection.receiver.irs + 1 - isn + at, len(data))
        require(data == good, "delivered bytes that nobody sent", (connection, at, len(data)))

    def _do_skip(self, index: int, size: int) -> None:
        connection = self._held(index)
        if connection is not None:
            connection.skip(size, self.now)

    def _do_urgent(self, index: int, size: int) -> None:
        """MSG_OOB, whether there is something or not."""
        connection = self._held(index)
        if connection is not None:
            try:
                connection.read_urgent(peek=size == 1)
            except OSError as error:
                require(error.errno in (errno.EINVAL, errno.EAGAIN), "a strange error", error)

    def _do_look(self, index: int, size: int) -> None:
        """Questions that change nothing."""
        connection = self._held(index)
        if connection is not None:
            connection.info(self.now)
            readable, unread = connection.readable(), connection.unread()
            seen = len(connection.peek(size))
            most = min(size, unread)
            require(seen == most or (seen < most and connection.receiver.rcv_up >= 0), "peek", unread)
            require(readable or not unread, "unread text, and not readable")
            connection.writable()
            connection.unacknowledged()
            repr(connection)

    def _isn(self, connection: Connection) -> int:
        return Flow(4, connection.flow.remote_port, connection.flow.local_port).isn

    def _do_write(self, index: int, size: int, urgent: bool = False) -> None:
        connection = self._held(index)
        if connection is None:
            return
        at = connection.sender.send_ring.end
        try:
            if urgent:
                connection.urgent_follows(min(size, buffer.room(connection.sender)))
            taken = connection.write(text(at, size), self.now)
        except OSError:
            return
        require(0 <= taken <= size, "write took more than it was given", taken)

    def _do_shutdown(self, index: int, how: int) -> None:
        connection = self._held(index)
        if connection is not None:
            connection.shutdown(how, self.now)

    def _do_close(self, index: int) -> None:
        connection = self._held(index)
        if connection is not None:
            connection.close(self.now)
            self.held.remove(connection)

    def _do_abort(self, index: int) -> None:
        connection = self._held(index)
        if connection is not None:
            connection.abort(self.now)
            self.held.remove(connection)

    def _do_set(self, index: int, name: str, value: Any) -> None:
        connection = self._held(index)
        if connection is not None:
            setattr(connection.options, name, value)
            connection.option_changed(name, self.now)

    def _do_unlisten(self) -> None:
        if self.listener is not None:
            self.listener.close(self.now)
            self.listener = None

    def _held(self, index: int) -> Connection | None:
        return self.held[index % len(self.held)] if self.held else None

    # In

    def _arrive(self, packets: list[bytes]) -> None:
        frames = self.receiver.receive_packets(packets) if self.receiver else [parse_packet(p) for p in packets]
        only_resets = all(isinstance(frame, Segment) and frame.flags & RST for frame in frames)
        resets, bare = self.resets_sent, self.bare_acks_sent
        self.stack.on_frames(frames, self.now)
        if self.receiver:
            self.receiver.poison()
        self._flush()
        require(not only_resets or self.resets_sent == resets, "a RST answers a RST")
        acks = self.bare_acks_sent - bare
        require(acks <= _wire_segments(frames) + 2 * len(self.held), "more ACKs than segments", acks)

    # Out

    def settle(self) -> None:
        """What there is to send leaves, and then everything is checked."""
        self._flush()
        stack = self.stack
        while stack.next_event() is not None:
            pass
        deadline = stack.next_deadline()
        if deadline is not None and deadline <= self.now:
            stack.on_deadline(self.now)
            self._flush()
            after = stack.next_deadline()
            require(after is None or after > self.now, "a deadline that does not pass", (after, self.now))
        check_stack(stack, self.now)

    def _flush(self) -> None:
        self.batch += 1
        self._watch_windows()
        count = 0
        outbox = self.stack.host.outbox
        waiting = list(outbox)
        while (transmit := self.stack.poll_transmit(self.now)) is not None:
            count += 1
            require(count < MOST_OUTPUT, "endless output", transmit)
            self._check_transmit(transmit, any(one is transmit for one in waiting))
            waiting = list(outbox)
        self._watch_windows()

    def _watch_windows(self) -> None:
        for connection in self.stack.tcp.connections.values():
            watch = self._watch(connection)
            watch.right = max(watch.right, connection.sender.snd_una + connection.sender.snd_wnd)
        if len(self.watches) > 4 * len(self.stack.tcp.connections) + 64:
            alive = {id(connection) for connection in self.stack.tcp.connections.values()}
            self.watches = {key: pair for key, pair in self.watches.items() if key in alive}

    def _watch(self, connection: Connection) -> Watch:
        pair = self.watches.get(id(connection))
        if pair is None or pair[0] is not connection:
            pair = (connection, Watch(connection, self.batch))
            self.watches[id(connection)] = pair
        return pair[1]

    def _check_transmit(self, transmit: Transmit | RawTransmit, from_outbox: bool) -> None:
        for packet in cut(transmit):
            frame = parse_packet(packet)
            require(not isinstance(frame, Refused), "a packet that we would refuse", frame)
            require(len(packet) <= self.mtu, "a packet longer than the MTU", (len(packet), self.mtu))
            if isinstance(frame, Segment):
                self._check_segment(frame, from_outbox)
            else:
                require(isinstance(frame, (IcmpMessage, Datagram, Fragment)), "something strange leaves", frame)

    def _count(self, segment: Segment) -> None:
        self.segments_sent += 1
        if segment.flags & RST:
            self.resets_sent += 1
        if segment.flags & (SYN | ACK) == SYN | ACK:
            self.cookies[reverse_key(segment.key)] = (segment.seq, segment.ts_val)
        if not segment.payload_length and not segment.flags & (SYN | FIN | RST):
            self.bare_acks_sent += 1

    def _check_segment(self, segment: Segment, from_outbox: bool) -> None:
        self._count(segment)
        connection = self.stack.tcp.connections.get(reverse_key(segment.key))
        if connection is None or connection.state is State.CLOSED:
            return
        watch = self._watch(connection)
        if from_outbox and watch.batch == self.batch:
            return  # owed to the key before this connection began in the same batch: by a request, a cookie, TIME-WAIT
        is_early = connection.owed.has(OWE_SYN) and not from_outbox  # where the answers to refused segments wait
        require(not is_early, "something leaves before the SYN", (connection, segment.flags))
        if segment.flags & SYN:
            require(segment.seq == connection.sender.iss & MASK, "a SYN of another ISN", (connection, segment.seq))
        seq = unwrap(segment.seq, connection.sender.snd_una)
        start = seq + (1 if segment.flags & SYN else 0)
        end = start + segment.payload_length + (1 if segment.flags & FIN else 0)
        if not segment.flags & RST:
            require(end <= connection.sender.snd_nxt, "sends what is not counted as sent", (connection, segment.flags))
        if segment.payload_length:
            wanted = text(start - connection.sender.iss - 1, segment.payload_length)
            require(segment.payload == wanted, "wrong bytes sent", connection)
            if segment.flags & SYN:  # nobody knows the peer's window and MSS yet
                watch.right = max(watch.right, end)
                return
            text_end = start + segment.payload_length  # the FIN takes no window
            require(text_end <= watch.right, "beyond the peer's window", (connection, text_end - watch.right))
            require(
                segment.payload_length <= max(connection.agreed.peer_mss, 48), "a segment longer than the peer's MSS"
            )
        if segment.flags & ACK and not segment.flags & (SYN | RST):
            self._check_ack(connection, watch, segment)

    def _check_ack(self, connection: Connection, watch: Watch, segment: Segment) -> None:
        ack = unwrap(segment.ack, connection.receiver.rcv_nxt)
        right = ack + (segment.window << connection.agreed.rcv_wscale)
        require(ack >= watch.acked, "the ACK goes back", (ack, watch.acked))
        if segment.window or not self.stack.counters["TCPRcvQDrop"]:  # Linux shuts the window where the buffer is full
            require(right >= watch.offered, "the right edge is taken back", (connection, right - watch.offered))
        require(ack <= connection.receiver.rcv_nxt, "acknowledges what is not here")
        watch.acked, watch.offered = ack, right

    # The end

    def finish(self) -> None:
        """The application closes everything and the peers fall silent: all must be over in a bounded time."""
        while self.listener is not None and self.listener.queue:
            self.do(("accept",))
        self.do(("unlisten",))
        while self.held:
            self.do(("close", 0))
        for _ in range(MOST_DEADLINES):
            if self.stack.next_deadline() is None:
                break
            self.do(("timer",))
        took = self.now - self.start
        require(took < 48 * 3600 * SECOND, "the end takes more than two days", took)
        check_empty(self.stack)


def _wire_segments(frames: list[Frame]) -> int:
    return sum(frame.segs if isinstance(frame, Segment) else 1 for frame in frames)


__all__ = ["CONNECT_PORT", "MASK", "Drop", "Operation", "Setup", "World"]
