"""How connections end: FINs in every order, orphans, resets (scenarios C1 to C4, C9, C12, C13)."""

from __future__ import annotations

import errno

import pytest

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import MS, SECOND, pattern

HOUR = 3600 * SECOND


def is_forgotten(peer: Peer) -> bool:
    """Nothing of the connection is left, and no timer does anything any more."""
    stack = peer.host.stack
    if stack.tcp.connections or stack.tcp.time_waits:
        return False
    return peer.timeline(HOUR) == [] and stack.next_deadline() is None


# Four segments, three, and crossed


@pytest.mark.scenario("C1")
def test_the_four_way_close_by_us(peer: Peer) -> None:
    call = peer.opens()
    call.close()
    peer.expect("F. 1 ack 1")
    assert peer.state() == "FIN_WAIT_1"
    peer.send(". 1 ack 2")
    assert peer.state() == "FIN_WAIT_2"
    peer.send("F. 1 ack 2")
    peer.expect(". 2 ack 2")
    assert peer.state() == "TIME_WAIT"
    assert peer.timeline(60 * SECOND - 1) == []
    assert peer.state() == "TIME_WAIT"
    assert peer.timeline(1) == []
    assert peer.state() == "LISTEN"
    assert is_forgotten(peer)
    assert peer.host.count("TcpCurrEstab") == 0


@pytest.mark.scenario("C1")
def test_the_four_way_close_by_the_peer(peer: Peer) -> None:
    call = peer.opens()
    peer.send("F. 1 ack 1")
    peer.host.settle()
    peer.expect(". 1 ack 2")
    assert peer.state() == "CLOSE_WAIT"
    assert call.events() == ["ESTABLISHED", "WRITABLE", "PEER_CLOSED"]
    assert call.tcb.at_eof()
    call.close()
    peer.expect("F. 1 ack 2")
    assert peer.state() == "LAST_ACK"
    peer.send(". 2 ack 2")
    assert peer.state() == "LISTEN"
    assert is_forgotten(peer)


@pytest.mark.scenario("C1")
def test_three_segments_when_the_passive_side_closes_at_once(peer: Peer) -> None:
    call = peer.opens()
    peer.send("F. 1 ack 1")
    call.close()
    peer.expect("F. 1 ack 2")
    peer.send(". 2 ack 2")
    assert is_forgotten(peer)


@pytest.mark.scenario("C1")
def test_three_segments_when_the_peer_closes_at_once(either: Peer) -> None:
    either.opens().close()
    either.expect("F. 1 ack 1")
    either.send("F. 1 ack 2")
    either.expect(". 2 ack 2")
    assert either.state() == "TIME_WAIT"


@pytest.mark.scenario("C12")
def test_both_close_at_once(either: Peer) -> None:
    """C12."""
    either.opens().close()
    either.expect("F. 1 ack 1")
    either.send("F. 1 ack 1")
    either.expect(". 2 ack 2")
    assert either.state() == "CLOSING"
    either.send(". 2 ack 2")
    assert either.state() == "TIME_WAIT"


def test_the_fin_follows_the_text(peer: Peer) -> None:
    call = peer.opens()
    call.tcb.write(pattern(1, 11), peer.host.now)
    call.close()
    peer.expect("FP. 1:11 ack 1")
    peer.send(". 1 ack 12")
    assert peer.state() == "FIN_WAIT_2"


@pytest.mark.scenario("C13")
def test_half_close_by_us(peer: Peer) -> None:
    """C13: after shutdown the peer may send for ever, and is acknowledged."""
    call = peer.opens()
    call.shutdown()
    peer.expect("F. 1 ack 1")
    peer.send(". 1 ack 2")
    with pytest.raises(BrokenPipeError):
        call.write(1, 2)
    for start in range(1, 1001, 100):
        assert peer.timeline(HOUR) == []
        peer.send(f"P. {start}:{start + 100} ack 2")
        peer.expect(f". 2 ack {start + 100}")
    assert call.read(10000) == pattern(1, 1001)
    peer.send("F. 1001 ack 2")
    peer.expect(". 2 ack 1002")
    assert peer.state() == "TIME_WAIT"


@pytest.mark.scenario("C13")
def test_half_close_by_the_peer(peer: Peer) -> None:
    call = peer.opens()
    peer.send("F. 1 ack 1")
    peer.host.settle()
    peer.expect(". 1 ack 2")
    for start in range(1, 401, 100):
        call.write(start, start + 100)
        peer.expect(f"P. {start}:{start + 100} ack 2")
        peer.send(f". 2 ack {start + 100}")
    call.close()
    peer.expect("F. 401 ack 2")
    peer.send(". 2 ack 402")
    assert is_forgotten(peer)


def test_a_fin_before_its_text_waits(either: Peer) -> None:
    call = either.opens()
    either.send("FP. 101:201 ack 1")
    either.expect(". 1 ack 1 <sack 101:202>")
    assert either.state() == "ESTABLISHED"
    either.send("P. 1:101 ack 1")
    either.expect(". 1 ack 202")
    assert either.state() == "CLOSE_WAIT"
    assert call.read(1000) == pattern(1, 201)


def test_a_fin_whose_number_was_text_ends_nothing(peer: Peer) -> None:
    call = peer.opens()
    peer.send("P. 1:101 ack 1")
    peer.expect(". 1 ack 101")
    peer.send("F. 50 ack 1")
    peer.expect(". 1 ack 101 <sack 50:51>")
    assert peer.state() == "ESTABLISHED"
    peer.send("P. 101:201 ack 1")
    peer.expect(". 1 ack 201")
    assert call.read(1000) == pattern(1, 201)
    peer.send("F. 201 ack 1")
    assert peer.state() == "CLOSE_WAIT"
    assert peer.timeline(SECOND) == [(0.04, ". 1 ack 202")]


def test_close_in_syn_received_sends_fin_at_once(peer: Peer) -> None:
    """As Linux: tests/rfc/9293/3.10.4-close-in-simultaneous-open.pkt."""
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send("S 0")
    peer.expect("S. 0 ack 1")
    call.close()
    peer.expect("F. 1 ack 1")
    peer.send(". 1 ack 1")
    peer.expect()
    assert peer.state() == "FIN_WAIT_1"


# What is lost


@pytest.mark.scenario("C2")
def test_a_lost_fin_is_resent_by_shutdown_for_a_long_time(peer: Peer) -> None:
    """C2: an application still holds the socket, so tcp_retries2 counts."""
    call = peer.opens()
    call.shutdown()
    peer.expect("F. 1 ack 1")
    said = peer.timeline(HOUR)
    assert [line for _, line in said] == ["F. 1 ack 1"] * len(said)
    assert len(said) >= 14
    assert call.error == errno.ETIMEDOUT
    assert call.events()[-2:] == ["TIMED_OUT", "CLOSED"]


@pytest.mark.parametrize(("knob", "resends"), [(0, 8), (3, 3), (1, 1)])
@pytest.mark.scenario("C2")
def test_an_orphan_gives_up_sooner(make: MakePeer, knob: int, resends: int) -> None:
    """tcp_orphan_retries: a time as long as so many doublings from 200 ms take."""
    peer = make(tcp_orphan_retries=knob)
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    said = [at for at, _ in peer.timeline(HOUR)]
    assert is_forgotten(peer)
    limit = ((2 << resends) - 1) * 0.2
    assert said[0] + limit >= said[-1]
    assert len(said) in (resends, resends + 1, resends + 2)


@pytest.mark.scenario("C3")
def test_the_peers_fin_again_is_acknowledged_again_in_close_wait(peer: Peer) -> None:
    """C3: our ACK was lost."""
    peer.opens()
    peer.send("F. 1 ack 1")
    peer.host.settle()
    peer.expect(". 1 ack 2")
    peer.send("F. 1 ack 1")
    peer.expect(". 1 ack 2 <sack 1:2>")


@pytest.mark.scenario("C4")
def test_last_ack_resends_its_fin(peer: Peer) -> None:
    """C4."""
    call = peer.opens()
    peer.send("F. 1 ack 1")
    call.close()
    peer.expect("F. 1 ack 2")
    said = peer.timeline(HOUR)
    assert {line for _, line in said} == {"F. 1 ack 2"}
    assert len(said) in (8, 9, 10)
    assert is_forgotten(peer)


def test_closing_resends_its_fin(peer: Peer) -> None:
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send("F. 1 ack 1")
    peer.expect(". 2 ack 2")
    said = peer.timeline(SECOND)
    assert said
    assert {line for _, line in said} == {"F. 1 ack 2"}
    peer.send(". 2 ack 2")
    assert peer.state() == "TIME_WAIT"


@pytest.mark.parametrize(("linger2", "seconds"), [(0, 60), (5, 5), (-1, 0)])
@pytest.mark.scenario("C3")
def test_fin_wait_2_of_an_orphan_ends(peer: Peer, linger2: int, seconds: int) -> None:
    """C3: tcp_fin_timeout, or TCP_LINGER2; -1: no FIN-WAIT-2 at all."""
    peer.host.options.linger2_s = linger2
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send(". 1 ack 2")
    if linger2 < 0:
        peer.expect("R 2")
    else:
        assert peer.timeline(seconds * SECOND - 1) == []
        assert peer.state() == "FIN_WAIT_2"
        assert peer.timeline(1) == []
    assert is_forgotten(peer)
    peer.send("F. 1 ack 2")
    peer.expect("R 2")


@pytest.mark.scenario("C3")
def test_fin_wait_2_after_shutdown_lasts(peer: Peer) -> None:
    call = peer.opens()
    call.shutdown()
    peer.expect("F. 1 ack 1")
    peer.send(". 1 ack 2")
    assert peer.timeline(48 * HOUR) == []
    assert peer.state() == "FIN_WAIT_2"
    call.close()
    assert peer.timeline(60 * SECOND) == []
    assert is_forgotten(peer)


# RST


@pytest.mark.scenario("C9")
def test_linger_zero_resets(peer: Peer) -> None:
    """C9: no TIME-WAIT."""
    call = peer.opens()
    call.abort()
    peer.expect("R. 1 ack 1")
    assert is_forgotten(peer)
    assert peer.host.count("TcpOutRsts") == 1


def test_unread_text_resets(peer: Peer) -> None:
    """RFC 2525 section 2.17: close() with text unread."""
    call = peer.opens()
    peer.send("P. 1:11 ack 1")
    peer.expect(". 1 ack 11")
    call.close()
    peer.expect("R. 1 ack 11")
    assert is_forgotten(peer)
    assert peer.host.count("TCPAbortOnClose") == 1


@pytest.mark.parametrize("acked", [True, False])
def test_text_after_close_resets(peer: Peer, acked: bool) -> None:
    """RFC 9293 section 3.6.1: nobody can read it."""
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    if acked:
        peer.send(". 1 ack 2")
    assert peer.refused("P. 1:11 ack 2") == ["DATA_AFTER_CLOSE"]
    peer.expect("R 2")
    assert is_forgotten(peer)
    assert peer.host.count("TCPAbortOnData") == 1


@pytest.mark.parametrize(
    ("state", "code"),
    [("ESTABLISHED", errno.ECONNRESET), ("CLOSE_WAIT", errno.EPIPE), ("FIN_WAIT_1", errno.ECONNRESET)],
)
def test_a_reset_tells_the_application(peer: Peer, state: str, code: int) -> None:
    """MUST-12."""
    call = peer.opens()
    ours = 1
    if state == "CLOSE_WAIT":
        peer.send("F. 1 ack 1")
        peer.host.settle()
        peer.expect(". 1 ack 2")
    elif state == "FIN_WAIT_1":
        call.shutdown()
        peer.expect("F. 1 ack 1")
        ours = 2
    assert peer.state() == state
    call.events()
    peer.send(f"R r ack {ours}".replace(f" ack {ours}", ""))
    assert call.events() == ["RESET", "CLOSED"]
    assert call.error == code
    assert is_forgotten(peer)


def test_text_before_a_reset_is_still_read(peer: Peer) -> None:
    call = peer.opens()
    peer.send("P. 1:11 ack 1", "R 11")
    peer.expect(". 1 ack 11")
    assert call.read(100) == pattern(1, 11)
    assert peer.timeline(100 * MS) == []


def test_no_timer_and_no_memory_after_many_connections(peer: Peer) -> None:
    listener = peer.host.listen(80)
    for port in range(6000, 6200):
        one = Peer(peer.host, port)
        one.send("S 0")
        one.expect("S. 0 ack 1")
        one.send(". 1 ack 1")
        call = peer.host.accept(listener)
        assert call is not None
        one.send("F. 1 ack 1")
        call.close()
        one.expect("F. 1 ack 2")
        one.send(". 2 ack 2")
    peer.host.advance(HOUR)
    assert is_forgotten(peer)
    assert len(peer.host.stack.deadlines) == 0
    assert peer.host.stack.ports.users == {}
    assert peer.host.stack.host.orphans == 0
