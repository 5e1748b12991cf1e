"""The two queues of a listener, SYN cookies, TCP_DEFER_ACCEPT (scenarios B6, B7, B8)."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import SYN_OPTIONS, Peer
from tests.tcp.world import SECOND, pattern
from ustack.tcp.cookies import MSS_V4


def crowd(peer: Peer, count: int, first: int = 6000) -> list[Peer]:
    return [Peer(peer.host, first + number) for number in range(count)]


def shake_hands(peers: list[Peer]) -> None:
    for one in peers:
        one.send(f"S 0 <{SYN_OPTIONS}>")
        one.expect("S. 0 ack 1")
        one.send(". 1 ack 1")
        one.expect()


def fill_while_waiting(peer: Peer) -> None:
    """A backlog of two is full when this peer's third segment comes."""
    shake_hands(crowd(peer, 2))
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    shake_hands(crowd(peer, 1, 6500))


# The accept queue


@pytest.mark.scenario("B6")
def test_connected_without_accept(peer: Peer) -> None:
    """B6: text is taken and acknowledged before anybody accepts."""
    listener = peer.host.listen(80)
    shake_hands([peer])
    peer.send("P. 1:11 ack 1")
    peer.expect(". 1 ack 11")
    call = peer.host.accept(listener)
    assert call is not None
    assert call.read(100) == pattern(1, 11)


@pytest.mark.scenario("B7")
def test_the_accept_queue_holds_one_more_than_the_backlog(peer: Peer) -> None:
    """B7: what comes then is dropped and counted; the SYN-ACK comes again until there is room."""
    listener = peer.host.listen(80, backlog=1)
    shake_hands(crowd(peer, 2))
    assert peer.refused(f"S 0 <{SYN_OPTIONS}>") == ["ACCEPT_QUEUE_FULL"]
    peer.expect()
    assert peer.host.count("ListenOverflows") == 1
    assert peer.host.count("ListenDrops") == 1
    assert peer.host.accept(listener) is not None
    shake_hands([peer])


@pytest.mark.scenario("B7")
def test_a_final_ack_that_finds_the_queue_full(peer: Peer) -> None:
    listener = peer.host.listen(80, backlog=2)
    fill_while_waiting(peer)
    assert peer.refused(". 1 ack 1") == ["ACCEPT_QUEUE_FULL"]
    peer.expect()
    assert peer.state() == "SYN_RECEIVED"
    assert peer.host.count("ListenOverflows") == 1
    assert peer.timeline(4 * SECOND) == [(1, "S. 0 ack 1"), (3, "S. 0 ack 1")]
    assert peer.host.accept(listener) is not None
    peer.send(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"


@pytest.mark.scenario("B7")
def test_abort_on_overflow(make: MakePeer) -> None:
    peer = make(tcp_abort_on_overflow=1)
    peer.host.listen(80, backlog=2)
    fill_while_waiting(peer)
    peer.send(". 1 ack 1")
    peer.expect("R 1")
    assert peer.state() == "LISTEN"


def test_a_cookie_finds_the_queue_full(make: MakePeer) -> None:
    """Backlog 0 accepts one connection, whose SYN got a cookie as well as the next one's."""
    peer = make(tcp_syncookies=2)
    peer.host.listen(80, backlog=0)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    shake_hands(crowd(peer, 1))
    assert peer.refused(". 1 ack 1") == ["ACCEPT_QUEUE_FULL"]
    assert peer.state() == "LISTEN"


def test_a_closed_listener_resets_what_nobody_accepted(peer: Peer) -> None:
    listener = peer.host.listen(80)
    shake_hands([peer])
    waiting = Peer(peer.host, 7000)
    waiting.send(f"S 0 <{SYN_OPTIONS}>")
    waiting.expect("S. 0 ack 1")
    listener.close(peer.host.now)
    peer.host.flush()
    peer.expect("R. 1 ack 1")
    assert peer.state() == "CLOSED"
    waiting.send(". 1 ack 1")
    waiting.expect("R 1")
    assert peer.host.stack.ports.bound == {}


# The SYN queue


@pytest.mark.scenario("B8")
def test_a_full_syn_queue_without_cookies(make: MakePeer) -> None:
    peer = make(tcp_syncookies=0)
    peer.host.listen(80, backlog=4)
    for one in crowd(peer, 5):
        one.send(f"S 0 <{SYN_OPTIONS}>")
        one.expect("S. 0 ack 1")
    assert peer.refused(f"S 0 <{SYN_OPTIONS}>") == ["SYN_QUEUE_FULL"]
    peer.expect()
    assert peer.host.count("TCPReqQFullDrop") == 1
    assert peer.host.count("ListenDrops") == 1


@pytest.mark.scenario("B8")
@pytest.mark.parametrize("backlog", [0, 1, 4])
def test_the_syn_queue_holds_one_more_than_the_backlog(either: Peer, backlog: int) -> None:
    """Who comes later has a cookie, and no place."""
    either.host.listen(either.our_port, backlog=backlog)
    peers = [Peer(either.host, 20000 + number, either.our_port) for number in range(8)]
    for one in peers:
        one.send("S 0 <mss 1460>")
        one.expect("S. 0 ack 1")
    assert [one.state() for one in peers].count("SYN_RECEIVED") == backlog + 1


def test_the_last_quarter_of_the_backlog_is_for_known_peers(make: MakePeer) -> None:
    """Without cookies a quarter of tcp_max_syn_backlog is for peers that are remembered: ustack remembers none."""
    peer = make(tcp_syncookies=0, tcp_max_syn_backlog=8)
    peer.host.listen(80, backlog=100)
    peers = crowd(peer, 10)
    for one in peers:
        one.send("S 0 <mss 1460>")
    answered = [len(one.heard()) for one in peers]
    assert answered == [1] * 7 + [0] * 3
    assert (peer.host.count("ListenDrops"), peer.host.count("TCPReqQFullDrop")) == (3, 0)


@pytest.mark.parametrize("mss", [500, 536, 1299, 1300, 1400, 1440, 1460, 9000])
@pytest.mark.scenario("B8")
def test_a_cookie_keeps_the_mss(make: MakePeer, mss: int) -> None:
    peer = make(tcp_syncookies=2)
    listener = peer.host.listen(80)
    peer.send(f"S 0 <mss {mss},sackOK,nop,wscale 7>")
    peer.expect("S. 0 ack 1 win 64240 <mss 1460>")  # without timestamps nothing carries SACK and scaling back
    assert peer.state() == "LISTEN"
    assert peer.host.stack.next_deadline() is None
    peer.host.advance(59 * SECOND)
    peer.send("P. 1:11 ack 1")
    peer.expect(". 1 ack 11")
    call = peer.host.accept(listener)
    assert call is not None
    assert call.read(100) == pattern(1, 11)
    assert call.tcb.agreed.peer_mss == max([size for size in MSS_V4 if size <= mss], default=536)
    assert (call.tcb.agreed.sack_on, call.tcb.agreed.wscale_on) == (False, False)
    assert peer.host.count("SyncookiesSent") == peer.host.count("SyncookiesRecv") == 1


@pytest.mark.scenario("B8")
def test_timestamps_carry_scaling_and_sack_through_a_cookie(make: MakePeer) -> None:
    peer = make(tcp_syncookies=2)
    listener = peer.host.listen(80)
    peer.ts = 1000
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1 win 65160 <mss 1460,sackOK,wscale 10>")
    peer.send(". 1 ack 1 win 100")
    call = peer.host.accept(listener)
    assert call is not None
    assert (call.tcb.agreed.sack_on, call.tcb.agreed.snd_wscale, call.tcb.agreed.rcv_wscale, call.tcb.agreed.ts_on) == (
        True,
        7,
        10,
        True,
    )
    assert call.tcb.sender.snd_wnd == 12800
    call.write(1, 101)
    (packet,) = peer.expect("P. 1:101 ack 1")
    assert dict(packet[TCP].options)["Timestamp"][1] == 1000


def test_a_forged_or_old_cookie_is_reset(make: MakePeer) -> None:
    peer = make(tcp_syncookies=2)
    peer.host.listen(80)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    assert peer.refused(". 1 ack 2") == ["COOKIE_FAILED"]
    peer.expect("R 2")
    assert peer.refused(". 101 ack 1") == ["COOKIE_FAILED"]
    peer.expect("R 1")
    other = Peer(peer.host, 5001)
    other.iss = peer.iss
    assert other.refused(". 1 ack 1") == ["COOKIE_FAILED"]
    other.expect("R 1")
    peer.host.advance(180 * SECOND)
    assert peer.refused(". 1 ack 1") == ["COOKIE_FAILED"]
    peer.expect("R 1")
    assert peer.host.count("SyncookiesFailed") == 4


@pytest.mark.scenario("B8")
def test_cookies_begin_when_the_queue_is_full(peer: Peer) -> None:
    """B8: a flood of SYNs, and a real client still gets in."""
    listener = peer.host.listen(80, backlog=8)
    flood = crowd(peer, 100)
    for one in flood:
        one.send(f"S 0 <{SYN_OPTIONS}>")
        one.expect("S. 0 ack 1")
    assert peer.host.count("SyncookiesSent") == 91
    assert peer.host.count("TCPReqQFullDoCookies") == 91
    shake_hands([peer])
    assert peer.state() == "ESTABLISHED"
    assert peer.host.accept(listener) is not None
    assert sum(one.state() == "SYN_RECEIVED" for one in flood) == 9
    peer.host.advance(100 * SECOND)
    assert sum(one.state() == "SYN_RECEIVED" for one in flood) == 0
    for one in flood:
        one.heard()


def test_without_cookies_a_bare_ack_is_reset(make: MakePeer) -> None:
    peer = make(tcp_syncookies=0)
    peer.host.listen(80)
    assert peer.refused(". 1 ack 1") == ["LISTEN_ACK"]
    peer.expect("R 1")


# TCP_DEFER_ACCEPT


def test_deferred_until_text_comes(peer: Peer) -> None:
    peer.host.options.defer_accept_s = 5
    listener = peer.host.listen(80)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    peer.send(". 1 ack 1")
    assert peer.state() == "SYN_RECEIVED"
    assert peer.host.accept(listener) is None
    assert peer.host.count("TCPDeferAcceptDrop") == 1
    peer.send("P. 1:11 ack 1")
    peer.expect(". 1 ack 11")
    assert peer.host.accept(listener) is not None


def test_a_deferred_peer_that_stays_silent_is_asked_again(peer: Peer) -> None:
    """When the time is over a SYN-ACK goes out, and its ACK is enough."""
    peer.host.options.defer_accept_s = 5
    listener = peer.host.listen(80)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    peer.send(". 1 ack 1")
    assert peer.timeline(10 * SECOND) == [(7, "S. 0 ack 1")]
    peer.send(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"
    assert peer.host.accept(listener) is not None
