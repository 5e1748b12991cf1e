"""What the sender does when a loss timer is due: it changes state; output sends.

RFC 6298 section 5. When to give up: ``connection/timeouts.py``.
"""

from __future__ import annotations

from typing import Final

from ustack.tcp.constants import MODEL_RTO_MIN, ORPHAN_RETRIES
from ustack.tcp.owed import OWE_SYN, OWE_TAIL_LOSS_PROBE
from ustack.tcp.sender import loss
from ustack.tcp.sender.state import Sender
from ustack.tcp.timers import LossTimer
from ustack.units import SECOND

THIN_LINEAR_RETRIES: Final = 6
"""Linux's TCP_THIN_LINEAR_RETRIES."""


def model_timeout(rto_max: int, retries: int, base: int) -> int:
    """The time that ``retries`` doublings from ``base`` take, ns: tcp_retries2 = 15 means 924.6 s, whatever the RTO."""
    doublings = (rto_max // base).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * base
    return ((2 << doublings) - 1) * base + (retries - doublings) * rto_max


def has_timed_out(sender: Sender, retries: int, user_timeout: int, now: int) -> bool:
    """Retransmission has gone on for as long as ``retries`` (or TCP_USER_TIMEOUT, ns) allow."""
    if sender.retransmits == 0:
        return False
    limit = user_timeout
    if limit == 0:
        base = SECOND if sender.is_opening() else MODEL_RTO_MIN
        limit = model_timeout(sender.rtt.rto_max, retries, base)
    return now - sender.retrans_since >= limit


def r2(sender: Sender) -> int:
    """How long resending goes on by default, ns (tcp_retries2)."""
    return model_timeout(sender.rtt.rto_max, sender.host.settings.tcp_retries2, MODEL_RTO_MIN)


def orphan_retries(sender: Sender, is_alive: bool) -> int:
    """How often an orphan's data and FIN are resent (tcp_orphan_retries; 0 means 8, none after an ICMP error)."""
    if sender.soft_error and not is_alive:
        return 0
    return sender.host.settings.tcp_orphan_retries or ORPHAN_RETRIES


def count_timeout(sender: Sender, now: int) -> None:
    """The SYN-ACK of a Fast Open child was not answered in time."""
    _count(sender, now)
    sender.retransmits += 1
    # An echo from before shows that the first one had arrived (RFC 3522).
    sender.undo.retrans_stamp = sender.host.timestamp(sender.agreed.ts_offset, sender.retrans_since)


def _count(sender: Sender, now: int) -> None:
    sender.totals.rtos += 1
    if sender.retransmits == 0:
        sender.totals.rto_recoveries += 1
    if sender.retrans_since == 0:
        sender.retrans_since = now


def resend_due(sender: Sender, linear: int, now: int) -> None:
    """The RTO fired, and it is not the end: what is out counts as lost. ``linear``: so many wait the same time."""
    sender.host.counters.add("TCPTimeouts")
    _count(sender, now)
    if sender.is_opening():
        sender.scoreboard.mark_all_lost()
        sender.owed.add(OWE_SYN)
        sender.ecn.syn_lost()
    else:
        loss.enter_loss(sender, now)
    sender.retransmits += 1
    _wait_longer(sender, linear, now)


def probe_with_resend(sender: Sender, now: int) -> None:
    """The RTO fired, but the window was shut upon text in flight: its first segment leaves again as a probe. No timeout
    is counted, so F-RTO does not begin with the next one, and R2 never comes while the peer answers."""
    if sender.retrans_since == 0:
        sender.retrans_since = now
    loss.enter_loss(sender, now)
    _wait_longer(sender, 0, now)


def _wait_longer(sender: Sender, linear: int, now: int) -> None:
    _back_off(sender, linear)
    sender.timers.arm_loss(LossTimer.RTO, loss.within_user_timeout(sender, now + sender.rtt.rto, now))


def _back_off(sender: Sender, linear: int) -> None:
    """RFC 6298 section 5.5; a SYN waits the same for the first ones (tcp_syn_linear_timeouts)."""
    if linear and sender.retransmits <= linear:
        return
    if _is_thin(sender) and sender.retransmits <= THIN_LINEAR_RETRIES:
        sender.rtt.reset_backoff()
        return
    sender.rtt.back_off()


def _is_thin(sender: Sender) -> bool:
    """Fewer than four segments in flight, and asked to be patient with such (tcp_thin_linear_timeouts)."""
    if not (sender.options.thin_linear_timeouts or sender.host.settings.tcp_thin_linear_timeouts):
        return False
    return not sender.is_opening() and sender.snd_nxt - sender.snd_una < 4 * sender.snd_mss


def tail_loss_probe_due(sender: Sender, now: int) -> None:
    """The probe timer fired (RFC 8985 section 7.3)."""
    if sender.scoreboard.is_empty:
        loss.rearm_rto(sender, now)
    else:
        sender.owed.add(OWE_TAIL_LOSS_PROBE)
