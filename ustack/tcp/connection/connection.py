"""A connection as its holders see it: the sans-IO calls of the Stack, and those of the application.

Of the same shape as the Stack, but it speaks Segments where the Stack speaks Frames. Every call
carries ``now``. After a call that may send, the connection stands in the Stack's queue (``touch``),
and the Stack's ``poll_transmit`` asks it.
"""

from __future__ import annotations

import errno
from typing import Final

from ustack.drops import Drop
from ustack.errors import from_errno
from ustack.tcp.common import rto_bounds
from ustack.tcp.connection import arrival, closing, fast_open, keepalive, timeouts, transmit
from ustack.tcp.connection.info import TcpInfo
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.owed import OWE_ACK
from ustack.tcp.receiver import ack_policy, urgent, window
from ustack.tcp.sender import acks, buffer, bursts, control, loss
from ustack.tcp.state import State, may_send_text
from ustack.tcp.timers import Timer
from ustack.wire.frame import Segment, Transmit

RETRY: Final = 10_000_000
"""What found no memory is tried again after this many ns."""

SHUT_RD: Final = 0
SHUT_WR: Final = 1
SHUT_RDWR: Final = 2


class Connection(Tcb):
    """One TCP connection (RFC 9293). Made by ``Stack.connect`` and by a Listener, never directly."""

    # What the Stack calls

    def on_segment(self, segment: Segment, now: int) -> bool:
        """A segment of this connection arrived. True: answer it with a RST."""
        self.touch()
        return arrival.on_segment(self, segment, now)

    def on_deadline(self, now: int) -> None:
        """A timer may be due; early or spurious calls do nothing."""
        self.touch()
        timeouts.on_deadline(self, now)

    def next_deadline(self) -> int:
        """When ``on_deadline`` is due, ns; 0: no timer runs."""
        return self.timers.deadline()

    def poll_transmit(self, now: int) -> Transmit | None:
        """The next run or segment that may leave now; it counts as sent. Call until None."""
        return transmit.next_transmit(self, now)

    def out_of_memory(self, now: int) -> None:
        """What was under way found no memory: it counts as dropped, and is tried again in a while."""
        self.host.counters.drop(Drop.NO_MEMORY)
        if not self.sender.scoreboard.is_empty and not self.timers.is_armed(Timer.RETRANSMIT):
            loss.rearm_rto(self.sender, now)
        self.timers.arm(Timer.PACING, now + RETRY)

    def finish_step(self, now: int) -> None:
        """A segment found no memory amid its step: what an ACK of it moved moves the rest, too, and nothing waits for
        an answer that the peer has no reason to give."""
        sender = self.sender
        if self.state is not State.CLOSED and not self.is_opening():
            if sender.scoreboard.una > sender.snd_una:
                acks.release(sender, sender.scoreboard.una)
            closing.after_ack(self, now)
            if self.receiver.acks.scheduled:
                self.owed.add(OWE_ACK)
        if not sender.scoreboard.is_empty and not self.timers.is_armed(Timer.RETRANSMIT):
            loss.rearm_rto(sender, now)
        self.touch()

    # Names

    @property
    def local(self) -> tuple[bytes, int]:
        return self.flow.local_address, self.flow.local_port

    @property
    def remote(self) -> tuple[bytes, int]:
        return self.flow.remote_address, self.flow.remote_port

    def __repr__(self) -> str:
        return f"<Connection {self.state.name} port {self.flow.local_port} peer port {self.flow.remote_port}>"

    # Text out

    def write(self, data: object, now: int, how: int = 0) -> int:
        """Copy as much of ``data`` as fits into the send buffer; how much that was (0: wait for WRITABLE).

        ``how``: MORE_FOLLOWS, ENDS_RECORD of ``sender.buffer``.
        Raises what ended the connection, and EPIPE after shutdown or in a state that does not send.
        """
        if not self._may_send():
            if self.error:
                raise from_errno(self.take_error())
            if self.state is State.SYN_SENT or self.state is State.SYN_RECEIVED:
                return 0
            raise from_errno(errno.EPIPE)
        taken = buffer.write(self.sender, data, how, now)
        self.touch()
        return taken

    def _may_send(self) -> bool:
        return not self.sender.fin_queued and (may_send_text(self.state) or self.is_opened_early())

    def is_opening(self) -> bool:
        """The handshake is not done, and nothing can be read or written before."""
        if self.state is State.SYN_SENT:
            return True
        return self.state is State.SYN_RECEIVED and not self.is_opened_early()

    def open_with(self, data: memoryview, now: int) -> int:
        """Send as much of ``data`` with the SYN, which has not left yet, as Fast Open allows; how much that is."""
        return fast_open.begin(self, data, now)

    def expect_write(self, soon: bool) -> None:
        """A writer waits for the connection to open: its text is to carry the third ACK."""
        if self.fast_open is not None:
            self.fast_open.writer_waits = soon

    def writable(self) -> bool:
        """A write would take something, or raise."""
        if self.is_opening():
            return False
        if not self._may_send():
            return True
        return buffer.has_room(self.sender)

    def await_room(self) -> None:
        """Where a write would take nothing: WRITABLE is to tell when it would."""
        if not self.is_opening():
            buffer.await_room(self.sender)

    def urgent_follows(self, length: int) -> None:
        """The last of the next ``length`` bytes written is urgent (MSG_OOB; RFC 6093)."""
        buffer.mark_urgent(self.sender, length)

    def unacknowledged(self) -> int:
        """Bytes written and not acknowledged (SIOCOUTQ)."""
        return self.sender.send_ring.end - self.sender.send_ring.start

    # Text in

    def read(self, size: int, now: int) -> bytes:
        """Up to ``size`` bytes; b"" when there are none now, or at the end (see ``at_eof``)."""
        if self.receiver.rcv_up >= 0:
            size = urgent.begin_read(self.receiver, size)
        data = self.receiver.receive_ring.read(size)
        if data:
            self._after_read(len(data), now)
        return data

    def read_into(self, buffer: object, now: int) -> int:
        """The same into ``buffer`` (writable, bytes-like); how many bytes."""
        if self.receiver.rcv_up >= 0:
            view = memoryview(buffer)  # type: ignore[arg-type]
            buffer = view[: urgent.begin_read(self.receiver, len(view))]
        count = self.receiver.receive_ring.read_into(buffer)
        if count:
            self._after_read(count, now)
        return count

    def skip(self, size: int, now: int) -> int:
        """Pass over up to ``size`` bytes; how many."""
        if self.receiver.rcv_up >= 0:
            size = urgent.begin_read(self.receiver, size)
        count = self.receiver.receive_ring.skip(size)
        if count:
            self._after_read(count, now)
        return count

    def peek(self, size: int) -> bytes:
        """Up to ``size`` bytes, left where they are."""
        if self.receiver.rcv_up >= 0:
            return urgent.peek(self.receiver, size)
        return self.receiver.receive_ring.peek(size)

    def _after_read(self, count: int, now: int) -> None:
        ack_policy.after_read(self.receiver, count, now)
        if self.owed.has(OWE_ACK):
            self.touch()

    def unread(self) -> int:
        """Bytes in order that wait for the application."""
        return self.receiver.receive_ring.readable()

    def readable(self) -> bool:
        """A read would return at once: bytes, the end, or an error."""
        return self.unread() > 0 or self.receiver.fin_received or self.error != 0 or self.state is State.CLOSED

    def received_fin(self) -> bool:
        """The peer has closed its side, and all before its FIN is here."""
        return self.receiver.fin_received

    def at_eof(self) -> bool:
        """Everything up to the peer's FIN was read."""
        return self.receiver.fin_received and self.receiver.receive_ring.readable() == 0

    def urgent_readable(self) -> bool:
        """An urgent byte waits (POLLPRI)."""
        return urgent.is_readable(self.receiver)

    def at_mark(self, ahead: int = 0) -> bool:
        """The next byte to be read is the urgent one (SIOCATMARK); with ``ahead`` the one behind so many."""
        return urgent.at_mark(self.receiver, ahead)

    def read_urgent(self, peek: bool = False) -> bytes:
        """The urgent byte (MSG_OOB). Raises EINVAL, EAGAIN as Linux."""
        return urgent.read(self.receiver, peek)

    # Ends

    def shutdown(self, how: int, now: int) -> None:
        """SHUT_WR and SHUT_RDWR queue a FIN behind what was written; SHUT_RD alone changes nothing on the wire."""
        if how != SHUT_WR:
            self.reads_no_more = True
        if how != SHUT_RD:
            closing.shutdown_write(self, now)
            self.touch()

    def close(self, now: int) -> None:
        """The application lets go: FIN, or RST where text was unread or SO_LINGER is 0."""
        if not self.orphan and not self.is_over():
            self.host.orphans += 1
            self.is_counted_orphan = True
        closing.close(self, now)
        self.touch()

    def abort(self, now: int) -> None:
        """RST, CLOSED (RFC 9293 section 3.10.5)."""
        closing.abort(self, now)
        self.touch()

    # Settings

    def option_changed(self, name: str, now: int) -> None:
        """The holder changed ``options.<name>``: let it act at once."""
        if name in ("keepalive", "keepidle_s", "keepintvl_s", "keepcnt"):
            keepalive.restart(self, now)
        elif name in ("nodelay", "cork"):
            self._uncork(name)
        elif name == "notsent_lowat":
            buffer.ask_again(self.sender)
        elif name == "quickack":
            self._switch_quickack()
        elif name in ("sndbuf", "rcvbuf", "window_clamp"):
            self._resize(name)
        elif name in ("rto_min_us", "rto_max_ms"):
            least, most = rto_bounds(self.host, self.flow)
            self.sender.rtt.bound(least, most)
        elif name == "max_pacing_rate":
            bursts.set_pace(self.sender)
        elif name in ("congestion", "congestion_class"):
            self.change_congestion()
        self.touch()

    def _uncork(self, name: str) -> None:
        """TCP_NODELAY set and TCP_CORK pulled push what waits (Linux's __tcp_sock_set_nodelay, __tcp_sock_set_cork)."""
        options = self.options
        if options.nodelay if name == "nodelay" else not options.cork:
            buffer.push_waiting(self.sender, options.nodelay)

    def _switch_quickack(self) -> None:
        if self.options.quickack:
            ack_policy.expect_no_answers(self.receiver)
        else:
            ack_policy.expect_answers(self.receiver)

    def _resize(self, name: str) -> None:
        options = self.options
        if name == "sndbuf":
            buffer.grow(self.sender)
            buffer.ask_again(self.sender)
        elif name == "rcvbuf":
            window.resize(self.receiver, options.rcvbuf)
        elif options.window_clamp:
            window.set_clamp(self.receiver, options.window_clamp)

    def change_congestion(self) -> None:
        """Another algorithm takes over where the window stands."""
        control.change(self.sender)
        bursts.set_pace(self.sender)

    def info(self, now: int) -> TcpInfo:
        """TCP_INFO."""
        return TcpInfo(self, now)
