"""TIME-WAIT: a small record for each connection that closed first (RFC 9293 section 3.6.1, MUST-13; RFC 6191).

The rules are Linux's ``tcp_timewait_state_process``: everything unexpected is answered with the last ACK, a FIN again
starts the 60 s anew, a SYN that cannot be an old one opens a new connection, RST is exempt from PAWS (and kills the
record unless ``tcp_rfc1337`` is set: RFC 1337's TIME-WAIT assassination).
"""

from __future__ import annotations

from enum import IntEnum

from ustack.seqnum import unwrap, wrap
from ustack.tcp import emit
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.emit import NO_SOCKET
from ustack.tcp.flow import Flow
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import Waiter
from ustack.units import MILLISECOND, SECOND
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, FIN, RST, SYN


class Verdict(IntEnum):
    """What a segment for a TIME-WAIT connection leads to."""

    IGNORE = 0
    ACK = 1
    """Answer with the last ACK."""
    NEW = 2
    """A new connection may begin, with ``next_isn``."""
    GONE = 3
    """The record dies without an answer."""


class TimeWait(Waiter):
    """One connection in TIME-WAIT."""

    def __init__(self, tcb: Tcb, now: int) -> None:
        self.queued_at = 0
        self.key = tcb.flow.key
        self.options = tcb.options if tcb.options.changes_headers() else NO_SOCKET
        """Only a socket with a header policy of its own is worth the memory."""
        self.rcv_nxt = tcb.receiver.rcv_nxt
        self.snd_nxt = tcb.sender.snd_nxt
        self.window = tcb.receiver.receive_window()
        self.rcv_wscale = tcb.agreed.rcv_wscale
        self.ts_on = tcb.agreed.ts_on
        self.ts_recent = tcb.receiver.ts_recent
        self.ts_recent_at = tcb.receiver.ts_recent_at
        self.ts_offset = tcb.agreed.ts_offset
        self.since = now
        self.deadline = 0
        self.answered_at = 0
        self.holds_port = False

    def restart(self, host: TcpHost, now: int) -> None:
        """2 MSL from now."""
        self.deadline = now + host.settings.tcp_timewait_length * SECOND

    def judge(self, segment: Segment, host: TcpHost, now: int) -> Verdict:
        """A segment arrived (RFC 9293 section 3.10.7.4)."""
        seq = unwrap(segment.seq, self.rcv_nxt)
        flags = segment.flags
        length = segment.payload_length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
        paws_reject = self._is_old(segment)
        if not paws_reject and seq == self.rcv_nxt and (length == 0 or flags & RST):
            return self._in_window(segment, host, now)
        newer_ts = self.ts_on and segment.has_ts and 0 < (segment.ts_val - self.ts_recent) & 0xFFFFFFFF < 0x80000000
        if flags & (SYN | RST | ACK) == SYN and not paws_reject and (seq > self.rcv_nxt or newer_ts):
            return Verdict.NEW
        if paws_reject:
            host.counters.add("PAWSEstab")
        if flags & RST:
            return Verdict.IGNORE
        if paws_reject or flags & ACK:
            self.restart(host, now)
        least = host.settings.tcp_invalid_ratelimit * MILLISECOND
        if self.answered_at and length == 0 and now - self.answered_at < least:
            host.counters.add("TCPACKSkippedTimeWait")
            return Verdict.IGNORE
        self.answered_at = now
        return Verdict.ACK

    def is_fin_again(self, segment: Segment) -> bool:
        """The peer's FIN once more: it has not got our last ACK."""
        end = unwrap(segment.seq, self.rcv_nxt) + segment.payload_length + 1
        return bool(segment.flags & FIN) and end == self.rcv_nxt

    def _is_old(self, segment: Segment) -> bool:
        """PAWS (RFC 7323 section 5.3)."""
        if not self.ts_on or not segment.has_ts:
            return False
        return 0 < (self.ts_recent - segment.ts_val) & 0xFFFFFFFF < 0x80000000

    def _in_window(self, segment: Segment, host: TcpHost, now: int) -> Verdict:
        """A RST or a bare ACK with exactly the next sequence number."""
        if segment.flags & RST:
            if not host.settings.tcp_rfc1337:
                return Verdict.GONE
        else:
            self.restart(host, now)
        if segment.has_ts:
            self.ts_recent = segment.ts_val
            self.ts_recent_at = now
        return Verdict.IGNORE

    def next_isn(self) -> int:
        """An ISN beyond all that the old connection sent (Linux: snd_nxt + 65 537)."""
        return (self.snd_nxt + 65535 + 2) & 0xFFFFFFFF

    def last_ack(self, host: TcpHost, now: int) -> Transmit:
        """The ACK that ended the connection, once more: its TOS is the socket's, its TTL the host's (Linux)."""
        transmit = emit.header(Flow(self.key, self.options), host.settings, self.snd_nxt, ACK)
        transmit.ttl = host.settings.ip_default_ttl
        transmit.ack = wrap(self.rcv_nxt)
        transmit.window = min(self.window >> self.rcv_wscale, 65535)
        if self.ts_on:
            transmit.options = emit.timestamp_bytes(host.timestamp(self.ts_offset, now), self.ts_recent)
        return transmit
