"""TCP_INFO: what a connection knows about itself, in Linux's fields and units (``include/uapi/linux/tcp.h``).

Times are microseconds (rto, ato, rtt, rttvar, min_rtt, busy_time, rwnd_limited) or milliseconds (last_*), windows count
segments where Linux's do (snd_cwnd, snd_ssthresh, unacked, sacked, lost, retrans).
"""

from __future__ import annotations

from typing import Final

from ustack.congestion.base import INFINITE_SSTHRESH
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import DEFAULT_MSS_V4, TIMESTAMP_SPACE
from ustack.tcp.sender import bursts
from ustack.tcp.sender.control import make_control
from ustack.tcp.sender.state import CA_LOSS
from ustack.tcp.state import State

OPT_TIMESTAMPS: Final = 1
OPT_SACK: Final = 2
OPT_WSCALE: Final = 4
OPT_ECN: Final = 8
OPT_ECN_SEEN: Final = 16
OPT_SYN_DATA: Final = 32
OPT_TFO_CHILD: Final = 128


MIN_MSS: Final = 88
"""Linux's TCP_MIN_MSS."""


def _segments(ssthresh: int, mss: int) -> int:
    return INFINITE_SSTHRESH if ssthresh >= INFINITE_SSTHRESH else ssthresh // mss


class TcpInfo:
    """One snapshot."""

    def __init__(self, tcb: Tcb, now: int) -> None:
        mss = tcb.sender.snd_mss
        self._fill_state(tcb)
        self._fill_segments(tcb, mss)
        self._fill_times(tcb, now)
        self._fill_windows(tcb, mss)
        self._fill_totals(tcb)
        if tcb.state is State.SYN_SENT or (tcb.state is State.CLOSED and tcb.sender.is_opening()):
            self._fill_opening(tcb, now)

    def _fill_state(self, tcb: Tcb) -> None:
        # A descriptor never sees TIME-WAIT in Linux: another record takes the connection's place.
        self.tcpi_state = int(State.CLOSED if tcb.state is State.TIME_WAIT else tcb.state)
        self.tcpi_ca_state = tcb.sender.ca_state
        self.tcpi_retransmits = tcb.sender.retransmits
        self.tcpi_probes = tcb.sender.probing.sent
        backoff = tcb.sender.probing.backoff or tcb.sender.rtt.backoff
        self.tcpi_backoff = 0 if tcb.state is State.CLOSED else backoff
        self.tcpi_options = (
            (OPT_TIMESTAMPS if tcb.agreed.ts_on else 0)
            | (OPT_SACK if tcb.agreed.sack_on else 0)
            | (OPT_WSCALE if tcb.agreed.wscale_on else 0)
            | (OPT_ECN if tcb.ecn.on or tcb.ecn.accurate else 0)
            | (OPT_ECN_SEEN if tcb.ecn.seen else 0)
        )
        fast = tcb.fast_open
        self.tcpi_fastopen_client_fail = fast.client_fail if fast is not None else 0
        if fast is not None:
            self.tcpi_options |= (OPT_SYN_DATA if fast.text_acked else 0) | (OPT_TFO_CHILD if fast.is_child else 0)
        self.tcpi_snd_wscale = tcb.agreed.snd_wscale
        self.tcpi_rcv_wscale = tcb.agreed.rcv_wscale if tcb.agreed.wscale_on else 0

    def _fill_opening(self, tcb: Tcb, now: int) -> None:
        """What Linux shows before the peer's SYN came: the least that every host takes, and no window measured."""
        sender = tcb.sender
        mss = tcb.options.maxseg or DEFAULT_MSS_V4
        self.tcpi_snd_mss = mss - (TIMESTAMP_SPACE if tcb.offer.ts_on else 0)
        self.tcpi_rcv_mss = MIN_MSS
        self.tcpi_rcv_space = 0
        if sender.retransmits:  # a SYN that timed out is a loss: it costs a window that is not used yet
            control = make_control(sender)
            control.on_timeout(now, 0)
            self.tcpi_ca_state = CA_LOSS
            self.tcpi_snd_cwnd = 1
            self.tcpi_snd_ssthresh = _segments(control.ssthresh, sender.snd_mss)

    def _fill_segments(self, tcb: Tcb, mss: int) -> None:
        scoreboard = tcb.sender.scoreboard
        self.tcpi_snd_mss = mss
        self.tcpi_rcv_mss = tcb.receiver.rcv_mss
        self.tcpi_advmss = tcb.agreed.advertised_mss - (TIMESTAMP_SPACE if tcb.agreed.ts_on else 0)
        self.tcpi_pmtu = tcb.sender.path.mtu
        self.tcpi_unacked = (
            0 if tcb.state is State.CLOSED else scoreboard.out_segs
        )  # the queue is gone, the rest stands
        self.tcpi_lost = scoreboard.lost_segs
        self.tcpi_retrans = scoreboard.retrans_segs
        self.tcpi_sacked = scoreboard.sacked_segs
        self.tcpi_fackets = 0
        self.tcpi_reordering = scoreboard.reordering
        self.tcpi_total_retrans = scoreboard.total_retrans
        self.tcpi_reord_seen = scoreboard.reord_seen
        self.tcpi_dsack_dups = scoreboard.dsack_segs

    def _fill_times(self, tcb: Tcb, now: int) -> None:
        self.tcpi_rto = tcb.sender.rtt.rto // 1000
        self.tcpi_ato = tcb.receiver.acks.ato // 1000
        self.tcpi_rtt = tcb.sender.rtt.srtt // 1000
        self.tcpi_rttvar = tcb.sender.rtt.mdev // 1000
        self.tcpi_min_rtt = tcb.sender.rtt.min_rtt // 1000 if tcb.sender.rtt.min_rtt else 0xFFFFFFFF
        self.tcpi_rcv_rtt = tcb.receiver.sizing.rtt // 1000
        self.tcpi_last_data_sent = (now - (tcb.sender.last_sent_at or tcb.created_at)) // 1_000_000
        self.tcpi_last_ack_sent = 0
        self.tcpi_last_data_recv = (now - (tcb.receiver.last_text_at or tcb.created_at)) // 1_000_000
        self.tcpi_busy_time = tcb.sender.chrono.busy(now) // 1000
        self.tcpi_sndbuf_limited = tcb.sender.chrono.sndbuf_limited(now) // 1000
        self.tcpi_rwnd_limited = tcb.sender.chrono.rwnd_limited(now) // 1000
        self.tcpi_last_ack_recv = (now - tcb.sender.ack_at) // 1_000_000

    def _fill_windows(self, tcb: Tcb, mss: int) -> None:
        control = tcb.sender.congestion
        cwnd = tcb.sender.cwnd()
        self.tcpi_snd_cwnd = max(cwnd // mss, 1)
        ssthresh = control.ssthresh if control is not None else INFINITE_SSTHRESH
        self.tcpi_snd_ssthresh = _segments(ssthresh, mss)
        self.tcpi_rcv_ssthresh = tcb.receiver.rcv_ssthresh
        self.tcpi_rcv_space = tcb.receiver.sizing.space
        self.tcpi_snd_wnd = tcb.sender.snd_wnd
        self.tcpi_rcv_wnd = tcb.receiver.rcv_wnd
        self.tcpi_pacing_rate = bursts.rate(tcb.sender)
        self.tcpi_max_pacing_rate = tcb.options.max_pacing_rate
        self.tcpi_notsent_bytes = max(tcb.sender.iss + 1 + tcb.sender.send_ring.end - tcb.sender.snd_nxt, 0)

    def _fill_totals(self, tcb: Tcb) -> None:
        self.tcpi_bytes_acked = tcb.sender.totals.bytes_acked
        self.tcpi_bytes_received = tcb.receiver.totals.bytes_received
        self.tcpi_rcv_ooopack = tcb.receiver.totals.ooo_segs
        self.tcpi_total_rto = tcb.sender.totals.rtos
        self.tcpi_total_rto_recoveries = tcb.sender.totals.rto_recoveries
        self.tcpi_bytes_sent = tcb.sender.totals.bytes_sent + tcb.sender.totals.bytes_retrans
        self.tcpi_bytes_retrans = tcb.sender.totals.bytes_retrans
        self.tcpi_segs_out = tcb.emitter.segs_out
        self.tcpi_segs_in = tcb.receiver.totals.segs_in
        self.tcpi_data_segs_out = tcb.sender.totals.data_segs_out
        self.tcpi_data_segs_in = tcb.receiver.totals.data_segs_in
        self.tcpi_delivered = tcb.sender.scoreboard.delivered_segs
        self._fill_ecn(tcb)
        self.tcpi_delivery_rate = tcb.sender.scoreboard.rate.rate
        self.tcpi_delivery_rate_app_limited = int(tcb.sender.scoreboard.rate.app_limited)

    def _fill_ecn(self, tcb: Tcb) -> None:
        ecn = tcb.ecn
        self.tcpi_delivered_ce = ecn.delivered_ce
        self.tcpi_received_ce = ecn.received_ce
        _, self.tcpi_delivered_e1_bytes, self.tcpi_delivered_e0_bytes, self.tcpi_delivered_ce_bytes = (
            ecn.delivered_bytes
        )
        _, self.tcpi_received_e1_bytes, self.tcpi_received_e0_bytes, self.tcpi_received_ce_bytes = ecn.received_bytes
        self.tcpi_accecn_fail_mode = ecn.failed
        self.tcpi_accecn_opt_seen = ecn.option_seen
