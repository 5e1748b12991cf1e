"""When an ACK leaves: RFC 5681 section 4.2 with Linux's quick ACKs, interactive mode and delays.

Challenge ACKs (RFC 5961) are asked for here, too.
"""

from __future__ import annotations

from ustack.tcp.constants import ATO_MIN, DELACK_MAX, JIFFY, MAX_QUICKACKS
from ustack.tcp.owed import OWE_ACK
from ustack.tcp.receiver import sack, window
from ustack.tcp.receiver.state import Receiver
from ustack.tcp.timers import Timer
from ustack.units import MILLISECOND, SECOND


def take_turn(receiver: Receiver, now: int) -> bool:
    """One more ACK of the sort that tcp_invalid_ratelimit limits. False: the last one left too short a time ago."""
    least = receiver.host.settings.tcp_invalid_ratelimit * MILLISECOND
    if receiver.acks.challenged_at and now - receiver.acks.challenged_at < least:
        return False
    receiver.acks.challenged_at = now
    return True


def challenge(receiver: Receiver, now: int) -> None:
    """Owe the peer a challenge ACK (RFC 5961 sections 3.2, 4.2, 5.2), limited per connection and host (section 7)."""
    if not take_turn(receiver, now):
        receiver.host.counters.add("TCPACKSkippedChallenge")
    elif receiver.host.challenge_allowed(now):
        receiver.host.counters.add("TCPChallengeACK")
        receiver.owed.add(OWE_ACK)


def decide_ack(receiver: Receiver, now: int) -> None:
    """After a segment: is the scheduled ACK due now, or may it wait (Linux's __tcp_ack_snd_check)?"""
    if not receiver.acks.scheduled or receiver.owed.has(OWE_ACK):
        return
    arrived = receiver.rcv_nxt - receiver.rcv_wup
    if (
        (
            arrived > receiver.rcv_mss
            and (receiver.receive_ring.readable() < receiver.options.rcvlowat or window.would_offer_more(receiver))
        )
        or receiver.is_quickack()
        or sack.has_gap(receiver)
    ):
        receiver.owed.add(OWE_ACK)
    else:
        delay_ack(receiver, now)


def delay_ack(receiver: Receiver, now: int) -> None:
    """Arm the delayed-ACK timer (RFC 9293 section 3.8.6.3; Linux's tcp_send_delayed_ack)."""
    delay = receiver.acks.ato
    if delay > ATO_MIN:
        most = DELACK_MAX if receiver.in_pingpong() or receiver.acks.pushed else SECOND // 2
        if receiver.rtt.srtt:
            most = min(most, max(receiver.rtt.srtt, ATO_MIN))
        delay = min(delay, most)
    delay = min(delay or JIFFY, receiver.options.delack_max_us * 1000 or DELACK_MAX)
    at = now + delay
    running = receiver.timers.at[Timer.DELAYED_ACK]
    if running:
        if running <= now + (delay >> 2):
            receiver.owed.add(OWE_ACK)
            return
        at = min(at, running)
    receiver.timers.arm(Timer.DELAYED_ACK, at)


def wait_for_text(receiver: Receiver, now: int) -> None:
    """Text is about to leave, and carries the ACK: Linux waits TCP_DELACK_MAX for it, and acknowledges quickly then."""
    receiver.acks.scheduled = True
    receiver.enter_quickack(MAX_QUICKACKS)
    receiver.timers.arm(Timer.DELAYED_ACK, now + DELACK_MAX)


def expect_answers(receiver: Receiver) -> None:
    """TCP_QUICKACK was switched off: ACKs ride on answers."""
    receiver.acks.pingpong = receiver.host.settings.tcp_pingpong_thresh


def expect_no_answers(receiver: Receiver) -> None:
    """TCP_QUICKACK was switched on: an ACK that is scheduled leaves now."""
    receiver.acks.pingpong = 0
    if receiver.acks.scheduled:
        receiver.owed.add(OWE_ACK)


def ack_sent(receiver: Receiver) -> None:
    """A segment with an ACK left: whatever was scheduled is done."""
    receiver.owed.drop(OWE_ACK)
    receiver.acks.scheduled = False
    receiver.acks.duplicates = 0
    receiver.acks.pushed = 0
    receiver.dsack = None
    if receiver.acks.quick > 0:
        receiver.acks.quick -= 1
        if receiver.acks.quick == 0:
            receiver.acks.ato = ATO_MIN
    receiver.timers.stop(Timer.DELAYED_ACK)
    receiver.last_ack_sent = receiver.rcv_nxt


def after_read(receiver: Receiver, copied: int, now: int) -> None:
    """The application took ``copied`` bytes: is it time for an ACK or a window update (Linux's tcp_cleanup_rbuf)?"""
    receiver.queue.release(receiver.receive_ring.start)
    window.adjust_to_reader(receiver, now)
    if receiver.acks.scheduled:
        drained = copied > 0 and receiver.receive_ring.readable() == 0
        interactive = receiver.acks.pushed == 2 or (receiver.acks.pushed == 1 and not receiver.in_pingpong())
        if receiver.rcv_nxt - receiver.rcv_wup > receiver.rcv_mss or (interactive and drained):
            receiver.owed.add(OWE_ACK)
            return
    if copied > 0 and not receiver.fin_received:
        offered = receiver.receive_window()
        if 2 * offered <= receiver.window_clamp and window.reopens(receiver, offered):
            receiver.owed.add(OWE_ACK)


def arrived_again(receiver: Receiver, seq: int) -> None:
    """A SYN or FIN came once more: the peer seems not to have our ACK."""
    receiver.host.counters.add("DelayedACKLost")
    sack.note_dsack(receiver, seq, seq + 1)
    receiver.enter_quickack(MAX_QUICKACKS)
    receiver.owed.add(OWE_ACK)


def repeat_ack(receiver: Receiver) -> None:
    """A segment that cannot be taken is answered by an ACK; a peer without SACK counts each of them."""
    receiver.owed.add(OWE_ACK)
    if not receiver.agreed.sack_on:
        receiver.acks.duplicates += 1


def owe_duplicates(receiver: Receiver, count: int) -> None:
    """``count`` more duplicate ACKs are to leave at once."""
    if count > 0:
        receiver.acks.duplicates = count
        receiver.owed.add(OWE_ACK)


def text_sent(receiver: Receiver, now: int) -> None:
    """New text leaves: soon after the peer's it is an answer (Linux's tcp_event_data_sent)."""
    if now - receiver.last_text_at < receiver.acks.ato:
        receiver.acks.pingpong = min(receiver.acks.pingpong + 1, 255)


def delayed_ack_due(receiver: Receiver) -> None:
    """The ACK may wait no longer; the next ones wait less or more (Linux's tcp_delack_timer_handler)."""
    if not receiver.acks.scheduled:
        return
    if receiver.in_pingpong():
        receiver.acks.pingpong = 0
        receiver.acks.ato = ATO_MIN
    else:
        receiver.acks.ato = min(receiver.acks.ato << 1, receiver.rtt.rto)
    receiver.host.counters.add("DelayedACKs")
    receiver.owed.add(OWE_ACK)
