"""Segments of one batch: a connection that ended by the first is gone for the second."""

from __future__ import annotations

import pytest

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import SYN_OPTIONS, Peer
from tests.tcp.world import SECOND
from ustack.stack.stack import Stack
from ustack.wire.parse import parse_packet

NEXT_SYN = f"S 1000 <{SYN_OPTIONS}>"


def next_opens(peer: Peer) -> None:
    """The SYN at 1000 was answered; the new connection works."""
    assert peer.state() == "SYN_RECEIVED"
    assert peer.host.count("TcpPassiveOpens") == 1
    assert len(peer.host.stack.tcp.connections) == 0


def test_a_reset_then_a_syn(either: Peer) -> None:
    either.opens()
    either.send_together("R 1", "S 1000")
    (packet,) = either.heard()
    assert str(packet["TCP"].flags) == "SA"
    assert either.state() == "SYN_RECEIVED"


def test_the_last_ack_then_a_syn(peer: Peer) -> None:
    call = peer.opens()
    peer.send("F. 1 ack 1")
    call.close()
    peer.expect("F. 1 ack 2")
    peer.send_together(". 2 ack 2", NEXT_SYN)
    (packet,) = peer.heard()
    assert str(packet["TCP"].flags) == "SA"
    next_opens(peer)


def test_the_last_ack_then_text_finds_nobody(peer: Peer) -> None:
    call = peer.opens()
    peer.send("F. 1 ack 1")
    call.close()
    peer.expect("F. 1 ack 2")
    assert peer.host.new_drops(lambda: peer.send_together(". 2 ack 2", ". 2 ack 2")) == ["LISTEN_ACK"]
    peer.expect("R 2")


def test_a_fin_then_a_syn_meets_time_wait(peer: Peer) -> None:
    """The FIN is acknowledged first; the SYN is beyond all that was received, and opens a new connection (RFC 6191)."""
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send_together("F. 1 ack 2", NEXT_SYN)
    last_ack, syn_ack = peer.heard()
    assert (str(last_ack["TCP"].flags), str(syn_ack["TCP"].flags)) == ("A", "SA")
    next_opens(peer)
    assert peer.host.stack.tcp.time_waits == {}


def test_a_fin_twice_is_acknowledged_twice(peer: Peer) -> None:
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send_together("F. 1 ack 2", "F. 1 ack 2")
    peer.expect(". 2 ack 2", ". 2 ack 2")
    assert peer.state() == "TIME_WAIT"
    assert len(peer.host.stack.tcp.time_waits) == 1


def test_a_reset_of_time_wait_then_a_syn(peer: Peer) -> None:
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send_together("F. 1 ack 2", "R 2", NEXT_SYN)
    assert [str(packet["TCP"].flags) for packet in peer.heard()] == ["A", "SA"]
    next_opens(peer)


def test_a_reset_of_a_request_then_a_syn(either: Peer) -> None:
    either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1")
    either.send_together("R 1", "S 1000")
    (packet,) = either.heard()
    assert str(packet["TCP"].flags) == "SA"


def test_text_after_close_then_a_syn(peer: Peer) -> None:
    """The application has gone: the text is answered with a RST, the SYN with a SYN-ACK."""
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send_together("P. 1:11 ack 1", NEXT_SYN)
    assert [str(packet["TCP"].flags) for packet in peer.heard()] == ["R", "SA"]
    next_opens(peer)


def test_an_aborted_connection_is_gone_before_its_reset_has_left(peer: Peer) -> None:
    """The application aborts, and before the Stack is polled a segment comes."""
    call = peer.opens()
    call.tcb.abort(peer.host.now)
    peer.send(NEXT_SYN)
    assert [str(packet["TCP"].flags) for packet in peer.heard()] == ["RA", "SA"]
    next_opens(peer)


def test_a_timer_and_a_syn_at_one_instant(peer: Peer) -> None:
    """TIME-WAIT has lasted its minute, and nobody has called on_deadline yet."""
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send("F. 1 ack 2")
    peer.expect(". 2 ack 2")
    peer.host.now += 60 * SECOND
    assert peer.refused("P. 2:12 ack 2") == ["LISTEN_ACK"]
    peer.expect("R 2")


def test_the_same_ports_again_at_once(make: MakePeer) -> None:
    """Client and server close and open as fast as segments go, always with the same ports: nobody is refused."""
    peer = make()
    listener = peer.host.listen(80)
    isn = 0
    for _ in range(300):
        peer.names["r"] = 0
        peer.send(f"S {isn} <{SYN_OPTIONS}>")
        (syn_ack,) = peer.heard()
        assert str(syn_ack["TCP"].flags) == "SA"
        ours = syn_ack["TCP"].seq - peer.iss + 1
        peer.send_together(f". {isn + 1} ack {ours}", f"F. {isn + 1} ack {ours}")
        call = peer.host.accept(listener)
        assert call is not None
        call.close()
        fin = peer.heard()[-1]
        assert str(fin["TCP"].flags) == "FA"
        isn += 100_000
        peer.send_together(f". {isn - 100_000 + 2} ack {ours + 1}", f"S {isn} <{SYN_OPTIONS}>")
        (syn_ack,) = peer.heard()
        assert str(syn_ack["TCP"].flags) == "SA"
        peer.send(f"R {isn + 1}")
        isn += 100_000
    assert isinstance(peer.host.stack, Stack)
    assert peer.host.count("TcpOutRsts") == 0
    peer.heard()


@pytest.mark.parametrize("line", ["R 1", "R. 1 ack 1"])
def test_connect_again_after_a_reset_in_the_same_batch(peer: Peer, line: str) -> None:
    """The four-tuple is free for our own connect() as well."""
    peer.is_opened()
    packet = peer.packet(line)
    peer.host.stack.on_frames([parse_packet(bytes(packet))], peer.host.now)
    peer.host.connect(peer.port, peer.our_port)
    (syn,) = peer.heard()
    assert str(syn["TCP"].flags) == "S"
    assert peer.state() == "SYN_SENT"
