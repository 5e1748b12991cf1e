"""The sender's part of a handshake: before our SYN leaves, when the peer's comes, when both are acknowledged."""

from __future__ import annotations

from ustack.tcp.sender import acks, buffer, bursts, control, loss, mss
from ustack.tcp.sender.state import CA_LOSS, Sender
from ustack.units import MILLISECOND
from ustack.wire.frame import Segment, Transmit


def prepare(sender: Sender, mtu: int) -> int:
    """The path carries packets of ``mtu`` bytes. Returns the MSS that our SYN announces."""
    sender.path.mtu = mtu
    sender.snd_mss = mss.own_mss(sender)
    sender.congestion = control.make_control(sender)
    return sender.snd_mss


def take_syn(sender: Sender, irs: int) -> None:
    """The peer's SYN had sequence number ``irs``; the terms are agreed upon."""
    sender.scoreboard.enable_sack = sender.agreed.sack_on
    mss.bound_peer_mss(sender)
    mss.settle_mss(sender)
    sender.snd_wl1 = irs


def answer_crossing_syn(sender: Sender, now: int) -> None:
    """The SYN-ACK of a simultaneous open leaves: no resend of the SYN, but the round trip counts from here (Linux).

    Text that left with the SYN (Fast Open) keeps its time, by which what is in flight is ordered."""
    record = sender.scoreboard.sent_list.first()
    if record is not None and sender.snd_nxt == sender.iss + 1:
        record.sent_at = now


def crossing_syn_taken(sender: Sender) -> None:
    """Our SYN of a simultaneous open, and the SYN-ACK that followed it, are acknowledged: two segments for Linux."""
    sender.scoreboard.delivered_segs += 1


def syn_was_answered(sender: Sender, at: int, again: int, is_ambiguous: bool) -> None:
    """A listener sent our SYN-ACK at instant ``at``, and ``again`` times more; the ACK is processed next.

    ``is_ambiguous``: nobody knows which one it answers, so no round trip is measured by it (Karn)."""
    scoreboard = sender.scoreboard
    iss = sender.iss
    sender.totals.bytes_acked = -1  # the SYN of a passive open is not counted, the peer's is (Linux)
    scoreboard.sent(iss, iss + 1, at)
    if is_ambiguous:
        scoreboard.mark_all_lost()
        scoreboard.resent(iss, iss + 1, at)
        scoreboard.total_retrans = again
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
    bursts.begin(sender)
    sender.retransmits = 0
    sender.probing.sent = 0
    sender.retrans_since = 0
    sender.marks.small_sent = sender.snd_una
    buffer.grow(sender)


# Fast Open (RFC 7413)


def text_in_syn(sender: Sender, transmit: Transmit, length: int, now: int) -> None:
    """The SYN leaves with the first ``length`` bytes of text."""
    start = sender.iss + 1
    transmit.ring = sender.send_ring
    transmit.at = 0
    transmit.length = length
    transmit.segment_size = length
    sender.scoreboard.sent(start, start + length, now)
    sender.snd_nxt = start + length
    sender.marks.pushes.append(start + length)
    sender.totals.data_segs_out += 1
    sender.totals.bytes_sent += length
    sender.last_sent_at = now


def syn_text_taken(sender: Sender) -> None:
    """The SYN's text was acknowledged with it: they were one segment on the wire."""
    if sender.scoreboard.delivered_segs > 1:
        sender.scoreboard.delivered_segs -= 1


def open_early(sender: Sender, window: int) -> None:
    """A child is open before its third ACK: the SYN-ACK has no place in what is sent (Linux's fastopen_create_child).

    ``window``: the one of the peer's SYN, never scaled."""
    sender.snd_una = sender.snd_nxt = sender.iss + 1
    sender.high_seq = sender.snd_up = sender.iss + 1
    sender.totals.bytes_acked = 0
    sender.scoreboard = sender.new_scoreboard(sender.iss + 1)
    sender.scoreboard.enable_sack = sender.agreed.sack_on
    acks.take_first_window(sender, window)
    establish(sender, False)


def syn_ack_again(sender: Sender) -> None:
    """The SYN-ACK of a child leaves again."""
    sender.scoreboard.total_retrans += 1


def measure_syn_ack(sender: Sender, segment: Segment, elapsed: int, now: int) -> None:
    """The round trip of a child's SYN-ACK took ``elapsed`` ns; -1: it was repeated, only a timestamp tells."""
    if sender.rtt.srtt:
        return
    if elapsed < 0 and segment.has_ts and segment.ts_ecr and sender.agreed.ts_on:
        ticks = (sender.host.timestamp(sender.agreed.ts_offset, now) - segment.ts_ecr) & 0xFFFFFFFF
        elapsed = max(ticks, 1) * MILLISECOND if ticks < 0x7FFFFFFF else -1
    if elapsed >= 0:
        sender.rtt.sample(elapsed, now, sender.snd_una, sender.snd_nxt, elapsed)
    else:
        sender.rtt.fall_back()


def third_ack(sender: Sender, now: int) -> None:
    """A child's SYN-ACK is acknowledged."""
    sender.scoreboard.delivered_segs += 1
    sender.last_sent_at = now


def early_is_over(sender: Sender, ts_ecr: int, now: int) -> None:
    """A child's timer belongs to its text from now on (Linux's tcp_rcv_synrecv_state_fastopen). ``ts_ecr``: -1 none."""
    if sender.ca_state == CA_LOSS and sender.scoreboard.is_empty:
        loss.recovered(sender, now, ts_ecr)
    sender.retransmits = 0
    sender.retrans_since = 0
    loss.rearm_rto(sender, now)
