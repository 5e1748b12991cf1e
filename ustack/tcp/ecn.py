"""Explicit Congestion Notification: classic (RFC 3168) and accurate (RFC 9768), all of it but the reaction.

*Classic*: the receiver echoes CE as ECE on every ACK until the sender answers CWR, once in a round trip. *Accurate*:
three header bits (ACE) count the packets that came with CE, modulo eight, and an option counts bytes by codepoint, so
that the sender learns how much was marked. Which of them a connection uses is settled by the flags of the SYNs, with
Linux's ``tcp_ecn`` (0 to 5), ``tcp_ecn_fallback`` and ``tcp_ecn_option``. The reaction is the congestion control's.
"""

from __future__ import annotations

import struct
from typing import Final

from ustack.settings import Settings
from ustack.wire.tcp import ACCECN_0, ACCECN_1, AE, CWR, ECE

NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3
"""The ECN field of an IP header (RFC 3168 section 5)."""

ACE_MASK: Final = 7
ACE_INIT: Final = 5
"""The packet counter starts here, so that a middlebox that clears the bits is noticed (RFC 9768 section 3.2.1)."""
ACE_FLAGS: Final = AE | CWR | ECE

OFF: Final = 0
CLASSIC: Final = 1
ACCURATE: Final = 2

_CLASSIC_SETUP: Final = ECE | CWR
_REFLECTED: Final = (CWR, CWR | ECE, AE, AE | CWR)
"""ACE of a SYN-ACK, and of the ACK that answers it, by the ECN field that the SYN (SYN-ACK) came with (Table 2)."""
_FIELD_SIZE: Final = 3
MOST_FIELDS: Final = 3
_OPTION_START: Final = (0, 1, 1, 0)
"""What each byte counter of the option begins at, by codepoint (section 3.2.1)."""
_ORDER: Final = {ACCECN_0: (ECT_0, CE, ECT_1), ACCECN_1: (ECT_1, CE, ECT_0)}
"""Which counter stands where in either form of the option (section 3.2.3)."""
_FIELDS_FOR: Final = (0, 1, 3, 2)
"""How many fields the option that we send must have to tell of a codepoint."""
_LATEST_START: Final = (1 << 23) - 1
"""After so many bytes a first option could have wrapped unseen (Linux)."""

OPTION_UNSEEN: Final = 0
OPTION_EMPTY: Final = 1
OPTION_COUNTS: Final = 2
OPTION_ZEROED: Final = 3
"""What the peer's options have been so far (tcpi_accecn_opt_seen)."""

FAIL_ACE_RECEIVE: Final = 2
FAIL_OPTION_RECEIVE: Final = 8
"""Bits of tcpi_accecn_fail_mode: what of the peer's feedback does not get through."""


def ace_of(flags: int) -> int:
    """The three bits as a number: AE, CWR, ECE."""
    return (flags & ACE_FLAGS) >> 6


def flags_of(ace: int) -> int:
    """The number as header flags."""
    return (ace & ACE_MASK) << 6


def mode_of_syn(settings: Settings, flags: int, tos: int) -> int:
    """What a listener makes of a SYN: OFF, CLASSIC or ACCURATE (Linux's tcp_ecn_create_request)."""
    if not settings.tcp_ecn:
        return OFF
    ace = ace_of(flags)
    if settings.tcp_ecn >= 3 and ace not in (0, 3):
        return ACCURATE
    asks = flags & _CLASSIC_SETUP == _CLASSIC_SETUP
    return CLASSIC if asks and (tos & CE == NOT_ECT or flags & AE) else OFF


def syn_ack_flags(mode: int, syn_ect: int, resends: int) -> int:
    """The ECN flags of a SYN-ACK. ``syn_ect``: the ECN field of the SYN; ``resends``: how often it left before.

    An accurate one that is lost twice leaves without flags (RFC 9768 section 3.1.4.2); the mode stays."""
    if mode == ACCURATE:
        return _REFLECTED[syn_ect] if resends < 2 else 0
    return ECE if mode == CLASSIC else 0


class Ecn:
    """The state of one connection."""

    def __init__(self) -> None:
        self.on: bool = False
        """Classic ECN: both sides take part."""
        self.accurate: bool = False
        """Accurate ECN: both sides take part."""
        self.asked: bool = False
        """Our SYN offered ECN."""
        self.asked_accurate: bool = False
        self.seen: bool = False
        """A packet came with an ECN field that is not Not-ECT (TCPI_OPT_ECN_SEEN)."""
        self.syn_ect: int = NOT_ECT
        """The ECN field of the peer's SYN or SYN-ACK."""
        # Classic
        self.echo: bool = False
        """CE was seen: every ACK carries ECE until the peer answers CWR (RFC 3168 section 6.1.3)."""
        self.cwr_owed: bool = False
        """cwnd was reduced: the next new text carries CWR (RFC 3168 section 6.1.2)."""
        # Accurate, as the receiver of data
        self.reflects: bool = False
        """The next segment answers a SYN-ACK and tells its ECN field instead of the count."""
        self.received_ce: int = 0
        """Packets that came with CE."""
        self.pending_ce: int = 0
        """Those of them that no ACK has told of."""
        self.last_was_ce: bool = False
        self.received_bytes: list[int] = [0, 0, 0, 0]
        """Bytes of text by codepoint."""
        self.least_fields: int = 0
        """The next option must be long enough to tell of these many counters."""
        # Accurate, as the sender of data
        self.delivered_ce: int = 0
        """Packets of ours that arrived with CE, as far as the peer told."""
        self.delivered_bytes: list[int] = [0, 0, 0, 0]
        self.option_seen: int = OPTION_UNSEEN
        self.option_demand: int = 0
        """So many options leave even where they are sent sparingly (tcp_ecn_option = 1)."""
        self.option_sent_at: int = 0
        self.failed: int = 0
        """FAIL_*."""

    # Handshake

    def ask(self, settings: Settings) -> None:
        """Before our SYN leaves."""
        self.asked = settings.tcp_ecn in (1, 3, 4)
        self.asked_accurate = settings.tcp_ecn == 3

    def syn_flags(self, settings: Settings, resends: int) -> int:
        """The ECN flags of our SYN, which left ``resends`` times before.

        A classic one is offered once, an accurate one twice (RFC 3168 section 6.1.1.1, RFC 9768 section 3.1.4.1)."""
        if not self.asked:
            return 0
        if self.asked_accurate:
            return ACE_FLAGS if resends < 2 or not settings.tcp_ecn_fallback else 0
        return _CLASSIC_SETUP if resends < 1 or not settings.tcp_ecn_fallback else 0

    def take_syn(self, flags: int, tos: int) -> None:
        """The peer's SYN crosses ours (Linux's tcp_ecn_rcv_syn)."""
        ace = ace_of(flags)
        if self.asked_accurate and ace not in (0, 3):
            self._begin_accurate(tos)
        elif self.asked and flags & _CLASSIC_SETUP == _CLASSIC_SETUP:
            self.on = True

    def take_syn_ack(self, flags: int, tos: int) -> None:
        """The peer answers our SYN (Linux's tcp_ecn_rcv_synack; RFC 9768 Table 2)."""
        if not self.asked_accurate:
            self.on = self.asked and flags & _CLASSIC_SETUP == ECE
            return
        ace = ace_of(flags)
        if ace in (1, 5):
            self.on = True
        elif ace not in (0, 7):
            self._begin_accurate(tos)
            self.reflects = True
            self.option_demand = 2
            if tos & CE == CE:
                self.received_ce += 1
                self.pending_ce += 1

    def take_request(self, mode: int, syn_ect: int) -> None:
        """A listener agreed upon ``mode`` with a SYN that came with ``syn_ect``."""
        self.on = mode == CLASSIC
        if mode == ACCURATE:
            self._begin_accurate(syn_ect)

    def _begin_accurate(self, tos: int) -> None:
        self.accurate = True
        self.syn_ect = tos & CE

    def take_third_ack(self, flags: int, is_bare: bool) -> None:
        """The ACK of our SYN-ACK tells which ECN field that arrived with (RFC 9768 section 3.2.2.1).

        No bits at all: something on the path clears them, so we mark our packets no more (section 3.2.2.4)."""
        ace = ace_of(flags)
        if ace == 0:
            self.failed |= FAIL_ACE_RECEIVE
        elif is_bare and ace == ace_of(_REFLECTED[CE]):
            self.delivered_ce += 1

    def syn_ack_flags(self, resends: int) -> int:
        """Those of our own SYN-ACK in a simultaneous open."""
        return syn_ack_flags(ACCURATE if self.accurate else CLASSIC if self.on else OFF, self.syn_ect, resends)

    # The reaction of a classic sender

    def window_reduced(self) -> None:
        """The next new text tells of it."""
        self.cwr_owed = self.on

    def syn_lost(self) -> None:
        """The same for a SYN, should ECN be agreed upon after all."""
        self.cwr_owed = self.asked

    def take_cwr(self) -> int:
        """The flag that new text carries: CWR, once for each reduction, else 0."""
        if not self.cwr_owed:
            return 0
        self.cwr_owed = False
        return CWR

    # What arrives

    def stop_echo(self) -> None:
        """The peer has reduced its window: CE need not be echoed any more (RFC 3168 section 6.1.3)."""
        self.echo = False

    def take_text(self, tos: int) -> bool:
        """Text came with this IP header, and is taken: CE starts the echo (RFC 3168 section 6.1.3). True: ACK quickly.

        Text without ECT after text with it is most likely a resend, whose sender waits for the ACK: quick ACKs, as
        after CE (Linux's tcp_data_ecn_check)."""
        field = tos & CE
        if field == NOT_ECT:
            return self.seen
        self.seen = True
        begins = field == CE and not self.echo
        if begins:
            self.echo = True
        return begins

    def take_packet(self, tos: int, segs: int, length: int) -> None:
        """``segs`` packets with ``length`` bytes of text came with this IP header."""
        field = tos & CE
        if field == NOT_ECT:
            self.last_was_ce = False
            return
        self.seen = True
        if field == CE:
            self.received_ce += segs
            self.pending_ce = min(self.pending_ce + segs, 15)
        if length:
            before = self.received_bytes[field]
            self.received_bytes[field] = before + length
            self.least_fields = max(self.least_fields, _FIELDS_FOR[field])
            if before == 0 or before >> 22 != (before + length) >> 22:
                self.option_demand = max(self.option_demand, 1)

    def wants_ack(self, tos: int, has_text: bool) -> bool:
        """So many marks, or the first one on text, are told at once (RFC 9768 section 3.2.2.5.1)."""
        is_ce = tos & CE == CE
        begins = is_ce and not self.last_was_ce and has_text
        self.last_was_ce = is_ce
        return begins or self.pending_ce >= (2 if has_text else 3)

    # What leaves

    def is_ect(self) -> bool:
        """Every segment of an accurate connection is ECT(0), bare ACKs too, unless feedback does not get through."""
        return self.accurate and not self.failed & FAIL_ACE_RECEIVE

    def ack_flags(self) -> int:
        """The ECN flags of a segment that leaves with an ACK."""
        if self.accurate:
            if self.reflects:
                self.reflects = False
                return _REFLECTED[self.syn_ect]
            self.pending_ce = 0
            return flags_of(self.received_ce + ACE_INIT)
        return ECE if self.echo else 0

    def cuts_runs(self) -> bool:
        """The count of marks has the bit that is CWR: whoever cuts a run would clear it behind the first piece."""
        return self.accurate and bool(flags_of(self.received_ce + ACE_INIT) & CWR)

    def sends_option(self, settings: Settings, srtt: int, now: int) -> bool:
        """The option goes with this segment, if it fits (tcp_ecn_option, tcp_ecn_option_beacon)."""
        if not self.accurate or self.option_seen == OPTION_UNSEEN:
            return False
        if settings.tcp_ecn_option >= 2:
            return settings.tcp_ecn_option > 2 or not self.failed & FAIL_OPTION_RECEIVE
        if not settings.tcp_ecn_option or self.failed & FAIL_OPTION_RECEIVE:
            return False
        beacon = settings.tcp_ecn_option_beacon
        return self.option_demand > 0 or (beacon > 0 and (now - self.option_sent_at) * beacon >= srtt)

    def option_bytes(self, fields: int, now: int) -> bytes:
        """The option that leaves now: kind, length and ``fields`` counters, ECT(1) first, as Linux always sends it."""
        self.least_fields = 0
        self.option_sent_at = now
        if self.option_demand:
            self.option_demand -= 1
        return encode_option(self.received_bytes, fields)

    # What the peer's ACKs tell

    def take_option(self, kind: int, body: bytes, bytes_sent: int) -> None:
        """The option of an acceptable ACK (Linux's tcp_accecn_process_option). ``bytes_sent``: by us, so far."""
        if self.failed & FAIL_OPTION_RECEIVE:
            return
        if self.option_seen < OPTION_COUNTS:
            if self.option_seen == OPTION_UNSEEN and bytes_sent >= _LATEST_START:
                self.failed |= FAIL_OPTION_RECEIVE
                return
            self.option_seen = _judge_option(body)
            if self.option_seen == OPTION_ZEROED:
                self.failed |= FAIL_OPTION_RECEIVE
                return
        for place, field in enumerate(_ORDER[kind]):
            told = body[place * _FIELD_SIZE : (place + 1) * _FIELD_SIZE]
            if len(told) < _FIELD_SIZE:
                break
            have = self.delivered_bytes[field]
            grown = (int.from_bytes(told, "big") - _OPTION_START[field] - have) & 0xFFFFFF
            if grown < 0x800000:  # else it is older than what was told before
                self.delivered_bytes[field] = have + grown

    def marks_told(self, flags: int, segs: int, length: int, ce_before: int, mss: int) -> int:
        """How many of our packets arrived with CE since the last ACK (Linux's __tcp_accecn_process).

        ``segs`` and ``length``: packets and bytes that this ACK says are delivered; ``ce_before``: the option's count
        of CE bytes before this ACK. Where the three bits may have wrapped, the most that is possible counts, unless the
        bytes say otherwise (RFC 9768 section 3.2.2.5 and appendix A.2)."""
        delta = (ace_of(flags) - ACE_INIT - self.delivered_ce) & ACE_MASK
        if segs > ACE_MASK:
            safe = segs - ((segs - delta) & ACE_MASK)
            delta = self._between(delta, safe, segs, length, ce_before, mss)
        self.delivered_ce += delta
        return delta

    def take_echo(self, segs: int) -> None:
        """An ACK for ``segs`` packets carries ECE of classic ECN: Linux counts all of them."""
        self.delivered_ce += segs

    def _between(self, delta: int, safe: int, segs: int, length: int, ce_before: int, mss: int) -> int:
        if self.option_seen != OPTION_COUNTS or self.failed & FAIL_OPTION_RECEIVE:
            return safe
        ce_bytes = self.delivered_bytes[CE] - ce_before
        if ce_bytes == 0:
            return delta
        if segs >= 2 * (ACE_MASK + 1):
            if length <= ce_bytes:
                return safe
            estimate = -(-ce_bytes * segs // length)
            return min(safe, delta + (estimate & ~ACE_MASK))
        if ce_bytes > delta * mss:
            return safe
        return delta if ce_bytes < safe * mss >> 1 else safe


def encode_option(counts: list[int], fields: int) -> bytes:
    """The option with ``fields`` counters of bytes by codepoint, without padding."""
    body = b""
    for field in _ORDER[ACCECN_1][:fields]:
        body += ((counts[field] + _OPTION_START[field]) & 0xFFFFFF).to_bytes(3, "big")
    return struct.pack(">BB", ACCECN_1, 2 + len(body)) + body


def fit_option(least: int, room: int, saving: int) -> int:
    """How many counters fit ``room`` bytes; -1: fewer than ``least``. ``saving``: padding that a neighbour spares."""
    fields = MOST_FIELDS
    while fields >= least:
        if option_space(fields, saving) <= room:
            return fields
        fields -= 1
    return -1


def option_space(fields: int, saving: int) -> int:
    """Bytes that the option takes, whole words (Linux's tcp_options_fit_accecn)."""
    size = 2 + _FIELD_SIZE * fields
    over = size & 3
    return size - over if over <= saving else size + (-size & 3)


def _judge_option(body: bytes) -> int:
    if len(body) < _FIELD_SIZE:
        return OPTION_EMPTY
    return OPTION_ZEROED if body[:_FIELD_SIZE] == bytes(_FIELD_SIZE) else OPTION_COUNTS
