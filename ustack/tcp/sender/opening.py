"""The sender's part of a handshake: before our SYN leaves, when the peer's comes, when both are acknowledged."""

from __future__ import annotations

from ustack.tcp.sender import buffer, bursts, control, mss
from ustack.tcp.sender.state import Sender


def prepare(sender: Sender, mtu: int) -> int:
    """The path carries packets of ``mtu`` bytes. Returns the MSS that our SYN announces."""
    sender.path_mtu = mtu
    sender.snd_mss = mss.own_mss(sender)
    sender.congestion = control.make_control(sender)
    return sender.snd_mss


def take_syn(sender: Sender, irs: int) -> None:
    """The peer's SYN had sequence number ``irs``; the terms are agreed upon."""
    sender.scoreboard.enable_sack = sender.agreed.sack_on
    mss.bound_peer_mss(sender)
    mss.settle_mss(sender)
    sender.snd_wl1 = irs


def take_first_window(sender: Sender, window: int) -> None:
    """The window of the peer's SYN, which is never scaled (RFC 7323 section 2.2)."""
    sender.snd_wnd = window
    sender.max_window = max(sender.max_window, window)


def syn_was_answered(sender: Sender, at: int, again: int, is_ambiguous: bool) -> None:
    """A listener sent our SYN-ACK at instant ``at``, and ``again`` times more; the ACK is processed next.

    ``is_ambiguous``: nobody knows which one it answers, so no round trip is measured by it (Karn)."""
    board = sender.scoreboard
    iss = sender.iss
    sender.totals.bytes_acked = -1  # the SYN of a passive open is not counted, the peer's is (Linux)
    board.sent(iss, iss + 1, at)
    if is_ambiguous:
        board.mark_all_lost()
        board.resent(iss, iss + 1, at)
        board.total_retrans = again
    sender.snd_nxt = iss + 1


def establish(sender: Sender, was_resent: bool) -> None:
    """Both SYNs are acknowledged: congestion control and buffer begin (Linux's tcp_init_transfer).

    ``was_resent``: our SYN was lost more than once."""
    mss.settle_mss(sender)
    sender.congestion = control.make_control(sender)
    if was_resent:
        sender.congestion.cwnd = sender.snd_mss  # RFC 5681 section 3.1, once more than one SYN was lost (Linux)
    if sender.rtt.srtt == 0:
        sender.rtt.fall_back()
    bursts.set_pace(sender)
    sender.retransmits = 0
    sender.probes_out = 0
    sender.retrans_since = 0
    sender.small_sent = sender.snd_una
    buffer.grow(sender)
