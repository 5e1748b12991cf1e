"""TCP_INFO: what a connection knows about itself, in Linux's fields and units (``include/uapi/linux/tcp.h``).

Times are microseconds (rto, ato, rtt, rttvar, min_rtt, busy_time, rwnd_limited) or milliseconds (last_*), windows count
segments where Linux's do (snd_cwnd, snd_ssthresh, unacked, sacked, lost, retrans).
"""

from __future__ import annotations

from typing import Final

from ustack.congestion.base import INFINITE_SSTHRESH
from ustack.recovery.pacing import pacing_rate
from ustack.tcp import chrono
from ustack.tcp.tcb import Tcb

OPT_TIMESTAMPS: Final = 1
OPT_SACK: Final = 2
OPT_WSCALE: Final = 4
OPT_ECN: Final = 8
OPT_ECN_SEEN: Final = 16


def _pacing_rate(tcb: Tcb) -> int:
    """Bytes a second: the algorithm's own rate, else Linux's for those that have none, whether it is used or not."""
    control = tcb.congestion
    if control is None or control.pacing_rate:
        return control.pacing_rate if control is not None else 0
    knobs = tcb.env.settings
    slow_start, avoidance = knobs.tcp_pacing_ss_ratio, knobs.tcp_pacing_ca_ratio
    rate = pacing_rate(control.cwnd, control.ssthresh, tcb.rtt.srtt, slow_start, avoidance)
    return min(rate, tcb.options.max_pacing_rate)


class TcpInfo:
    """One snapshot."""

    def __init__(self, tcb: Tcb, now: int) -> None:
        mss = tcb.snd_mss
        self._fill_state(tcb)
        self._fill_segments(tcb, mss)
        self._fill_times(tcb, now)
        self._fill_windows(tcb, mss)
        self._fill_totals(tcb)

    def _fill_state(self, tcb: Tcb) -> None:
        self.tcpi_state = int(tcb.state)
        self.tcpi_ca_state = tcb.ca_state
        self.tcpi_retransmits = tcb.retransmits
        self.tcpi_probes = tcb.probes_out
        self.tcpi_backoff = tcb.backoff or tcb.rtt.backoff
        self.tcpi_options = (
            (OPT_TIMESTAMPS if tcb.ts_on else 0)
            | (OPT_SACK if tcb.sack_on else 0)
            | (OPT_WSCALE if tcb.wscale_on else 0)
            | (OPT_ECN if tcb.ecn_on else 0)
        )
        self.tcpi_snd_wscale = tcb.snd_wscale
        self.tcpi_rcv_wscale = tcb.rcv_wscale if tcb.wscale_on else 0

    def _fill_segments(self, tcb: Tcb, mss: int) -> None:
        board = tcb.board
        self.tcpi_snd_mss = mss
        self.tcpi_rcv_mss = tcb.rcv_mss
        self.tcpi_advmss = tcb.advertised_mss
        self.tcpi_pmtu = tcb.path_mtu
        self.tcpi_unacked = -(-(board.highest_sent - board.una) // mss)
        self.tcpi_sacked = board.sacked_segs
        self.tcpi_lost = -(-board.lost_bytes // mss)
        self.tcpi_retrans = -(-board.retransmitted_bytes // mss)
        self.tcpi_fackets = 0
        self.tcpi_reordering = board.reordering
        self.tcpi_total_retrans = board.total_retrans
        self.tcpi_reord_seen = board.reord_seen
        self.tcpi_dsack_dups = board.dsack_segs

    def _fill_times(self, tcb: Tcb, now: int) -> None:
        self.tcpi_rto = tcb.rtt.rto // 1000
        self.tcpi_ato = tcb.ato // 1000
        self.tcpi_rtt = tcb.rtt.srtt // 1000
        self.tcpi_rttvar = tcb.rtt.mdev // 1000
        self.tcpi_min_rtt = tcb.rtt.min_rtt // 1000 if tcb.rtt.min_rtt else 0xFFFFFFFF
        self.tcpi_rcv_rtt = tcb.rcv_rtt // 1000
        self.tcpi_last_data_sent = (now - (tcb.last_sent_at or tcb.created_at)) // 1_000_000
        self.tcpi_last_ack_sent = 0
        self.tcpi_last_data_recv = (now - (tcb.last_text_at or tcb.created_at)) // 1_000_000
        self.tcpi_busy_time = chrono.busy(tcb, now) // 1000
        self.tcpi_rwnd_limited = chrono.rwnd_limited(tcb, now) // 1000
        self.tcpi_last_ack_recv = (now - tcb.ack_at) // 1_000_000

    def _fill_windows(self, tcb: Tcb, mss: int) -> None:
        control = tcb.congestion
        cwnd = tcb.cwnd()
        self.tcpi_snd_cwnd = max(cwnd // mss, 1)
        ssthresh = control.ssthresh if control is not None else INFINITE_SSTHRESH
        self.tcpi_snd_ssthresh = INFINITE_SSTHRESH if ssthresh >= INFINITE_SSTHRESH else ssthresh // mss
        self.tcpi_rcv_ssthresh = tcb.rcv_ssthresh
        self.tcpi_rcv_space = tcb.rcv_space
        self.tcpi_snd_wnd = tcb.snd_wnd
        self.tcpi_rcv_wnd = tcb.rcv_wnd
        self.tcpi_pacing_rate = _pacing_rate(tcb)
        self.tcpi_max_pacing_rate = tcb.options.max_pacing_rate
        self.tcpi_notsent_bytes = max(tcb.iss + 1 + tcb.send_ring.end - tcb.snd_nxt, 0)

    def _fill_totals(self, tcb: Tcb) -> None:
        self.tcpi_bytes_acked = tcb.bytes_acked
        self.tcpi_bytes_received = tcb.bytes_received
        self.tcpi_rcv_ooopack = tcb.rcv_ooopack
        self.tcpi_total_rto = tcb.total_rto
        self.tcpi_total_rto_recoveries = tcb.total_rto_recoveries
        self.tcpi_bytes_sent = tcb.bytes_sent + tcb.bytes_retrans
        self.tcpi_bytes_retrans = tcb.bytes_retrans
        self.tcpi_segs_out = tcb.total_segs_out
        self.tcpi_segs_in = tcb.total_segs_in
        self.tcpi_data_segs_out = tcb.data_segs_out
        self.tcpi_data_segs_in = tcb.data_segs_in
        self.tcpi_delivered = -(-tcb.board.delivered // tcb.snd_mss)
        self.tcpi_delivery_rate = tcb.board.rate.rate
        self.tcpi_delivery_rate_app_limited = int(tcb.board.rate.app_limited)
