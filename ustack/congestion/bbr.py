"""BBR version 1, after Linux's tcp_bbr.c: pace at the bandwidth that was delivered, two round trips of it in flight.

A model of the path (the largest delivery rate of ten round trips, the smallest RTT of ten seconds)
sets pacing rate and cwnd; losses do not. Modes: STARTUP doubles until the bandwidth grows no more,
DRAIN empties the queue that this made, PROBE_BW cycles around the estimate, PROBE_RTT empties the
pipe for 200 ms when the smallest RTT is ten seconds old. Gains are in 1/256. Left out: the
detection of policers (lt_bw).
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from ustack.congestion.base import MAX_CWND, AckSample, CongestionControl
from ustack.units import MILLISECOND, SECOND
from ustack.windowed import WindowedMax

UNIT: Final = 256
HIGH_GAIN: Final = UNIT * 2885 // 1000 + 1
"""2 / ln 2: the least that doubles the rate each round trip."""
DRAIN_GAIN: Final = UNIT * 1000 // 2885
CWND_GAIN: Final = UNIT * 2
CYCLE: Final = 8
CYCLE_RANDOM: Final = 7
BW_ROUNDS: Final = CYCLE + 2
MIN_RTT_WINDOW: Final = 10 * SECOND
PROBE_RTT_TIME: Final = 200 * MILLISECOND
MIN_SEGS: Final = 4
"""The window of PROBE_RTT, segments: keeps delayed ACKs coming."""
FULL_BW_ROUNDS: Final = 3
EXTRA_ACKED_ROUNDS: Final = 5
EXTRA_ACKED_TIME: Final = 100 * MILLISECOND
EPOCH_SEGS: Final = 1 << 20
MARGIN_PERCENT: Final = 99
"""Paced a little below the estimate, so that queues drain."""
MAX_QUANTUM: Final = 512 * 1024
MIN_TSO_RATE: Final = 150_000
"""Bytes a second; Linux's bbr_min_tso_rate."""


class Mode(IntEnum):
    """Where in its search the algorithm is."""

    STARTUP = 0
    DRAIN = 1
    PROBE_BW = 2
    PROBE_RTT = 3


class AckAggregation:
    """How much more than the bandwidth explains arrives at once, over five to ten round trips (bbr_extra_acked)."""

    def __init__(self) -> None:
        self.epoch_at: int = 0
        self.epoch_acked: int = 0
        self.older: int = 0
        self.newer: int = 0
        self.rounds: int = 0

    def on_ack(self, sample: AckSample, bandwidth: int, cwnd: int, mss: int, round_start: bool) -> None:
        """``sample`` delivered something."""
        if round_start:
            self.rounds += 1
            if self.rounds >= EXTRA_ACKED_ROUNDS:
                self.rounds = 0
                self.older = self.newer
                self.newer = 0
        expected = bandwidth * (sample.now - self.epoch_at) // SECOND
        if self.epoch_acked <= expected or self.epoch_acked + sample.delivered >= EPOCH_SEGS * mss:
            self.epoch_acked = 0
            self.epoch_at = sample.now
            expected = 0
        self.epoch_acked += sample.delivered
        self.newer = max(self.newer, min(self.epoch_acked - expected, cwnd))

    def restart(self, now: int) -> None:
        """Sending begins after silence."""
        self.epoch_at = now
        self.epoch_acked = 0

    def allowance(self, bandwidth: int) -> int:
        """Bytes of window for it: never more than 100 ms of the bandwidth."""
        return min(max(self.older, self.newer), bandwidth * EXTRA_ACKED_TIME // SECOND)


@mypyc_attr(allow_interpreted_subclasses=True)
class Bbr(CongestionControl):
    """Needs pacing and delivery rates (AckSample.delivery_rate, interval, prior_delivered, delivered_total)."""

    name: ClassVar[str] = "bbr"
    owns_recovery: ClassVar[bool] = True
    buffer_factor: ClassVar[int] = 3

    def __init__(self, mss: int, initial_cwnd: int) -> None:
        super().__init__(mss, initial_cwnd)
        self.mode: Mode = Mode.STARTUP
        self.pacing_gain: int = HIGH_GAIN
        self.cwnd_gain: int = HIGH_GAIN
        self.max_bw: WindowedMax = WindowedMax(BW_ROUNDS)
        self.aggregation: AckAggregation = AckAggregation()
        self.path_rtt: int = 0
        """Smallest RTT of ten seconds, ns; 0: none yet."""
        self.path_rtt_at: int = 0
        self.rounds: int = 0
        self.round_start: bool = False
        self.next_round: int = 0
        """The round ends when data sent after this much was delivered is acknowledged."""
        self.full_bw: int = 0
        self.full_bw_rounds: int = 0
        self.full_bw_reached: bool = False
        self.cycle: int = 0
        self.cycle_at: int = 0
        self.probe_rtt_done: int = 0
        self.probe_rtt_round_done: bool = False
        self.idle_restart: bool = False
        self.seen_rtt: bool = False
        self.conserving: bool = False
        """The first round trip of a recovery: one out for one in."""
        self.in_repair: int = 0
        """0 no; 1 recovery begins, 2 it is on; 3 after an RTO."""
        self.repair_end: int = -1
        self._begin_rate(MILLISECOND)

    @property
    def bandwidth(self) -> int:
        """Estimated, bytes a second."""
        return self.max_bw.best

    # Events

    def on_open(self, srtt: int) -> None:
        """The first rate is a window per round trip of the handshake (Linux's bbr_init)."""
        self.seen_rtt = True
        self._begin_rate(srtt)

    def on_ack(self, sample: AckSample) -> None:
        """Model, then rate, then window."""
        self._update_bandwidth(sample)
        if sample.delivered > 0 and sample.interval > 0:
            self.aggregation.on_ack(sample, self.bandwidth, self.cwnd, self.mss, self.round_start)
        if self.mode is Mode.PROBE_BW and self._phase_is_over(sample):
            self._next_phase(sample.now)
        self._check_full_bandwidth(sample)
        self._check_drained(sample)
        self._update_path_rtt(sample)
        self._set_gains()
        self._set_pacing_rate(sample.srtt, self.pacing_gain)
        self._set_cwnd(sample)

    def on_loss(self, now: int, in_flight: int) -> None:
        """Recovery begins: one round trip of packet conservation; ssthresh stays."""
        self._save_cwnd()
        if self.in_repair == 0:
            self.in_repair = 1
            self.repair_end = -1

    def on_recovered(self, now: int) -> None:
        """Back to the window from before."""
        if self.in_repair:
            self.in_repair = 0
            self.conserving = False
            self.cwnd = max(self.cwnd, self.prior_cwnd)

    def on_timeout(self, now: int, in_flight: int) -> None:
        """One segment; the bandwidth may have changed, so its plateau is sought anew."""
        self._save_cwnd()
        self.cwnd = self.mss
        self.full_bw = 0
        self.in_repair = 3
        self.repair_end = -1
        self.conserving = False

    def min_tso_segs(self) -> int:
        """One segment at a time below 1.2 Mbit/s (Linux's bbr_min_tso_segs)."""
        return 1 if self.pacing_rate < MIN_TSO_RATE else 2

    def on_ecn(self, now: int, in_flight: int) -> None:
        """Version 1 does not listen to ECN."""

    def on_idle(self, now: int, idle_ns: int, rto: int) -> None:
        """No window is lost by silence: pacing at the estimated bandwidth keeps the restart from bursting."""
        self.idle_restart = True
        self.aggregation.restart(now)
        if self.mode is Mode.PROBE_BW:
            self._set_pacing_rate(0, UNIT)
        elif self.mode is Mode.PROBE_RTT:
            self._leave_probe_rtt(now)

    def undo(self, now: int) -> None:
        """Spurious: the window from before, and the plateau is sought anew."""
        self.full_bw = 0
        self.full_bw_rounds = 0
        self.on_recovered(now)

    def _save_cwnd(self) -> None:
        if self.in_repair == 0 and self.mode is not Mode.PROBE_RTT:
            self.prior_cwnd = self.cwnd
        else:
            self.prior_cwnd = max(self.prior_cwnd, self.cwnd)

    # The model

    def _update_bandwidth(self, sample: AckSample) -> None:
        self.round_start = False
        if sample.interval <= 0:
            return
        if sample.prior_delivered >= self.next_round:
            self.next_round = sample.delivered_total
            self.rounds += 1
            self.round_start = True
            self.conserving = False
        if not sample.app_limited or sample.delivery_rate >= self.bandwidth:
            self.max_bw.sample(sample.delivery_rate, self.rounds)

    def _check_full_bandwidth(self, sample: AckSample) -> None:
        """STARTUP is over when three round trips brought less than a quarter more."""
        if self.full_bw_reached or not self.round_start or sample.app_limited:
            return
        if self.bandwidth >= self.full_bw * 5 // 4:
            self.full_bw = self.bandwidth
            self.full_bw_rounds = 0
            return
        self.full_bw_rounds += 1
        self.full_bw_reached = self.full_bw_rounds >= FULL_BW_ROUNDS

    def _check_drained(self, sample: AckSample) -> None:
        if self.mode is Mode.STARTUP and self.full_bw_reached:
            self.mode = Mode.DRAIN
            self.ssthresh = max(self._inflight(UNIT), 2 * self.mss)
        if self.mode is Mode.DRAIN and sample.in_flight <= self._inflight(UNIT):
            self._begin_probe_bw(sample.now)

    def _begin_probe_bw(self, now: int) -> None:
        self.mode = Mode.PROBE_BW
        # Any phase but the draining one; the clock's microseconds are random enough to keep flows apart.
        self.cycle = CYCLE - 1 - (now // 1000) % CYCLE_RANDOM
        self._next_phase(now)

    def _next_phase(self, now: int) -> None:
        self.cycle = (self.cycle + 1) % CYCLE
        self.cycle_at = now

    def _phase_is_over(self, sample: AckSample) -> bool:
        full_length = sample.now - self.cycle_at > self.path_rtt
        if self.pacing_gain == UNIT:
            return full_length
        if self.pacing_gain > UNIT:
            return full_length and (sample.lost > 0 or sample.prior_in_flight >= self._inflight(self.pacing_gain))
        return full_length or sample.prior_in_flight <= self._inflight(UNIT)

    def _update_path_rtt(self, sample: AckSample) -> None:
        now = sample.now
        expired = self.path_rtt > 0 and now > self.path_rtt_at + MIN_RTT_WINDOW
        if sample.rtt >= 0 and (self.path_rtt == 0 or sample.rtt < self.path_rtt or expired):
            self.path_rtt = max(sample.rtt, 1)
            self.path_rtt_at = now
        if expired and not self.idle_restart and self.mode is not Mode.PROBE_RTT:
            self._save_cwnd()
            self.mode = Mode.PROBE_RTT
            self.probe_rtt_done = 0
        if self.mode is Mode.PROBE_RTT:
            self._probe_rtt(sample)
        if sample.delivered > 0:
            self.idle_restart = False

    def _probe_rtt(self, sample: AckSample) -> None:
        if self.probe_rtt_done == 0:
            if sample.in_flight <= MIN_SEGS * self.mss:
                self.probe_rtt_done = sample.now + PROBE_RTT_TIME
                self.probe_rtt_round_done = False
                self.next_round = sample.delivered_total
            return
        if self.round_start:
            self.probe_rtt_round_done = True
        if self.probe_rtt_round_done:
            self._leave_probe_rtt(sample.now)

    def _leave_probe_rtt(self, now: int) -> None:
        if self.probe_rtt_done == 0 or now <= self.probe_rtt_done:
            return
        self.path_rtt_at = now
        self.cwnd = max(self.cwnd, self.prior_cwnd)
        if self.full_bw_reached:
            self._begin_probe_bw(now)
        else:
            self.mode = Mode.STARTUP

    # What follows from it

    def _set_gains(self) -> None:
        if self.mode is Mode.STARTUP:
            self.pacing_gain = self.cwnd_gain = HIGH_GAIN
        elif self.mode is Mode.DRAIN:
            self.pacing_gain = DRAIN_GAIN
            self.cwnd_gain = HIGH_GAIN
        elif self.mode is Mode.PROBE_BW:
            self.pacing_gain = UNIT * 5 // 4 if self.cycle == 0 else UNIT * 3 // 4 if self.cycle == 1 else UNIT
            self.cwnd_gain = CWND_GAIN
        else:
            self.pacing_gain = self.cwnd_gain = UNIT

    def _set_pacing_rate(self, srtt: int, gain: int) -> None:
        if not self.seen_rtt and srtt > 0:
            self.seen_rtt = True
            self._begin_rate(srtt)
        rate = self.bandwidth * gain // UNIT * MARGIN_PERCENT // 100
        if rate > 0 and (self.full_bw_reached or rate > self.pacing_rate):
            self.pacing_rate = rate

    def _begin_rate(self, srtt: int) -> None:
        """Linux's bbr_init_pacing_rate_from_rtt."""
        self.pacing_rate = self.cwnd * SECOND // srtt * HIGH_GAIN // UNIT * MARGIN_PERCENT // 100

    def _product(self, gain: int) -> int:
        """Bandwidth times delay times gain, bytes."""
        if self.path_rtt == 0:
            return self.initial_cwnd
        return self.bandwidth * self.path_rtt // SECOND * gain // UNIT

    def _with_quanta(self, window: int) -> int:
        """Room for the runs that wait at the sender, the device and the receiver; even, and more while probing."""
        quantum = min(max(self.pacing_rate >> 10, 2 * self.mss), MAX_QUANTUM)
        window += 3 * quantum
        window = -(-window // (2 * self.mss)) * (2 * self.mss)
        if self.mode is Mode.PROBE_BW and self.cycle == 0:
            window += 2 * self.mss
        return window

    def _inflight(self, gain: int) -> int:
        return self._with_quanta(self._product(gain))

    def _set_cwnd(self, sample: AckSample) -> None:
        if sample.delivered > 0:
            self._repair(sample)
            if self.conserving:
                self.cwnd = max(self.cwnd, sample.in_flight + sample.delivered)
            else:
                self._approach(sample)
        self.cwnd = min(max(self.cwnd, self.mss), MAX_CWND)
        if self.mode is Mode.PROBE_RTT:
            self.cwnd = min(self.cwnd, MIN_SEGS * self.mss)

    def _repair(self, sample: AckSample) -> None:
        """Packet conservation in recovery's first round trip, and the end of repair by sequence."""
        if sample.lost > 0:
            self.cwnd = max(self.cwnd - sample.lost, self.mss)
        if self.in_repair == 0:
            return
        if self.repair_end < 0:
            self.repair_end = sample.nxt
            if self.in_repair == 1:
                self.in_repair = 2
                self.conserving = True
                self.next_round = sample.delivered_total
                self.cwnd = sample.in_flight + sample.delivered
        elif sample.una >= self.repair_end:
            self.on_recovered(sample.now)

    def _approach(self, sample: AckSample) -> None:
        target = self._product(self.cwnd_gain)
        if self.full_bw_reached:
            target += self.aggregation.allowance(self.bandwidth)
        target = self._with_quanta(target)
        if self.full_bw_reached:
            self.cwnd = min(self.cwnd + sample.delivered, target)
        elif self.cwnd < target or sample.delivered_total < self.initial_cwnd:
            self.cwnd += sample.delivered
        self.cwnd = max(self.cwnd, MIN_SEGS * self.mss)
