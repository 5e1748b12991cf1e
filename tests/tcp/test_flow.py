"""How much leaves, and when: windows, Nagle, cork, silly windows, delayed ACKs (RFC 9293 section 3.8.6)."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP

from tests.tcp.peer import Peer
from tests.tcp.world import MS, SECOND, Call, pattern


def established(peer: Peer, options: str = "mss 1000,nop,wscale 7", window: int = 1000) -> Call:
    call: Call = peer.opens(options, window=window)
    return call


# Sending


def test_text_is_cut_at_the_mss_and_pushed_at_its_end(peer: Peer) -> None:
    """MUST-61: PSH on the last segment only."""
    call = established(peer)
    call.write(1, 3501)
    peer.expect(". 1:1001 ack 1", ". 1001:2001 ack 1", ". 2001:3001 ack 1", "P. 3001:3501 ack 1")


def test_ten_segments_at_first(peer: Peer) -> None:
    """RFC 6928; each ACK lets twice as much follow (slow start)."""
    call = established(peer)
    call.write(1, 15001)
    assert len(peer.heard()) == 10
    peer.send(". 1 ack 2001")
    assert [peer.words(packet).split()[1] for packet in peer.heard()] == [
        "10001:11001", "11001:12001", "12001:13001", "13001:14001",
    ]  # fmt: skip


def test_the_window_scale_applies_to_every_segment_but_the_syn(peer: Peer) -> None:
    """MUST-1, RFC 7323 section 2.2."""
    listener = peer.host.listen(80)
    peer.send("S 0 win 500 <mss 1000,nop,wscale 3>")
    peer.expect("S. 0 ack 1")
    peer.send(". 1 ack 1 win 500")
    call = peer.host.accept(listener)
    assert call is not None
    assert call.tcb.sender.snd_wnd == 4000
    call.write(1, 8001)
    assert len(peer.heard()) == 4


def test_a_window_scale_beyond_fourteen_is_fourteen(peer: Peer) -> None:
    """RFC 7323 section 2.3."""
    call = established(peer, "mss 1000,nop,wscale 15")
    assert call.tcb.agreed.snd_wscale == 14


def test_a_window_field_is_unsigned(peer: Peer) -> None:
    call = established(peer, "mss 1000", window=65535)
    assert call.tcb.sender.snd_wnd == 65535


@pytest.mark.rfc9293("REC-1")
def test_windows_are_kept_in_full(peer: Peer) -> None:
    """The largest that 16 bits and a shift of 14 can say, both ways."""
    peer.host.options.rcvbuf = 2 << 30
    call = established(peer, "mss 1000,nop,wscale 14", window=65535)
    assert call.tcb.sender.snd_wnd == call.tcb.sender.max_window == 65535 << 14 == 1_073_725_440
    assert call.tcb.agreed.rcv_wscale == 14
    offered = 0
    for _ in range(40):  # the receive window opens as the peer fills it
        peer.send(*(f". r+{at}:r+{at + 32000} ack 1 win 65535" for at in range(0, 960_000, 32000)))
        heard = peer.heard()
        peer.host.settle()
        call.read(1 << 20)
        for packet in heard + peer.heard():
            offered = max(offered, packet[TCP].window << 14)
    assert offered > 1 << 24
    assert call.tcb.receiver.rcv_wnd > 1 << 24


def test_nagle(peer: Peer) -> None:
    """SHLD-7: one short segment in flight; the rest waits for its ACK."""
    call = established(peer)
    for number in range(5):
        call.write(1 + 10 * number, 11 + 10 * number)
    peer.expect("P. 1:11 ack 1")
    peer.send(". 1 ack 11")
    peer.expect("P. 11:51 ack 1")


def test_a_full_segment_does_not_wait(peer: Peer) -> None:
    call = established(peer)
    call.write(1, 11)
    call.write(11, 2011)
    peer.expect("P. 1:11 ack 1", ". 11:1011 ack 1", "P. 1011:2011 ack 1")


def test_with_timestamps_a_full_segment_is_twelve_less(peer: Peer) -> None:
    """A trap: a Nagle that compares with the MSS sends one segment per round trip."""
    call = peer.opens_with_timestamps(1000, "mss 1012")
    call.write(1, 11)
    call.write(11, 2011)
    peer.expect("P. 1:11 ack 1", ". 11:1011 ack 1", "P. 1011:2011 ack 1")


def test_nodelay(peer: Peer) -> None:
    """MUST-17."""
    call = established(peer)
    call.set("nodelay", True)
    call.write(1, 11)
    call.write(11, 21)
    peer.expect("P. 1:11 ack 1", "P. 11:21 ack 1")


def test_a_cork_holds_short_segments(peer: Peer) -> None:
    call = established(peer)
    call.set("cork", True)
    call.write(1, 501)
    peer.expect()
    call.write(501, 1201)
    peer.expect(". 1:1001 ack 1")
    call.set("cork", False)
    peer.expect("P. 1001:1201 ack 1")


def test_a_cork_lets_go_after_200_ms(peer: Peer) -> None:
    """tcp(7), TCP_CORK: a ceiling of 200 ms."""
    call = established(peer)
    call.set("cork", True)
    call.write(1, 501)
    assert peer.timeline(SECOND)[:1] == [(0.2, "P. 1:501 ack 1")]


def test_no_silly_segments_into_a_small_window(peer: Peer) -> None:
    """MUST-38: a window less than a segment and less than half the largest seen is not used at once."""
    call = established(peer, "mss 1000", window=4000)
    call.write(1, 10001)
    peer.expect(*(f". {at}:{at + 1000} ack 1" for at in range(1, 3001, 1000)), "P. 3001:4001 ack 1")
    peer.send(". 1 ack 4001 win 300")
    peer.expect()
    peer.send(". 1 ack 4001 win 1000")
    peer.expect(". 4001:5001 ack 1")


def test_the_window_may_shrink(peer: Peer) -> None:
    """MUST-34, SHLD-15 to SHLD-17: nothing new leaves, what is out is resent within it, nothing times out for it."""
    call = established(peer, "mss 1000", window=4000)
    call.write(1, 10001)
    assert len(peer.heard()) == 4
    peer.send(". 1 ack 1001 win 1000")
    peer.expect()
    said = peer.timeline(2 * SECOND)
    assert {line for _, line in said} == {". 1001:2001 ack 1"}
    peer.send(". 1 ack 4001 win 4000")
    assert len(peer.heard()) >= 1
    assert peer.state() == "ESTABLISHED"


def test_an_old_window_does_not_count(peer: Peer) -> None:
    """RFC 9293 section 3.10.7.4: SND.WL1, SND.WL2."""
    call = established(peer, "mss 1000", window=4000)
    call.write(1, 2001)
    peer.expect(". 1:1001 ack 1", "P. 1001:2001 ack 1")
    peer.send("P. 1:11 ack 2001 win 3000")
    peer.expect(". 2001 ack 11")
    peer.send(". 11 ack 1001 win 100")
    assert call.tcb.sender.snd_wnd == 3000


# Receiving


def test_quick_acks_at_the_start_then_delayed_ones(peer: Peer) -> None:
    """SHLD-18, MUST-40: each of the first segments is answered, later ones wait 40 ms."""
    call = established(peer)
    at = 1
    for _ in range(16):
        peer.send(f"P. {at}:{at + 10} ack 1")
        at += 10
        call.read(100)
    quick = len(peer.heard())
    assert quick in (15, 16)
    peer.host.advance(100 * MS)
    peer.heard()
    peer.send(f"P. {at}:{at + 10} ack 1")
    assert peer.timeline(MS) == []
    ((when, line),) = peer.timeline(SECOND)
    assert line == f". 1 ack {at + 10}"
    assert 0.039 <= when <= 0.2


def exhausted(peer: Peer) -> tuple[Call, int]:
    """No quick ACKs are left, the peer's segments hold 1000 bytes; and the next byte."""
    call = established(peer)
    at = 1
    for _ in range(20):
        peer.send(f"P. {at}:{at + 1000} ack 1")
        at += 1000
        call.read(10000)
    peer.host.advance(100 * MS)
    peer.heard()
    return call, at


def test_every_second_full_segment_is_acknowledged(peer: Peer) -> None:
    """SHLD-19."""
    call, at = exhausted(peer)
    peer.send(f". {at}:{at + 1000} ack 1")
    assert len(call.read(10000)) == 1000
    peer.expect()
    peer.send(f". {at + 1000}:{at + 2000} ack 1")
    assert len(call.read(10000)) == 1000
    peer.expect(f". 1 ack {at + 2000}")
    peer.send(f". {at + 2000}:{at + 3000} ack 1")
    assert [line for _, line in peer.timeline(500 * MS)] == [f". 1 ack {at + 3000}"]


def test_an_answer_carries_the_ack(peer: Peer) -> None:
    call, at = exhausted(peer)
    peer.send(f"P. {at}:{at + 10} ack 1")
    call.write(1, 11)
    peer.expect(f"P. 1:11 ack {at + 10}")
    peer.send(f". {at + 10} ack 11")
    assert peer.timeline(SECOND) == []


def test_a_gap_is_acknowledged_at_once_and_its_filling_too(peer: Peer) -> None:
    """MAY-13, RFC 5681 section 4.2."""
    _, at = exhausted(peer)
    peer.send(f". {at + 1000}:{at + 2000} ack 1")
    peer.expect(f". 1 ack {at}")
    peer.send(f". {at}:{at + 1000} ack 1")
    peer.expect(f". 1 ack {at + 2000}")


@pytest.mark.rfc9293("MUST-39", "SHLD-14")
def test_the_window_closes_and_its_opening_is_told(peer: Peer) -> None:
    """The right edge never goes back; a window that re-opens is announced."""
    peer.host.options.rcvbuf = 20000
    call = established(peer, "mss 1000")
    edge = 0
    at = 1
    while call.tcb.receiver.receive_window() >= 1000:
        peer.send(f". {at}:{at + 1000} ack 1")
        at += 1000
        peer.host.settle()
        for packet in peer.heard():
            peer.words(packet)
            assert peer.names["w"] >= edge
            edge = peer.names["w"]
    peer.host.advance(SECOND)
    peer.heard()
    assert peer.names["w"] - peer.names["r"] < 1000
    call.read(100)
    peer.expect()  # too little to say
    assert call.read(100000) == pattern(101, at)
    (update,) = peer.heard()
    assert update[TCP].window > 5000


@pytest.mark.parametrize("rcvbuf", [4096, 50000, 2_000_000])
def test_the_first_window_is_half_the_buffer(peer: Peer, rcvbuf: int) -> None:
    """Linux's tcp_adv_win_scale = 1; whole segments."""
    peer.host.options.rcvbuf = rcvbuf
    peer.host.connect(peer.port)
    (syn,) = peer.expect("S 0")
    half = rcvbuf // 2
    assert syn[TCP].window == min(half - half % 1460, 65535)
    peer.host.options.rcvbuf = 0


def test_rst_for_text_that_nobody_wants_names_its_ack(peer: Peer) -> None:
    call = established(peer)
    call.close()
    peer.expect("F. 1 ack 1")
    peer.send("P. 1:11 ack 2")
    peer.expect("R 2")
