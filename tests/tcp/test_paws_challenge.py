"""Timestamps against old duplicates (RFC 7323), challenge ACKs against blind attackers (RFC 5961); C15, E1, E3."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import MS, SECOND, pattern

DAY = 24 * 3600 * SECOND


def echo_of(peer: Peer, *lines: str) -> int:
    """TSecr of the one answer."""
    (packet,) = peer.expect(*lines)
    value = dict(packet[TCP].options)["Timestamp"][1]
    assert isinstance(value, int)
    return value


# PAWS


def test_every_segment_carries_timestamps_once_agreed(peer: Peer) -> None:
    call = peer.opens_with_timestamps(1000)
    call.write(1, 101)
    (packet,) = peer.expect("P. 1:101 ack 1")
    value, echo = dict(packet[TCP].options)["Timestamp"]
    assert echo == 1000
    peer.host.advance(7 * MS)
    peer.send(". 1 ack 101")
    call.write(101, 201)
    (packet,) = peer.expect("P. 101:201 ack 1")
    assert dict(packet[TCP].options)["Timestamp"] == ((value + 7) & 0xFFFFFFFF, 1000)


def test_an_old_timestamp_is_refused_and_answered(peer: Peer) -> None:
    call = peer.opens_with_timestamps(1000)
    peer.ts = 1010
    peer.send("P. 1:11 ack 1")
    assert echo_of(peer, ". 1 ack 11") == 1010
    peer.ts = 1000
    assert peer.refused("P. 11:21 ack 1") == ["PAWS"]
    assert echo_of(peer, ". 1 ack 11") == 1010
    assert peer.host.count("PAWSEstab") == 1
    assert call.read(100) == pattern(1, 11)


@pytest.mark.parametrize(("behind", "refused"), [(0, []), (1, []), (2, ["PAWS"]), (0x7FFFFFFF, ["PAWS"])])
def test_how_old_is_old(peer: Peer, behind: int, refused: list[str]) -> None:
    """One tick may pass (Linux's TCP_PAWS_WINDOW)."""
    peer.opens_with_timestamps(0x80000000)
    peer.ts = 0x80000000 - behind
    assert peer.refused("P. 1:11 ack 1") == refused
    peer.heard()


def test_timestamps_wrap(either: Peer) -> None:
    either.opens_with_timestamps(0xFFFFFFFF)
    either.ts = 3
    either.send("P. 1:11 ack 1")
    assert echo_of(either, ". 1 ack 11") == 3


def test_after_24_days_a_timestamp_proves_nothing(peer: Peer) -> None:
    """RFC 7323 section 5.5."""
    peer.opens_with_timestamps(1000)
    peer.host.advance(24 * DAY + 1)
    peer.ts = 5
    assert peer.refused("P. 1:11 ack 1") == []
    assert echo_of(peer, ". 1 ack 11") == 5


def test_a_reset_is_exempt(peer: Peer) -> None:
    """E3: RFC 7323 section 5.2."""
    call = peer.opens_with_timestamps(1000)
    peer.ts = 1
    peer.send("R 1")
    assert call.events()[-2:] == ["RESET", "CLOSED"]


def test_the_echo_is_of_what_the_ack_answers(either: Peer) -> None:
    """RFC 7323 section 4.3: a segment beyond a gap does not move TS.Recent."""
    either.opens_with_timestamps(1000)
    either.ts = 1020
    either.send("P. 11:21 ack 1")
    assert echo_of(either, ". 1 ack 1 <sack 11:21>") == 1000
    either.ts = 1030
    either.send("P. 1:11 ack 1")
    assert echo_of(either, ". 1 ack 21") == 1030


def test_a_segment_without_timestamps_is_still_taken(either: Peer) -> None:
    """As Linux (RFC 7323 section 3.2 would drop it)."""
    call = either.opens_with_timestamps(1000)
    either.ts = None
    either.send("P. 1:11 ack 1")
    either.expect(". 1 ack 11")
    assert call.read(100) == pattern(1, 11)


def test_the_delayed_duplicate_of_the_first_turn(peer: Peer) -> None:
    """E1: the numbers have wrapped once, and the old segment fits the window: with timestamps it is refused."""
    call = peer.opens_with_timestamps(1000)
    old = peer.packet("P. 101:201 ack 1")
    receiver = call.tcb.receiver
    turn = 1 << 32
    receiver.rcv_nxt += turn
    receiver.rcv_wup += turn
    receiver.last_ack_sent += turn
    receiver.irs += turn
    receiver.ts_recent = 5000
    assert peer.host.new_drops(lambda: peer.host.inject(old)) == ["PAWS"]
    peer.expect(". 1 ack 1")


# RFC 5961


@pytest.mark.scenario("C15")
def test_a_syn_inside_gets_a_challenge(peer: Peer) -> None:
    """C15: whatever its number."""
    peer.opens()
    for line in ("S 1", "S 500", "S 90000000", "S. 0 ack 1"):
        assert peer.refused(line)
        peer.expect(". 1 ack 1")
        peer.host.advance(500 * MS)
    assert peer.host.count("TCPChallengeACK") == 4
    assert peer.state() == "ESTABLISHED"


@pytest.mark.parametrize("line", ["R 2", "R 60000", "R. 2 ack 1"])
@pytest.mark.scenario("C15")
def test_a_reset_inside_the_window_gets_a_challenge(peer: Peer, line: str) -> None:
    call = peer.opens()
    assert peer.refused(line) == ["RST_CHALLENGED"]
    peer.expect(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"
    peer.send("R 1")  # what an honest peer answers
    assert call.events()[-1] == "CLOSED"


@pytest.mark.parametrize("line", ["R 0", "R 70000", "R 2000000000"])
@pytest.mark.scenario("C15")
def test_a_reset_outside_is_dropped_silently(peer: Peer, line: str) -> None:
    peer.opens()
    assert peer.refused(line) in (["OLD_SEQUENCE"], ["BEYOND_WINDOW"])
    peer.expect()
    assert peer.state() == "ESTABLISHED"


def test_a_reset_at_the_right_edge_of_the_sacked_text(either: Peer) -> None:
    """The either counts what we sacked as received (Linux)."""
    either.opens()
    either.send("P. 101:201 ack 1")
    either.expect(". 1 ack 1 <sack 101:201>")
    either.send("R 201")
    assert either.state() == "LISTEN"


def test_a_reset_behind_a_sacked_fin(either: Peer) -> None:
    either.opens()
    either.send("FP. 101:201 ack 1")
    either.expect(". 1 ack 1 <sack 101:202>")
    either.send("R 202")
    assert either.state() == "LISTEN"


def test_an_ack_of_the_distant_past_gets_a_challenge(peer: Peer) -> None:
    """RFC 5961 section 5.2: more than a window behind."""
    call = peer.opens()
    call.write(1, 101)
    peer.expect("P. 1:101 ack 1")
    peer.send(". 1 ack 101")
    peer.expect()
    assert peer.refused("P. 1:11 ack 1") == []
    peer.expect(". 101 ack 11")
    assert peer.refused("P. 11:21 ack -100000") == ["ACK_TOO_OLD"]
    peer.expect(". 101 ack 11")


def test_challenges_are_rationed_per_connection(peer: Peer) -> None:
    """tcp_invalid_ratelimit: one each 500 ms."""
    peer.opens()
    for _ in range(10):
        peer.send("R 500")
        peer.host.advance(60 * MS)
    peer.expect(". 1 ack 1", ". 1 ack 1")
    assert peer.host.count("TCPChallengeACK") == 2
    assert peer.host.count("TCPACKSkippedChallenge") == 8


def test_challenges_are_rationed_per_host(make: MakePeer) -> None:
    """tcp_challenge_ack_limit (RFC 5961 section 7): each second so many."""
    peer = make(tcp_challenge_ack_limit=3)
    peers = [Peer(peer.host, 6000 + number, 81 + number) for number in range(5)]
    for one in peers:
        one.opens()
    for one in peers:
        one.send("R 500")
    assert [len(one.heard()) for one in peers] == [1, 1, 1, 0, 0]
    peer.host.advance(SECOND)
    for one in peers:
        one.send("R 500")
    assert [len(one.heard()) for one in peers] == [1, 1, 1, 0, 0]


def test_two_ends_that_disagree_do_not_argue_for_ever(peer: Peer) -> None:
    """Pure ACKs out of the window are answered at most twice a second."""
    peer.opens()
    for _ in range(100):
        peer.send(". 200000 ack 1")
        peer.host.advance(10 * MS)
    assert 2 <= len(peer.heard()) <= 3
    assert peer.host.count("TCPACKSkippedSeq") >= 97


def test_text_outside_the_window_is_always_answered(either: Peer) -> None:
    """A duplicate with text means that our ACK was lost."""
    either.opens()
    either.send("P. 1:11 ack 1")
    either.expect(". 1 ack 11")
    for _ in range(3):
        either.send("P. 1:11 ack 1")
        either.expect(". 1 ack 11 <sack 1:11>")
