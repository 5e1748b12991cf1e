"""What we receive: sequence space, reassembly, window, ACK policy, urgent data (receive variables of RFC 9293).

Sequence numbers are unbounded ints: unwrapped once where a segment enters (``arrival.py``). A byte of the stream has
sequence number ``irs + 1 + offset`` and lies at ``offset`` of the receive ring. A receiver knows nothing of the sender.
"""

from __future__ import annotations

from ustack.ring import ReceiveRing
from ustack.tcp.common import Common
from ustack.tcp.constants import ATO_MIN, DEFAULT_MSS_V4, TIMESTAMP_SPACE
from ustack.tcp.receiver.memory import DEFAULT_RATIO, ReceiveQueue
from ustack.wire.frame import Segment


class AckPolicy:
    """When to acknowledge: RFC 5681 section 4.2 with Linux's quick ACKs and interactive mode."""

    def __init__(self) -> None:
        self.scheduled: bool = False
        """Something came that wants an ACK, now or delayed."""
        self.no_memory: bool = False
        """Text had to be dropped for want of memory: the next ACK tells of no window."""
        self.duplicates: int = 0
        """Duplicate ACKs due one for one: a peer without SACK counts them."""
        self.quick: int = 0
        """ACKs that are still to leave at once."""
        self.pingpong: int = 0
        """Text that answered text: at tcp_pingpong_thresh ACKs wait for the answer to ride on."""
        self.ato: int = 0
        """The delay, ns."""
        self.pushed: int = 0
        self.challenged_at: int = 0


class RightSizing:
    """How fast the application reads in a round trip: the buffer follows (Linux's tcp_rcv_space_adjust)."""

    def __init__(self) -> None:
        self.measured_at: int = 0
        self.measured_from: int = 0
        self.space: int = 0
        self.rtt: int = 0
        self.rtt_seq: int = 0
        self.rtt_at: int = 0
        self.ts_ecr: int = 0
        """The echo that was measured last: each counts once."""


class ReceiveTotals:
    """Counts of TCP_INFO that only grow."""

    def __init__(self) -> None:
        self.segs_in: int = 0
        self.data_segs_in: int = 0
        self.bytes_received: int = 0
        self.ooo_segs: int = 0


class Receiver:
    """The receiving half of one connection."""

    def __init__(self, common: Common) -> None:
        self.host = common.host
        self.options = common.options
        self.timers = common.timers
        self.owed = common.owed
        self.agreed = common.agreed
        self.ecn = common.ecn
        self.rtt = common.rtt
        self.irs: int = 0
        self.rcv_nxt: int = 0
        self.rcv_wnd: int = 0
        """The window last advertised, counted from rcv_wup."""
        self.rcv_wup: int = 0
        self.rcv_buffer: int = self.options.rcvbuf or self.host.settings.tcp_rmem[1]
        self.rcv_ssthresh: int = 0
        """The window grows no further than this until the peer has shown its pace (Linux)."""
        self.window_clamp: int = 0
        self.scaling_ratio: int = DEFAULT_RATIO
        """Text per 256 bytes of buffer, as the peer's full segments have it."""
        self.rcv_mss: int = DEFAULT_MSS_V4
        """Estimate of the peer's full segment (delayed ACKs count in it)."""
        self.last_size: int = 0
        """Bytes of text in the last segment, if it was shorter than rcv_mss and may yet have been a full one."""
        self.receive_ring: ReceiveRing = self.host.rings.receive_ring(self.rcv_buffer)
        self.queue = ReceiveQueue()
        self.headers: int = common.flow.header_bytes()
        """Bytes of IP and TCP header without options."""
        self.rcv_fin: int = -1
        """Sequence number of the peer's FIN once it was seen, in order or not; -1 before."""
        self.fin_received: bool = False
        self.rcv_up: int = -1
        """Sequence number of the byte that the urgent pointer names, -1 when there is none."""
        self.oob: int = -1
        """The urgent byte kept apart from the stream (no SO_OOBINLINE), -1 when none waits."""
        self.oob_read: bool = False
        self.recent_blocks: list[int] = []
        """Starts of the latest out-of-order arrivals, newest first: the order of SACK blocks."""
        self.dsack: tuple[int, int] | None = None
        self.ts_recent: int = 0
        self.ts_recent_at: int = 0
        self.last_ack_sent: int = 0
        self.last_text_at: int = 0
        """When text last came in order; before the first, when the handshake ended (0: both sides opened)."""
        self.acks = AckPolicy()
        self.sizing = RightSizing()
        self.totals = ReceiveTotals()

    # Questions

    def receive_window(self) -> int:
        """Bytes from rcv_nxt to the right edge last advertised; never below zero."""
        window = self.rcv_wup + self.rcv_wnd - self.rcv_nxt
        return window if window > 0 else 0

    def in_pingpong(self) -> bool:
        """Text flows both ways: ACKs ride on answers."""
        return self.acks.pingpong >= self.host.settings.tcp_pingpong_thresh

    def is_quickack(self) -> bool:
        """The next ACK leaves at once."""
        return self.acks.quick > 0 and not self.in_pingpong()

    def window_from(self, space: int) -> int:
        """The text that ``space`` bytes of buffer hold (Linux's tcp_win_from_space)."""
        return space * self.scaling_ratio >> 8

    def full_space(self) -> int:
        """The window that an empty buffer would bear (Linux's tcp_full_space)."""
        return self.window_from(self.rcv_buffer)

    def free_space(self) -> int:
        """The same of what is free of the buffer; below zero when it is overdrawn (Linux's tcp_space)."""
        return self.window_from(self.rcv_buffer - self.queue.charged)

    def text_of_segment(self) -> int:
        """Text of the peer's that fits beside its timestamps: Linux's advmss."""
        mss = self.agreed.advertised_mss
        return mss - TIMESTAMP_SPACE if self.agreed.ts_on else mss

    def packet_length(self, segment: Segment) -> int:
        """Bytes of one packet of ``segment``, which may be a run, with its headers."""
        options = len(segment.options) or (TIMESTAMP_SPACE if segment.has_ts else 0)
        text = segment.segment_size if segment.segs > 1 else segment.payload_length
        return self.headers + options + text

    # Changes

    def enter_quickack(self, most: int) -> None:
        """ACK at once for a while: the peer is in slow start or repairs a loss (Linux's tcp_enter_quickack_mode)."""
        self.add_quickacks(most)
        self.acks.pingpong = 0
        self.acks.ato = ATO_MIN

    def add_quickacks(self, most: int) -> None:
        """At most ``most``, and no more than half the window in full segments (Linux's tcp_incr_quickack)."""
        quick = self.rcv_wnd // (2 * self.rcv_mss)
        if quick == 0:
            quick = 2
        quick = min(quick, most)
        self.acks.quick = max(self.acks.quick, quick)
