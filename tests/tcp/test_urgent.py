"""Urgent data (RFC 9293 section 3.8.5, RFC 6093), and the application's MSG_OOB."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import pattern


def test_the_byte_before_the_pointer_is_urgent(peer: Peer) -> None:
    """MUST-62: the pointer names the first byte that is not urgent."""
    call = peer.opens()
    peer.send("PU. 1:6 ack 1 urg 3")
    peer.expect(". 1 ack 6")
    assert "URGENT" in call.events()
    assert call.tcb.urgent_readable()
    assert call.tcb.read_urgent() == pattern(3, 4)
    assert not call.tcb.urgent_readable()
    assert call.read(10) == pattern(1, 3)
    assert call.read(10) == pattern(4, 6)


def test_with_stdurg_the_pointer_names_the_byte_itself(make: MakePeer) -> None:
    peer = make(tcp_stdurg=1)
    call = peer.opens()
    peer.send("PU. 1:6 ack 1 urg 3")
    peer.expect(". 1 ack 6")
    assert call.tcb.read_urgent() == pattern(4, 5)


def test_inline(peer: Peer) -> None:
    call = peer.opens()
    call.set("oobinline", True)
    peer.send("PU. 1:6 ack 1 urg 3")
    peer.expect(". 1 ack 6")
    with pytest.raises(OSError, match="argument"):
        call.tcb.read_urgent()
    assert call.read(10) == pattern(1, 3)
    assert call.read(10) == pattern(3, 6)


def test_the_pointer_may_be_ahead_of_its_byte(peer: Peer) -> None:
    """MUST-31, MUST-32: told at once, read when it comes."""
    call = peer.opens()
    peer.send("PU. 1:6 ack 1 urg 8")
    peer.expect(". 1 ack 6")
    assert "URGENT" in call.events()
    with pytest.raises(BlockingIOError):
        call.tcb.read_urgent()
    peer.send("PU. 6:11 ack 1 urg 3")
    peer.expect(". 1 ack 11")
    assert call.tcb.read_urgent() == pattern(8, 9)
    assert call.read(20) == pattern(1, 8)
    assert call.read(20) == pattern(9, 11)


def test_a_newer_mark_replaces_the_older(peer: Peer) -> None:
    call = peer.opens()
    peer.send("PU. 1:6 ack 1 urg 2", "PU. 6:11 ack 1 urg 4")
    peer.heard()
    assert call.tcb.read_urgent() == pattern(9, 10)
    assert call.read(20) + call.read(20) == pattern(1, 9) + pattern(10, 11)


def test_what_we_mark(peer: Peer) -> None:
    """URG on every segment up to the mark, the pointer behind the byte."""
    call = peer.opens("mss 1000,nop,wscale 7")
    call.tcb.urgent_follows(5)
    call.write(1, 6)
    (packet,) = peer.expect("P.U 1:6 ack 1 urg 5")
    assert packet[TCP].urgptr == 5
    peer.send(". 1 ack 6")
    call.write(6, 11)
    peer.expect("P. 6:11 ack 1")
