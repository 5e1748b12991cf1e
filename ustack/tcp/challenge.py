"""Challenge ACKs (RFC 5961): the question "was that you?" to a peer whose segment a blind attacker could have sent."""

from __future__ import annotations

from ustack.tcp.constants import MILLISECOND
from ustack.tcp.tcb import Tcb


def is_limited(tcb: Tcb, now: int) -> bool:
    """An ACK of this sort left less than tcp_invalid_ratelimit ago; if not, this one takes the turn."""
    least = tcb.env.settings.tcp_invalid_ratelimit * MILLISECOND
    if tcb.last_challenge_at and now - tcb.last_challenge_at < least:
        return True
    tcb.last_challenge_at = now
    return False


def challenge(tcb: Tcb, now: int) -> None:
    """Owe the peer a challenge ACK (RFC 5961 sections 3.2, 4.2, 5.2), limited per connection and host (section 7)."""
    if is_limited(tcb, now):
        tcb.env.counters.add("TCPACKSkippedChallenge")
    elif tcb.env.challenge_allowed(now):
        tcb.env.counters.add("TCPChallengeACK")
        tcb.ack_now = True
