"""Time: retransmission, keepalive, TCP_USER_TIMEOUT, zero-window probes (scenarios D2 to D9)."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from scapy.layers.inet import ICMP, IP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import MS, OURS, SECOND, Call, pattern
from ustack.stack.pmtu import EXPIRY
from ustack.tcp.connection.info import TcpInfo

HOUR = 3600 * SECOND


def with_rtt(peer: Peer, rtt: int = 10 * MS, rounds: int = 12) -> tuple[Call, int]:
    """A connection that has measured its round trip; the socket and the next byte to write."""
    listener = peer.host.listen(80)
    peer.send("S 0 <mss 1460,nop,wscale 7>")  # no SACK: no tail-loss probe
    peer.host.advance(rtt)
    peer.expect("S. 0 ack 1")
    peer.send(". 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    for number in range(rounds):
        start = 1 + 100 * number
        call.write(start, start + 100)
        peer.expect(f"P. {start}:{start + 100} ack 1")
        peer.host.advance(rtt)
        peer.send(f". 1 ack {start + 100}")
    return call, 1 + 100 * rounds


# D2


def test_the_rto_doubles_from_200_ms_to_two_minutes(peer: Peer) -> None:
    call, at = with_rtt(peer, rtt=MS)
    call.write(at, at + 100)
    line = f"P. {at}:{at + 100} ack 1"
    peer.expect(line)
    begin = peer.host.now
    said = peer.timeline(HOUR)
    assert {text for _, text in said} == {line}
    instants = [0.0, *(when for when, _ in said)]
    gaps = [round((later - sooner) / 1.005, 1) for sooner, later in pairwise(instants)]  # the RTO is 200 ms and the RTT
    assert gaps[:10] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4]
    assert [round(later - sooner) for sooner, later in pairwise(instants[10:])] == [120] * 5
    assert call.error == errno.ETIMEDOUT
    assert round((call.tcb.state_since - begin) / SECOND, 1) == 925.6  # not before 924.6
    assert peer.host.count("TCPAbortOnTimeout") == 1
    assert peer.host.count("TcpRetransSegs") == 15


@pytest.mark.parametrize("retries2", [3, 5, 8])
def test_tcp_retries2_is_a_time(make: MakePeer, retries2: int) -> None:
    """With an RTO of 3 s fewer resends fit into the time that so many doublings from 200 ms take."""
    peer = make(tcp_retries2=retries2)
    call, at = with_rtt(peer, rtt=900 * MS)
    call.write(at, at + 100)
    peer.expect(f"P. {at}:{at + 100} ack 1")
    said = peer.timeline(HOUR)
    assert call.error == errno.ETIMEDOUT
    assert len(said) < retries2 + 1
    assert said[-1][0] <= said[0][0] + ((2 << retries2) - 1) * 0.2


def test_the_connection_goes_on_after_the_cable_is_back(peer: Peer) -> None:
    """D6."""
    call, at = with_rtt(peer)
    call.write(at, at + 100)
    peer.expect(f"P. {at}:{at + 100} ack 1")
    assert len(peer.timeline(100 * SECOND)) == 8
    peer.send(f". 1 ack {at + 100}")
    call.write(at + 100, at + 200)
    peer.expect(f"P. {at + 100}:{at + 200} ack 1")


def test_karn_a_resent_segment_measures_nothing(peer: Peer) -> None:
    """MUST-18: the backed-off RTO stays until something new is acknowledged."""
    call, at = with_rtt(peer)
    srtt = call.tcb.sender.rtt.srtt
    call.write(at, at + 100)
    peer.expect(f"P. {at}:{at + 100} ack 1")
    assert len(peer.timeline(SECOND)) == 2
    peer.send(f". 1 ack {at + 100}")
    assert call.tcb.sender.rtt.srtt == srtt
    call.write(at + 100, at + 200)
    peer.expect(f"P. {at + 100}:{at + 200} ack 1")
    assert peer.timeline(750 * MS) == []
    assert len(peer.timeline(150 * MS)) == 1


def test_with_timestamps_a_resent_segment_measures(peer: Peer) -> None:
    """E4."""
    call = peer.opens_with_timestamps(1000, "mss 1460")
    call.write(1, 101)
    peer.expect("P. 1:101 ack 1")
    (only,) = peer.timeline(300 * MS)
    assert only[1] == "P. 1:101 ack 1"
    peer.send(". 1 ack 101")
    assert call.tcb.sender.rtt.backoff == 0
    assert call.tcb.sender.rtt.srtt == 100 * MS // 8  # 300 ms minus the resend at 200 ms; the handshake took no time


@pytest.mark.rfc9293("MUST-20", "SHLD-10")
def test_at_r1_the_path_is_looked_up_anew(peer: Peer) -> None:
    """tcp_retries1 = 3 is a time: 3 s after the first resend. What IP knew of the path's MTU has expired by then."""
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 1461)
    (packet,) = peer.expect("P. 1:1461 ack 1")
    about = ICMP(type=3, code=4, nexthopmtu=1200)
    peer.host.inject(IP(src="10.0.0.99", dst=OURS[4]) / about / bytes(packet)[:28])
    peer.expect(". 1:1161 ack 1", "P. 1161:1461 ack 1")
    peer.send(". 1 ack 1461")
    assert peer.timeline(EXPIRY - SECOND) == []
    call.write(1461, 2921)
    peer.expect(". 1461:2621 ack 1", "P. 2621:2921 ack 1")
    assert [when for when, _ in peer.timeline(5 * SECOND)] == [0.2, 0.6, 1.4, 3.0]
    assert call.tcb.sender.path.mtu == 1500, "since the first resend after it had expired"
    assert [when for when, _ in peer.timeline(5 * SECOND)] == [1.2]
    assert call.tcb.sender.path.mtu == 1500
    peer.send(". 1 ack 2921")
    call.write(2921, 4381)
    peer.expect("P. 2921:4381 ack 1")


@pytest.mark.rfc9293("MUST-20", "SHLD-10")
def test_what_has_not_expired_stays_at_r1(peer: Peer) -> None:
    """As on Linux: negative advice forgets no path MTU before its time."""
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 1461)
    (packet,) = peer.expect("P. 1:1461 ack 1")
    about = ICMP(type=3, code=4, nexthopmtu=1200)
    peer.host.inject(IP(src="10.0.0.99", dst=OURS[4]) / about / bytes(packet)[:28])
    peer.expect(". 1:1161 ack 1", "P. 1161:1461 ack 1")
    assert len(peer.timeline(10 * SECOND)) == 5
    assert call.tcb.sender.path.mtu == 1200


@pytest.mark.rfc9293("SHLD-9")
def test_between_r1_and_r2_the_application_hears_of_it(peer: Peer) -> None:
    call, at = with_rtt(peer, rtt=0)
    call.write(at, at + 100)
    peer.expect(f"P. {at}:{at + 100} ack 1")
    call.events()
    heard: list[tuple[float, list[str], int]] = []
    for when in (0.3, 0.7, 1.5, 3.1, 6.3, 12.7):
        peer.timeline(int(when * SECOND) - int((heard[-1][0] if heard else 0) * SECOND))
        heard.append((when, call.events(), TcpInfo(call.tcb, peer.host.now).tcpi_retransmits))
    assert heard == [
        (0.3, [], 1),
        (0.7, [], 2),
        (1.5, [], 3),
        (3.1, [], 4),
        (6.3, ["ERROR"], 5),
        (12.7, ["ERROR"], 6),
    ]
    assert call.error == 0
    peer.send(f". 1 ack {at + 100}")
    assert TcpInfo(call.tcb, peer.host.now).tcpi_retransmits == 0


def test_user_timeout_bounds_the_resends(peer: Peer) -> None:
    """D9."""
    peer.host.options.user_timeout_ms = 5000
    call, at = with_rtt(peer, rtt=0)
    call.write(at, at + 100)
    peer.expect(f"P. {at}:{at + 100} ack 1")
    begin = peer.host.now
    assert [when for when, _ in peer.timeline(HOUR)] == [0.2, 0.6, 1.4, 3.0]
    assert call.error == errno.ETIMEDOUT
    assert 5.0 <= (call.tcb.state_since - begin) / SECOND <= 5.3


# D3 to D5: keepalive


def test_without_keepalive_silence_lasts_for_ever(peer: Peer) -> None:
    """MUST-25."""
    peer.opens()
    assert peer.timeline(1000 * HOUR) == []
    assert peer.host.stack.next_deadline() is None


def test_a_dead_peer_is_found_after_7200_and_9_times_75_seconds(peer: Peer) -> None:
    call = peer.opens()
    call.set("keepalive", True)
    begin = peer.host.now
    said = peer.timeline(3 * HOUR)
    probes = [(float(7200 + 75 * number), ". 0 ack 1") for number in range(9)]
    assert said == [*probes, (7875.0, "R. 1 ack 1")]
    assert call.error == errno.ETIMEDOUT
    assert peer.host.count("TcpOutRsts") == 1
    assert call.tcb.state_since - begin == 7875 * SECOND
    assert call.events()[-2:] == ["TIMED_OUT", "CLOSED"]


def test_an_answer_starts_the_clock_anew(peer: Peer) -> None:
    """D4, MUST-29: a lost probe alone kills nothing."""
    call = peer.opens()
    call.set("keepalive", True)
    assert peer.timeline(7300 * SECOND) == [(7200, ". 0 ack 1"), (7275, ". 0 ack 1")]
    peer.send(". 1 ack 1")
    assert peer.timeline(7200 * SECOND - 1) == []
    assert peer.timeline(1) == [(0, ". 0 ack 1")]


def test_keepalive_times_can_be_set(peer: Peer) -> None:
    call = peer.opens()
    for name, value in (("keepidle_s", 10), ("keepintvl_s", 3), ("keepcnt", 2), ("keepalive", True)):
        call.set(name, value)
    assert peer.timeline(60 * SECOND) == [(10, ". 0 ack 1"), (13, ". 0 ack 1"), (16, "R. 1 ack 1")]


def test_no_probe_while_text_moves(peer: Peer) -> None:
    """MUST-26."""
    call = peer.opens()
    call.set("keepidle_s", 10)
    call.set("keepalive", True)
    for number in range(20):
        start = 1 + 10 * number
        peer.send(f"P. {start}:{start + 10} ack 1")
        peer.host.settle()
        peer.expect(f". 1 ack {start + 10}")
        assert peer.timeline(9 * SECOND) == []


def test_the_peer_restarted(peer: Peer) -> None:
    """D5: the probe gets RST."""
    call = peer.opens()
    call.set("keepidle_s", 10)
    call.set("keepalive", True)
    assert peer.timeline(10 * SECOND) == [(10, ". 0 ack 1")]
    peer.send("R 1")
    assert call.error == errno.ECONNRESET


def test_a_probe_of_the_peer_is_answered(peer: Peer) -> None:
    peer.opens()
    peer.send(". 0 ack 1")
    peer.expect(". 1 ack 1")


def test_user_timeout_bounds_keepalive(peer: Peer) -> None:
    call = peer.opens()
    for name, value in (("keepidle_s", 10), ("keepintvl_s", 5), ("user_timeout_ms", 17000), ("keepalive", True)):
        call.set(name, value)
    said = peer.timeline(HOUR)
    assert said == [(10, ". 0 ack 1"), (15, ". 0 ack 1"), (20, "R. 1 ack 1")]


# Zero-window probes


def shut(peer: Peer) -> Call:
    """The peer's window is closed and text waits."""
    call: Call = peer.opens("mss 1460", window=100)
    call.write(1, 101)
    peer.expect("P. 1:101 ack 1")
    peer.send(". 1 ack 101 win 0")
    call.write(101, 201)
    peer.expect()
    return call


def test_a_shut_window_is_probed_for_ever_while_the_peer_answers(peer: Peer) -> None:
    """MUST-36, MUST-37, SHLD-29, SHLD-30: first after one RTO, then doubling up to two minutes; never given up."""
    shut(peer)
    gaps: list[float] = []
    for _ in range(30):
        begin = peer.host.now
        while not peer.host.outbox:
            deadline = peer.host.stack.next_deadline()
            assert deadline is not None
            peer.host.advance(deadline - peer.host.now)
        peer.expect(". 100 ack 1")
        gaps.append(round((peer.host.now - begin) / SECOND, 1))
        peer.send(". 1 ack 101 win 0")
    assert gaps[:10] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4]
    assert set(gaps[10:]) == {120.0}
    assert peer.state() == "ESTABLISHED"


def test_unanswered_probes_end_the_connection(peer: Peer) -> None:
    call = shut(peer)
    said = peer.timeline(HOUR)
    assert {line for _, line in said} == {". 100 ack 1"}
    assert len(said) == 15
    assert call.error == errno.ETIMEDOUT


def test_an_open_window_ends_the_probing_at_once(peer: Peer) -> None:
    shut(peer)
    assert len(peer.timeline(SECOND)) == 2
    peer.send(". 1 ack 101 win 1000")
    peer.expect("P. 101:201 ack 1")
    peer.send(". 1 ack 201 win 1000")
    assert peer.timeline(HOUR) == []


def test_a_zero_window_still_takes_acks_resets_and_urgent(peer: Peer) -> None:
    """MUST-66, RFC 9293 section 3.10.7.4."""
    peer.host.options.rcvbuf = 4096
    call = peer.opens("mss 500")
    while call.tcb.receiver.receive_window():
        peer.send(f"P. r:r+{min(500, call.tcb.receiver.receive_window())} ack 1")
        peer.host.settle()
        peer.heard()
    edge = peer.names["r"] = 1 + call.tcb.receiver.totals.bytes_received
    call.write(1, 11)
    peer.expect(f"P. 1:11 ack {edge} win 0")
    peer.send("U. r ack 11 urg 1")
    assert call.tcb.sender.snd_una == call.tcb.sender.iss + 11
    assert call.events()[-1] == "URGENT"
    assert peer.refused("P. r:r+1 ack 11") == ["ZERO_WINDOW"]
    peer.expect(f". 11 ack {edge} win 0")
    peer.send("R r")
    assert call.error == errno.ECONNRESET
    assert call.read(1) == pattern(1, 2)
