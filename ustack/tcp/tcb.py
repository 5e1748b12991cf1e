"""The transmission control block: all that one connection remembers, in RFC 9293's names.

Sequence numbers are unbounded ints: unwrapped once where a segment enters (``arrival.py``), wrapped
once where it leaves (``output.py``). A byte of the stream has sequence number ``iss + 1 + offset`` and
lies at ``offset`` of the send ring (``irs + 1 + offset`` and the receive ring on the way in).

The block has no behaviour beyond short questions about itself; the steps that change it are functions
of ``arrival acks loss delivery output expiry``.
"""

from __future__ import annotations

from typing import Final

from ustack.congestion.base import CongestionControl
from ustack.recovery.pacing import Pacer
from ustack.recovery.prr import Prr
from ustack.recovery.rack import TailLossProbe
from ustack.recovery.rtt import RttEstimator
from ustack.recovery.scoreboard import Scoreboard
from ustack.recovery.undo import Undo
from ustack.ring import ReceiveRing, SendRing
from ustack.sockopts import SocketOptions
from ustack.tcp.constants import ATO_MIN, DEFAULT_MSS_V4
from ustack.tcp.environment import Environment
from ustack.tcp.state import Input, State, transition
from ustack.tcp.timers import Timers, Waiter

CA_OPEN: Final = 0
CA_DISORDER: Final = 1
CA_CWR: Final = 2
CA_RECOVERY: Final = 3
CA_LOSS: Final = 4

TIMESTAMP_SPACE: Final = 12
"""NOP NOP TS on every segment takes this much of the MSS (RFC 7323 appendix A)."""


class AckNews:
    """What the ACK at hand told beside the scoreboard's result; one object, filled anew each time."""

    def __init__(self) -> None:
        self.prior_una: int = 0
        self.is_duplicate: bool = False
        """It moved nothing, carried nothing and left the window alone (RFC 5681 section 2)."""
        self.is_old: bool = False
        """It was overtaken by one that acknowledged more."""
        self.ts_ecr: int = -1
        self.ece: bool = False
        self.lost: int = 0
        self.rtt: int = -1
        """For congestion control: of the newest segment acknowledged, ns; -1 none."""


class Tcb(Waiter):
    """One connection. ``key`` is the 36-byte flow key as received (the peer's address first)."""

    def __init__(self, env: Environment, key: bytes, options: SocketOptions, iss: int, now: int) -> None:
        self.queued_at = 0
        self.env = env
        self.key = key
        self.options = options
        self.remote_address: bytes = key[0:16]
        self.local_address: bytes = key[16:32]
        self.remote_port: int = int.from_bytes(key[32:34], "big")
        self.local_port: int = int.from_bytes(key[34:36], "big")
        self.state: State = State.CLOSED
        self.error: int = 0
        self.soft_error: int = 0
        self.orphan: bool = False
        self.is_counted_orphan: bool = False
        """It is one of ``env.orphans`` (one that is aborted never is)."""
        self.holds_port: bool = False
        """It is one of its local port's users."""
        self.in_accept_queue: bool = False
        self.saved_syn: bytes = b""
        """The SYN's headers from IP on, if the listener has TCP_SAVE_SYN."""
        self.listener: object = None
        self.created_at: int = now
        self.state_since: int = now
        self.owner: object = None
        """The socket layer's own; events go there."""
        self.is_touched: bool = False
        """It stands in the Stack's queue of those that may have something to send."""
        self.simultaneous: bool = False
        """SYN-RECEIVED came from SYN-SENT (RFC 9293 MUST-11: it remembers)."""
        self._begin_sending(iss)
        self._begin_receiving(now)
        self._begin_options()
        self._begin_acknowledging()
        self._begin_repairing(iss, now)

    def _begin_sending(self, iss: int) -> None:
        """Send sequence space."""
        env = self.env
        self.iss: int = iss
        self.snd_una: int = iss
        self.snd_nxt: int = iss
        self.snd_wnd: int = 0
        self.snd_wl1: int = 0
        self.snd_wl2: int = 0
        self.max_window: int = 0
        self.snd_wscale: int = 0
        self.snd_up: int = iss
        self.urgent_out: bool = False
        self.peer_mss: int = DEFAULT_MSS_V4
        self.path_mtu: int = 1500
        self.snd_mss: int = DEFAULT_MSS_V4
        """Bytes of text in a full segment: the MSS less the options that every segment carries."""
        self.send_ring: SendRing = env.rings.send_ring(env.settings.tcp_wmem[1])
        self.fin_queued: bool = False
        """The application wrote its last byte: a FIN stands behind the ring's end."""
        self.small_sent: int = iss
        """End of the last segment sent short of the MSS (Minshall's variant of Nagle)."""
        self.pushes: list[int] = []
        """Ends of runs that left with PSH, ascending, above snd_una: what is resent keeps its PSH."""
        self.last_sent_at: int = 0
        self.cwnd_limited: bool = False
        self.chrono_kind: int = 0
        """What :mod:`ustack.tcp.chrono` counts now, since chrono_since."""
        self.chrono_since: int = 0
        self.busy_ns: int = 0
        self.rwnd_limited_ns: int = 0
        self.max_flight: int = 0
        """Most bytes in flight in the current window, while it was not the limit."""
        self.usage_seq: int = iss
        self.last_run: int = 0
        self.send_new_first: bool = False
        """F-RTO, step 2b: new data before what seems lost (RFC 5682)."""
        self.writer_waits: bool = False
        self.more: bool = False
        """The last write said MSG_MORE."""
        self.ip_id: int = iss & 0xFFFF
        self.negative_advice: bool = False
        """R1 was reached: the Stack has IP look the path up anew, and clears it."""

    def _begin_receiving(self, now: int) -> None:
        """Receive sequence space."""
        env = self.env
        options = self.options
        self.irs: int = 0
        self.rcv_nxt: int = 0
        self.rcv_wnd: int = 0
        """The window last advertised, counted from rcv_wup."""
        self.rcv_wup: int = 0
        self.rcv_wscale: int = 0
        self.rcv_buffer: int = options.rcvbuf or env.settings.tcp_rmem[1]
        self.rcv_ssthresh: int = 0
        """The window grows no further than this until the peer has shown its pace (Linux)."""
        self.window_clamp: int = 0
        self.rcv_mss: int = DEFAULT_MSS_V4
        """Estimate of the peer's full segment (delayed ACKs count in it)."""
        self.advertised_mss: int = DEFAULT_MSS_V4
        self.receive_ring: ReceiveRing = env.rings.receive_ring(self.rcv_buffer)
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
        self.last_received_at: int = now
        self.last_text_at: int = 0
        self.read_measure_at: int = 0
        self.read_measure_offset: int = 0
        self.rcv_space: int = 0
        self.rcv_rtt: int = 0
        self.rcv_rtt_seq: int = 0
        self.rcv_rtt_at: int = 0

    def _begin_options(self) -> None:
        """What the SYNs agree upon."""
        self.ts_on: bool = False
        self.ts_offset: int = 0
        self.ts_recent: int = 0
        self.ts_recent_at: int = 0
        self.last_ack_sent: int = 0
        self.sack_on: bool = False
        self.wscale_on: bool = False
        self.ecn_on: bool = False
        self.ecn_echo: bool = False
        """CE was seen: every ACK carries ECE until the peer answers CWR (RFC 3168 section 6.1.3)."""
        self.ecn_cwr_owed: bool = False
        self.ecn_asked: bool = False

    def _begin_acknowledging(self) -> None:
        """The delayed-ACK engine, and what is owed."""
        self.ack_now: bool = False
        self.ack_scheduled: bool = False
        self.acks_owed: int = 0
        """Duplicate ACKs due one for one: a peer without SACK counts them."""
        self.quick_acks: int = 0
        self.pingpong: int = 0
        self.ato: int = 0
        self.pushed: int = 0
        self.last_challenge_at: int = 0
        self.syn_owed: bool = False
        """A SYN or SYN-ACK is to leave (first time or again)."""
        self.rst_owed: bool = False

    def _begin_repairing(self, iss: int, now: int) -> None:
        """Loss, time and congestion; the counts of TCP_INFO."""
        self.timers = Timers()
        self.rtt = RttEstimator(*self.rto_bounds())
        self.board = Scoreboard(iss)
        self.congestion: CongestionControl | None = None
        self.prr = Prr(DEFAULT_MSS_V4)
        self.undo = Undo()
        self.pacer = Pacer(DEFAULT_MSS_V4)
        self.tlp = TailLossProbe()
        self.news = AckNews()
        self.ca_state: int = CA_OPEN
        self.high_seq: int = iss
        """Recovery ends when this is acknowledged (RFC 6675's RecoveryPoint)."""
        self.tlp_owed: bool = False
        self.probe_owed: bool = False
        self.retransmits: int = 0
        self.syn_resends: int = 0
        self.backoff: int = 0
        self.probes_out: int = 0
        self.retrans_since: int = 0
        """When the oldest unacknowledged byte was first resent; 0: it was not."""
        self.probe_since: int = 0
        self.keepalive_owed: bool = False
        self.ack_at: int = now
        self.total_segs_out: int = 0
        self.total_segs_in: int = 0
        self.data_segs_out: int = 0
        self.data_segs_in: int = 0
        self.bytes_received: int = 0
        self.rcv_ooopack: int = 0
        self.total_rto: int = 0
        self.total_rto_recoveries: int = 0
        self.bytes_acked: int = 0
        self.bytes_sent: int = 0
        self.bytes_retrans: int = 0

    def move(self, seen: Input, now: int) -> None:
        """Change state by the table of ``state.py``: the only way a state changes."""
        was_open = self.state is State.ESTABLISHED or self.state is State.CLOSE_WAIT
        self.state = transition(self.state, seen)
        self.state_since = now
        is_open = self.state is State.ESTABLISHED or self.state is State.CLOSE_WAIT
        if is_open != was_open:
            self.env.counters.add("TcpCurrEstab", 1 if is_open else -1)

    def touch(self) -> None:
        """Something changed: the Stack is to ask this connection what may leave, and for its deadline."""
        if not self.is_touched:
            self.is_touched = True
            self.env.touched.append(self)

    # Questions about itself

    def cwnd(self) -> int:
        """The congestion window, bytes."""
        control = self.congestion
        return control.cwnd if control is not None else self.snd_mss * self.env.settings.tcp_init_cwnd

    def receive_window(self) -> int:
        """Bytes from rcv_nxt to the right edge last advertised; never below zero."""
        window = self.rcv_wup + self.rcv_wnd - self.rcv_nxt
        return window if window > 0 else 0

    def stream_end(self) -> int:
        """Sequence number behind the last byte that the application wrote (and behind the FIN, if queued)."""
        return self.iss + 1 + self.send_ring.end + (1 if self.fin_queued else 0)

    def unsent(self) -> int:
        """Bytes (and the FIN) that wait to be sent for the first time."""
        return self.stream_end() - self.snd_nxt

    def has_room(self) -> bool:
        """A write would be taken, by Linux's measure: a third of the buffer is free (sk_stream_is_writeable),

        and not too much waits unsent (TCP_NOTSENT_LOWAT)."""
        ring = self.send_ring
        if ring.free() * 3 < ring.capacity:
            return False
        lowat = self.options.notsent_lowat or self.env.settings.tcp_notsent_lowat
        return self.iss + 1 + ring.end - self.snd_nxt < lowat

    def in_pingpong(self) -> bool:
        """Text flows both ways: ACKs ride on answers."""
        return self.pingpong >= self.env.settings.tcp_pingpong_thresh

    def is_quickack(self) -> bool:
        return self.quick_acks > 0 and not self.in_pingpong()

    def enter_quickack(self, most: int) -> None:
        """ACK at once for a while: the peer is in slow start or repairs a loss (Linux's tcp_enter_quickack_mode)."""
        self.add_quickacks(most)
        self.pingpong = 0
        self.ato = ATO_MIN

    def add_quickacks(self, most: int) -> None:
        """At most ``most``, and no more than half the window in full segments (Linux's tcp_incr_quickack)."""
        quick = self.rcv_wnd // (2 * self.rcv_mss)
        if quick == 0:
            quick = 2
        quick = min(quick, most)
        self.quick_acks = max(self.quick_acks, quick)

    def rto_bounds(self) -> tuple[int, int]:
        """Least and largest RTO, ns (TCP_RTO_MIN_US, TCP_RTO_MAX_MS, else the Stack's knobs)."""
        own = self.options
        settings = self.env.settings
        return own.rto_min_us * 1000 or settings.rto_min, own.rto_max_ms * 1_000_000 or settings.rto_max

    def buffer_space(self) -> int:
        """The part of the receive buffer that may be window: half, as Linux's tcp_adv_win_scale = 1."""
        return self.rcv_buffer >> 1
