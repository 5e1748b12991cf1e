"""What the path or the peer refused: it was not lost, so it says nothing of congestion (ICMP errors, a SYN's text)."""

from __future__ import annotations

from ustack.congestion.base import INFINITE_SSTHRESH
from ustack.tcp.sender import loss
from ustack.tcp.sender.state import CA_LOSS, Sender


def resend(sender: Sender, now: int) -> None:
    """What is marked leaves again, without touching the congestion window (tcp_non_congestion_loss_retransmit)."""
    if sender.ca_state != CA_LOSS:
        control = sender.congestion
        if control is not None and control.ssthresh >= INFINITE_SSTHRESH:
            control.ssthresh = control.current_ssthresh()
        sender.high_seq = sender.snd_nxt
        sender.undo.clear()
        loss.enter(sender, CA_LOSS)
    loss.rearm_rto(sender, now)


def remember_error(sender: Sender, code: int) -> None:
    """An ICMP error that ends nothing: the errno ``code`` explains the silence on the day the connection gives up."""
    sender.soft_error = code


def take_error(sender: Sender) -> int:
    """The remembered errno, which is told once; 0: none."""
    code = sender.soft_error
    sender.soft_error = 0
    return code
