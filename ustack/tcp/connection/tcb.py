"""The transmission control block: one connection as its parts.

A *sender* (``sender/``), a *receiver* (``receiver/``), the terms that both sides *agreed* upon, the *flow* that names
it, an *emitter* that makes its segments, and the state machine. Functions take the part that they work on; the steps
that change the whole are functions of ``connection/``.
"""

from __future__ import annotations

from ustack.events import Endpoint
from ustack.sockopts import SocketOptions
from ustack.tcp.agreed import Agreed
from ustack.tcp.common import Common
from ustack.tcp.emit import Emitter
from ustack.tcp.fastopen import FastOpen
from ustack.tcp.flow import Flow
from ustack.tcp.receiver.state import Receiver
from ustack.tcp.sender.state import Sender
from ustack.tcp.state import Input, State, transition
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import Waiter


class Tcb(Endpoint, Waiter):
    """One connection. ``key`` is the 36-byte flow key as received (the peer's address first)."""

    def __init__(self, host: TcpHost, key: bytes, options: SocketOptions, iss: int, now: int) -> None:
        super().__init__()
        self.queued_at = 0
        self.host = host
        self.options = options
        self.flow = Flow(key, options)
        common = Common(host, self.flow)
        self.timers = common.timers
        self.owed = common.owed
        self.agreed = common.agreed
        self.ecn = common.ecn
        self.receiver = Receiver(common)
        self.emitter = Emitter(common, self.receiver, iss & 0xFFFF)
        self.sender = Sender(common, self.emitter, iss, now)
        self.state: State = State.CLOSED
        self.created_at: int = now
        self.state_since: int = now
        self.offer = Agreed()
        """What our SYN says, however often it leaves, with an ACK or without (RFC 9293 figure 8)."""
        self.simultaneous: bool = False
        """SYN-RECEIVED came from SYN-SENT (RFC 9293 MUST-11: it remembers)."""
        self.answers_syn: bool = False
        """The SYN-ACK that the peer's SYN asks for in a simultaneous open has not left yet: it is no resend."""
        self.syn_resends: int = 0
        self.fast_open: FastOpen | None = None
        """Only of a connection that tried it (RFC 7413)."""
        self.error: int = 0
        self.orphan: bool = False
        self.reads_no_more: bool = False
        """close(), or shutdown() of the way in: once our FIN has left, new text is answered with a RST."""
        self.is_counted_orphan: bool = False
        """It is one of ``host.orphans`` (one that is aborted never is)."""
        self.holds_port: bool = False
        """It is one of its local port's users."""
        self.in_accept_queue: bool = False
        self.saved_syn: bytes = b""
        """The SYN's headers from IP on, if the listener has TCP_SAVE_SYN."""
        self.is_looped: bool = False
        """The peer is this host itself: no device brings its segments."""
        self.is_touched: bool = False
        """It stands in the Stack's queue of those that may have something to send."""

    def move(self, seen: Input, now: int) -> None:
        """Change state by the table of ``state.py``: the only way a state changes."""
        was_open = self.state is State.ESTABLISHED or self.state is State.CLOSE_WAIT
        self.state = transition(self.state, seen)
        self.state_since = now
        is_open = self.state is State.ESTABLISHED or self.state is State.CLOSE_WAIT
        if is_open != was_open:
            self.host.counters.add("TcpCurrEstab", 1 if is_open else -1)

    def is_over(self) -> bool:
        """Only its name is left (CLOSED), or a small record is to take its place (TIME-WAIT)."""
        return self.state is State.CLOSED or self.state is State.TIME_WAIT

    def is_opened_early(self) -> bool:
        """A Fast Open child before its third ACK: it may read and write already (RFC 7413 section 4.2.2)."""
        return self.fast_open is not None and self.fast_open.is_waiting() and self.state is State.SYN_RECEIVED

    def waits_for_write(self) -> bool:
        """TCP_FASTOPEN_CONNECT: the SYN leaves with the first write."""
        return self.fast_open is not None and self.fast_open.is_deferred

    def enter_table(self, holds_port: bool, is_looped: bool) -> None:
        """The Stack finds it by its key from now on. ``holds_port``: it is one of its local port's users."""
        self.holds_port = holds_port
        self.is_looped = is_looped

    def see_peer(self, is_looped: bool) -> None:
        """The host's addresses have changed: the peer is this host itself, or not."""
        self.is_looped = is_looped

    def await_accept(self) -> None:
        """It stands in its listener's accept queue."""
        self.in_accept_queue = True

    def leave_queue(self) -> None:
        """The application took it, or nobody will."""
        self.in_accept_queue = False

    def take_error(self) -> int:
        """The errno that ended it or was reported, which is told once; 0: none."""
        code = self.error
        self.error = 0
        return code

    def was_asked(self) -> None:
        """The Stack has asked it, and it has nothing more to say: it left the queue."""
        self.is_touched = False

    def touch(self) -> None:
        """Something changed: the Stack is to ask this connection what may leave, and for its deadline."""
        if not self.is_touched:
            self.host.touched.append(self)
            self.is_touched = True
