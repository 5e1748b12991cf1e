"""Text out of order: what is kept, what is sacked and in which order (RFC 2018, RFC 2883)."""

from __future__ import annotations

import random

import pytest

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import pattern
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet

HOLES = [("P. 201:301 ack 1", "201:301"), ("P. 401:501 ack 1", "401:501"), ("P. 601:701 ack 1", "601:701")]


def test_the_newest_block_comes_first(either: Peer) -> None:
    """RFC 2018 section 4."""
    call = either.opens()
    told: list[str] = []
    for line, block in HOLES:
        told.insert(0, block)
        either.send(line)
        either.expect(f". 1 ack 1 <sack {' '.join(told)}>")
    either.send("P. 301:401 ack 1")
    either.expect(". 1 ack 1 <sack 201:501 601:701>")
    either.send("P. 1:201 ack 1")
    either.expect(". 1 ack 501 <sack 601:701>")
    either.send("P. 501:601 ack 1")
    either.expect(". 1 ack 701")
    assert call.read(1000) == pattern(1, 701)


@pytest.mark.parametrize(("ts", "most"), [(None, 4), (1000, 3)])
def test_at_most_so_many_blocks(either: Peer, ts: int | None, most: int) -> None:
    either.ts = ts
    either.opens()
    for number in range(8):
        either.send(f"P. {101 + 200 * number}:{201 + 200 * number} ack 1")
    newest = [f"{101 + 200 * number}:{201 + 200 * number}" for number in range(7, 7 - most, -1)]
    packet = either.heard()[-1]
    assert either.words(packet) == f". 1 ack 1 <sack {' '.join(newest)}>"


def test_text_that_came_twice_is_told(either: Peer) -> None:
    """D-SACK below the left edge."""
    either.opens()
    either.send("P. 1:201 ack 1")
    either.expect(". 1 ack 201")
    either.send("P. 101:201 ack 1")
    either.expect(". 1 ack 201 <sack 101:201>")
    either.send("P. 101:301 ack 1")
    either.expect(". 1 ack 301 <sack 101:201>")
    either.send("P. 301:401 ack 1")
    either.expect(". 1 ack 401")


def test_text_that_came_twice_beyond_a_gap(either: Peer) -> None:
    """RFC 2883 section 4.1: the D-SACK first, then the block that holds it."""
    either.opens()
    either.send("P. 201:401 ack 1")
    either.expect(". 1 ack 1 <sack 201:401>")
    either.send("P. 301:401 ack 1")
    either.expect(". 1 ack 1 <sack 301:401 201:401>")
    either.send("P. 301:501 ack 1")
    either.expect(". 1 ack 1 <sack 301:401 201:501>")


def test_dsack_can_be_switched_off(make: MakePeer) -> None:
    peer = make(tcp_dsack=0)
    peer.opens()
    peer.send("P. 1:201 ack 1", "P. 1:201 ack 1")
    peer.expect(". 1 ack 201", ". 1 ack 201")


def test_without_sack_there_are_duplicate_acks(either: Peer) -> None:
    either.opens("mss 1460")
    for line, _ in HOLES:
        either.send(line)
        either.expect(". 1 ack 1")
    either.send("P. 1:201 ack 1")
    either.expect(". 1 ack 301")


def test_text_over_the_edge_is_taken_while_nothing_waits_to_be_read(peer: Peer) -> None:
    """Linux's tcp_sequence: whole, or not at all."""
    peer.host.options.rcvbuf = 4096
    call = peer.opens("mss 1000,sackOK")
    edge = peer.names["w"]
    peer.send(f"P. {edge - 100}:{edge + 100} ack 1")
    peer.expect(f". 1 ack 1 <sack {edge - 100}:{edge + 100}>")
    assert call.tcb.receiver.receive_ring.blocks() == [(edge - 101, edge + 99)]
    peer.send("P. 1:101 ack 1")
    peer.expect(f". 1 ack 101 <sack {edge - 100}:{edge + 100}>")
    assert peer.refused(f"P. {edge - 200}:{edge + 300} ack 1") == ["BEYOND_WINDOW"]
    peer.expect(f". 1 ack 101 <sack {edge - 100}:{edge + 100}>")
    assert peer.host.count("BeyondWindow") == 1


def test_of_a_run_the_segments_before_the_edge_are_taken(peer: Peer) -> None:
    """A run is many segments: the batch that they came in decides nothing."""
    peer.host.options.rcvbuf = 20000
    call = peer.opens("mss 1000,sackOK")
    peer.send("P. 1:101 ack 1")
    peer.expect(". 1 ack 101")
    edge = peer.names["w"]
    run = parse_packet(bytes(peer.packet(f"FP. 101:{edge + 5101} ack 1")))
    assert isinstance(run, Segment)
    run.segment_size = 1000
    run.segs = -(-run.payload_length // 1000)
    kept = (edge - 101) // 1000
    refused = peer.host.new_drops(lambda: peer.host.stack.on_frames([run], peer.host.now))
    assert refused == ["BEYOND_WINDOW"] * (-(-(edge + 5000) // 1000) - kept)
    peer.host.flush()
    peer.expect(f". 1 ack {101 + 1000 * kept}")
    assert call.read(100_000) == pattern(1, 101 + 1000 * kept)
    peer.heard()


def test_a_fin_over_the_edge(either: Peer) -> None:
    """The window is full of unread text, and the FIN stands behind it."""
    either.host.listen(either.our_port)
    either.send("S 0 <mss 1000>")
    either.expect("S. 0 ack 1")
    either.send(". 1 ack 1", f"P. 1:{either.names['w']} ack 1")
    either.host.settle()
    either.heard()
    either.send(f"F. {either.names['w']} ack 1")
    assert either.state() == "CLOSE_WAIT"
    either.host.settle()
    either.heard()


def test_the_last_byte_of_the_sequence_space(either: Peer) -> None:
    """The either's numbers wrap inside the gap."""
    call = either.opens()
    assert either.isn + 300 > 1 << 32
    either.send("P. 151:301 ack 1")
    either.expect(". 1 ack 1 <sack 151:301>")
    either.send("P. 1:151 ack 1")
    either.expect(". 1 ack 301")
    assert call.read(1000) == pattern(1, 301)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_any_overlap(either: Peer, seed: int) -> None:
    """The oracle is a set of bytes; every SACK block tells the truth, and the newest segment is in the first ones."""
    chance = random.Random(seed)
    call = either.opens()
    have: set[int] = set()
    while not have >= set(range(1, 501)):
        start = chance.randrange(1, 501)
        end = min(start + chance.randrange(1, 120), 501)
        either.send(f"P. {start}:{end} ack 1")
        have |= set(range(start, end))
        either.host.settle()
        packets = either.heard()
        assert packets
        words = either.words(packets[-1])
        left = next(at for at in range(1, 502) if at not in have)
        assert words.startswith(f". 1 ack {left}")
        for block in words.partition("<sack ")[2].rstrip(">").split():
            first, last = map(int, block.split(":"))
            assert set(range(first, last)) <= have
    assert call.read(1000) == pattern(1, 501)
