"""Losses as they look on the wire: fast retransmit, partial ACKs, tail-loss probes, F-RTO, ECN."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import MS, SECOND, Call

SACK = "mss 1000,sackOK"
PLAIN = "mss 1000"
RTT = 20 * MS


def in_flight(peer: Peer, options: str, segments: int = 10, rtt: int = RTT) -> Call:
    """A round trip was measured; then so many segments of 1000 bytes leave, from byte 1."""
    listener = peer.host.listen(80)
    peer.send(f"S 0 <{options}>")
    peer.expect("S. 0 ack 1")
    peer.host.advance(rtt)
    peer.send(". 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    call.write(1, 1 + 1000 * segments)
    assert len(peer.heard()) == segments
    peer.host.advance(rtt)
    return call


def said(peer: Peer) -> list[str]:
    return [peer.words(packet).split()[1] for packet in peer.heard()]


def test_three_duplicates_make_a_fast_retransmit(peer: Peer) -> None:
    """RFC 5681 section 3.2, without SACK."""
    call = in_flight(peer, PLAIN)
    peer.send(". 1 ack 1", ". 1 ack 1")
    peer.expect()
    peer.send(". 1 ack 1")
    peer.expect(". 1:1001 ack 1")
    assert peer.host.count("TCPRenoRecovery") == 1
    peer.send(". 1 ack 10001")
    assert peer.timeline(10 * SECOND) == []
    assert call.tcb.sender.cwnd() < 10000


def test_a_partial_ack_resends_the_next_hole(peer: Peer) -> None:
    """NewReno, RFC 6582."""
    in_flight(peer, PLAIN)
    peer.send(". 1 ack 1", ". 1 ack 1", ". 1 ack 1")
    peer.expect(". 1:1001 ack 1")
    peer.host.advance(RTT)
    peer.send(". 1 ack 3001")
    peer.expect(". 3001:4001 ack 1")
    peer.host.advance(RTT)
    peer.send(". 1 ack 10001")
    assert peer.timeline(10 * SECOND) == []


def test_sacked_text_is_not_resent(peer: Peer) -> None:
    """RFC 6675: only the holes."""
    in_flight(peer, SACK)
    peer.send(". 1 ack 1 <sack 1001:2001>", ". 1 ack 1 <sack 1001:3001>")
    peer.expect()
    peer.send(". 1 ack 1 <sack 1001:4001>")
    assert said(peer) == ["1:1001"]
    peer.host.advance(RTT)
    peer.send(". 1 ack 4001 <sack 5001:10001>")
    assert said(peer) == ["4001:5001"]
    peer.send(". 1 ack 10001")
    assert peer.timeline(10 * SECOND) == []
    assert peer.host.count("TCPSackRecovery") == 1
    assert peer.host.count("TcpRetransSegs") == 2


def test_many_holes_in_one_ack(peer: Peer) -> None:
    in_flight(peer, SACK)
    peer.send(". 1 ack 1 <sack 2001:3001 4001:5001 6001:10001>")
    resent = said(peer)
    peer.host.advance(RTT)
    for _ in range(4):
        peer.send(". 1 ack 1 <sack 2001:3001 4001:5001 6001:10001>")
        resent += said(peer)
    assert resent[:1] in (["1:2001"], ["1:1001"])
    covered = {at for part in resent for at in range(*map(int, part.split(":")))}
    holes = {*range(1, 2001), *range(3001, 4001), *range(5001, 6001)}
    assert covered <= holes
    peer.send(". 1 ack 10001")
    assert peer.timeline(10 * SECOND) == []


def test_a_tail_loss_probe_resends_the_last_segment(peer: Peer) -> None:
    """RFC 8985 section 7: after two round trips, long before the RTO."""
    in_flight(peer, SACK, 3)
    ((when, line),) = peer.timeline(150 * MS)
    assert line == "P. 2001:3001 ack 1"
    assert when + RTT / SECOND == pytest.approx(2 * RTT / SECOND, abs=0.01)
    assert peer.host.count("TCPLossProbes") == 1
    peer.send(". 1 ack 1 <sack 2001:3001>")
    peer.host.advance(RTT)
    assert said(peer) == ["1:1001"]  # one for one at first (PRR, RFC 9937)
    peer.send(". 1 ack 1001 <sack 2001:3001>")
    assert said(peer) == ["1001:2001"]
    peer.send(". 1 ack 3001")
    assert peer.timeline(10 * SECOND) == []


def test_a_probe_is_new_text_when_there_is_some(peer: Peer) -> None:
    call = in_flight(peer, SACK, 10)
    call.write(10001, 11001)
    peer.expect()  # the congestion window is full
    ((_, line),) = peer.timeline(100 * MS)
    assert line == "P. 10001:11001 ack 1"


def test_no_probe_when_switched_off(make: MakePeer) -> None:
    peer = make(tcp_early_retrans=0)
    in_flight(peer, SACK, 3)
    assert peer.timeline(190 * MS) == []
    ((_, line),) = peer.timeline(50 * MS)
    assert line == ". 1:1001 ack 1"


def test_after_a_timeout_slow_start(peer: Peer) -> None:
    """RFC 5681 section 3.1: one segment, then two for each ACK."""
    call = in_flight(peer, PLAIN)
    ((_, line),) = peer.timeline(220 * MS)
    assert line == ". 1:1001 ack 1"
    assert call.tcb.sender.cwnd() == 1000
    peer.host.advance(RTT)
    peer.send(". 1 ack 1001")
    assert len(said(peer)) == 2


def test_a_spurious_timeout_is_undone(peer: Peer) -> None:
    """F-RTO, RFC 5682: two ACKs of new text show that nothing was lost."""
    call = in_flight(peer, SACK)
    call.write(10001, 20001)
    peer.heard()
    before = call.tcb.sender.cwnd()
    peer.timeline(600 * MS)
    assert call.tcb.sender.ca_state == 4
    peer.send(". 1 ack 2001")
    new = said(peer)
    assert all(int(part.split(":")[0]) >= 10001 for part in new)
    peer.send(". 1 ack 4001")
    assert call.tcb.sender.ca_state == 0
    assert call.tcb.sender.cwnd() >= before
    peer.heard()


def test_reordering_is_no_loss(peer: Peer) -> None:
    """A segment that comes late within the reordering window is not resent."""
    in_flight(peer, SACK)
    peer.send(". 1 ack 1 <sack 1001:2001>", ". 1 ack 1 <sack 1001:3001>", ". 1 ack 3001")
    assert peer.timeline(5 * MS) == []
    peer.send(". 1 ack 10001")
    assert peer.timeline(SECOND) == []


def test_a_sack_of_nonsense_is_ignored(peer: Peer) -> None:
    in_flight(peer, SACK)
    for block in ("20001:30001", "5001:4001", "1:1", "-5000:-4000", "9001:11001"):
        peer.send(f". 1 ack 1 <sack {block}>")
        assert said(peer) == []
    peer.send(". 1 ack 10001")
    assert peer.timeline(SECOND) == []


def test_reneging_ends_in_a_timeout_that_resends_all(peer: Peer) -> None:
    """RFC 2018 section 8: what was sacked may be thrown away."""
    in_flight(peer, SACK, 4)
    peer.send(". 1 ack 1 <sack 1001:4001>")
    resent = said(peer)
    assert resent in ([], ["1:1001"])
    lines: list[str] = []
    for _ in range(12):
        lines += [line for _, line in peer.timeline(SECOND)]
        if any("1001:2001" in line for line in lines):
            break
        peer.send(". 1 ack 1001")
    assert any("1001:2001" in line for line in lines)


# ECN


def with_ecn(peer: Peer) -> Call:
    listener = peer.host.listen(80)
    peer.send("SEW 0 <mss 1000,sackOK>")
    peer.expect("S.E 0 ack 1")
    peer.send(". 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    return call


def test_ecn_is_agreed_when_asked(peer: Peer) -> None:
    """RFC 3168 section 6.1.1; text is ECT(0), what carries none is not."""
    call = with_ecn(peer)
    call.write(1, 1001)
    (packet,) = peer.expect("P. 1:1001 ack 1")
    assert packet.tos & 3 == 2
    peer.send("P. 1:11 ack 1001")
    (packet,) = peer.expect(". 1001 ack 11")
    assert packet.tos & 3 == 0


def test_ecn_is_not_asked_for_by_default_and_not_agreed_unasked(peer: Peer) -> None:
    call = peer.opens()
    call.write(1, 1001)
    (packet,) = peer.expect("P. 1:1001 ack 1")
    assert packet.tos & 3 == 0


def test_we_ask_for_ecn(make: MakePeer) -> None:
    peer = make(tcp_ecn=1)
    call = peer.host.connect(peer.port)
    peer.expect("SEW 0")
    peer.send("S.E 0 ack 1 <mss 1000>")
    peer.expect(". 1 ack 1")
    call.write(1, 11)
    (packet,) = peer.expect("P. 1:11 ack 1")
    assert packet.tos & 3 == 2


def test_a_refusal_of_ecn(make: MakePeer) -> None:
    """An answer with both bits is a broken echo: no ECN (RFC 3168 section 6.1.1)."""
    peer = make(tcp_ecn=1)
    call = peer.host.connect(peer.port)
    peer.expect("SEW 0")
    peer.send("S.EW 0 ack 1 <mss 1000>")
    peer.expect(". 1 ack 1")
    call.write(1, 11)
    (packet,) = peer.expect("P. 1:11 ack 1")
    assert packet.tos & 3 == 0


def test_congestion_is_echoed_until_cwr(peer: Peer) -> None:
    """RFC 3168 section 6.1.3."""
    with_ecn(peer)
    peer.send("P. 1:11 ack 1", tos=3)
    peer.expect(".E 1 ack 11")
    peer.send("P. 11:21 ack 1", tos=2)
    peer.expect(".E 1 ack 21")
    peer.send("PW. 21:31 ack 1", tos=2)
    peer.expect(". 1 ack 31")


def test_an_echo_halves_the_window_once_and_cwr_says_so(peer: Peer) -> None:
    call = with_ecn(peer)
    call.write(1, 10001)
    assert len(peer.heard()) == 10
    before = call.tcb.sender.cwnd()
    peer.send(".E 1 ack 1001", ".E 1 ack 2001", ".E 1 ack 3001")
    call.write(10001, 20001)
    peer.host.settle()
    for at in range(4001, 10002, 1000):
        peer.send(f".E 1 ack {at}")
    packets = peer.heard()
    assert sum(bool(packet[TCP].flags.C) for packet in packets) == 1
    assert packets[0][TCP].flags.C
    assert before // 2 <= call.tcb.sender.cwnd() < before
