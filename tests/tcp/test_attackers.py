"""What a hostile peer, or somebody beside the path, may not do."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import MS, OURS, SECOND, THEIRS, VirtualHost, pattern
from ustack.sockopts import SocketOptions
from ustack.tcp.connection.connection import Connection
from ustack.tcp.sender.buffer import MORE_FOLLOWS
from ustack.tcp.sender.state import CA_CWR
from ustack.wire.address import parse_address

# Nothing of a segment is kept before every check on it has passed

REFUSED_ACKS = {"unsent": "ack 999999", "too old": "ack 2147483000"}


def receiver_memory(connection: Connection) -> dict[str, object]:
    """All that the receiving half remembers of its peer, but for what it owes in answer."""
    receiver = connection.receiver
    names = ("ts_recent", "ts_recent_at", "rcv_nxt", "rcv_mss", "rcv_fin", "rcv_up", "recent_blocks", "last_text_at")
    kept = {name: getattr(receiver, name) for name in names}
    acks = receiver.acks
    kept.update(ato=acks.ato, pingpong=acks.pingpong, pushed=acks.pushed)
    kept.update(echo=connection.ecn.echo, seen=connection.ecn.seen, ssthresh=receiver.rcv_ssthresh)
    sender = connection.sender
    kept.update(wnd=sender.snd_wnd, wl1=sender.snd_wl1, ack_at=sender.ack_at, probes=sender.probing.sent)
    return kept


@pytest.mark.parametrize("ack", REFUSED_ACKS.values(), ids=REFUSED_ACKS)
@pytest.mark.parametrize("flags", ["P.", "FPUE.", "FPUW."])
def test_a_refused_ack_leaves_no_trace(make: MakePeer, ack: str, flags: str) -> None:
    peer = make(tcp_ecn=1)
    listener = peer.host.listen(80)
    peer.ts = 1000
    peer.send("SEW 0 <mss 1000,sackOK>")
    peer.heard()
    peer.send(". 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    peer.ts = 1010
    peer.send("P. 1:11 ack 1")
    peer.heard()
    peer.host.advance(SECOND)
    before = receiver_memory(call.tcb)
    peer.ts = 1_000_000
    urgent = " urg 5" if "U" in flags else ""
    peer.send(f"{flags} 11:1011 {ack}{urgent}", tos=3)
    peer.heard()
    assert receiver_memory(call.tcb) == before
    peer.ts = 1300
    assert peer.refused("P. 11:21 ack 1") == []
    assert call.read(100) == pattern(1, 21)
    peer.heard()


def test_a_fin_behind_text_that_is_refused_marks_no_end(either: Peer) -> None:
    """Text at the right edge is acceptable by its number and refused for want of room: the peer's true text goes on."""
    call = either.opens()
    either.send("F. w:w+10 ack 1")
    either.expect(". 1 ack 1")  # no block: nothing is held
    either.send("P. 1:1001 ack 1")
    either.expect(". 1 ack 1001")
    assert call.read(2000) == pattern(1, 1001)
    either.heard()


def test_nothing_is_urgent_behind_the_fin(make: MakePeer) -> None:
    """RFC 9293 section 3.10.7.4, sixth: "This should not occur ... Ignore the URG"."""
    peer = make()
    call = peer.opens()
    peer.send("F. 1 ack 1")
    peer.heard()
    peer.send("U. 2 ack 1 urg 5")
    peer.heard()
    assert call.tcb.receiver.rcv_up < 0
    assert "URGENT" not in call.events()


def test_a_forged_ack_lets_nothing_go_that_waits_for_more(make: MakePeer) -> None:
    """MSG_MORE holds text back until the next ACK: one for what never left is none."""
    peer = make()
    call = peer.opens()
    call.tcb.write(pattern(1, 11), peer.host.now, MORE_FOLLOWS)
    peer.host.flush()
    peer.expect()
    peer.send(". 1 ack 999999", ". 1 ack 2147483000")
    peer.expect(". 1 ack 1")
    assert call.tcb.sender.marks.more
    peer.send(". 1 ack 1")
    peer.expect(". 1:11 ack 1")


@pytest.mark.parametrize("ecn", [1, 3])
def test_an_old_ack_tells_nothing_of_marks(make: MakePeer, ecn: int) -> None:
    """Its SACK blocks may be news, its ECN flags are of the past: an old count looked like seven marks."""
    peer = make(tcp_ecn=ecn)
    listener = peer.host.listen(80)
    peer.send("SEW 0 <mss 1000,sackOK>" if ecn == 1 else "SAEW 0 <mss 1000,sackOK>")
    peer.heard()
    peer.send(". 1 ack 1" if ecn == 1 else ".W 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    assert call.tcb.ecn.on if ecn == 1 else call.tcb.ecn.accurate
    call.write(1, 8001)
    peer.send(".EA 1 ack 3001" if ecn == 3 else ". 1 ack 3001")
    peer.heard()
    control = call.tcb.sender.congestion
    assert control is not None
    before = control.cwnd, call.tcb.ecn.delivered_ce, call.tcb.sender.ca_state
    peer.send(".E 1 ack 1001 <sack 3001:4001>" if ecn == 1 else ".A 1 ack 1001 <sack 7001:8001>")
    peer.heard()
    assert (call.tcb.ecn.delivered_ce, call.tcb.sender.ca_state != CA_CWR) == (before[1], True)


def test_an_old_ack_with_text_does_not_move_the_timestamp(either: Peer) -> None:
    """The text is taken, as RFC 9293 says; the timestamp is not (Linux: before ``old_ack`` nothing is stored)."""
    call = either.opens_with_timestamps(1000)
    call.write(1, 11)
    either.expect("P. 1:11 ack 1")
    either.ts = 1010
    either.send(". 1 ack 11")
    either.ts = 1020
    either.send("P. 1:11 ack 1", "P. 11:21 ack 11")
    echoes = [dict(packet[TCP].options)["Timestamp"][1] for packet in either.expect(". 11 ack 11", ". 11 ack 21")]
    assert echoes == [1010, 1020]


def test_segments_outside_the_window_do_not_keep_a_connection_alive(make: MakePeer) -> None:
    """Keepalive asks for a sign of life that only the peer can give."""
    peer = make(tcp_keepalive_time=10, tcp_keepalive_intvl=1, tcp_keepalive_probes=2)
    call = peer.opens()
    call.set("keepalive", True)
    probes = []
    for _ in range(14):
        peer.send("R 90000000", "P. 11:21 ack 999999")
        peer.heard()
        probes += [line for _, line in peer.timeline(SECOND) if line.startswith(". 0")]
    assert len(probes) == 2
    assert peer.state() == "LISTEN"
    peer.heard()


def test_ce_on_text_that_is_refused_is_not_echoed(make: MakePeer) -> None:
    peer = make(tcp_ecn=1)
    listener = peer.host.listen(80)
    peer.send("SEW 0 <mss 1000,sackOK>")
    peer.heard()
    peer.send(". 1 ack 1")
    peer.host.accept(listener)
    peer.send("P. 1:11 ack 1")
    peer.heard()
    peer.send("P. 1:11 ack 1", tos=3)  # once more
    peer.expect(". 1 ack 11 <sack 1:11>")


def test_a_cookie_that_was_used_opens_nothing_once_more(make: MakePeer) -> None:
    """As many bytes went each way, so both numbers are as far apart as in the cookie: a late segment of the connection
    that is over opened another, whose first bytes came from the middle of the stream."""
    peer = make(tcp_syncookies=2)
    call = peer.opens()
    peer.send("P. 1:11 ack 1")
    call.write(1, 11)
    peer.send("R 11")
    peer.heard()
    assert peer.refused("P. 11:21 ack 11") == ["COOKIE_FAILED"]
    peer.expect("R 11")
    assert peer.state() == "LISTEN"


# Every resend is paid for


def resends_of_old_acks(make: MakePeer, congestion: str, segments: int, count: int) -> int:
    peer = make(tcp_init_cwnd=segments, tcp_congestion_control=congestion)
    listener = peer.host.listen(80)
    peer.send("S 0 <mss 100,sackOK>")
    peer.expect("S. 0 ack 1")
    peer.host.advance(20 * MS)
    peer.send(". 1 ack 1")
    call = peer.host.accept(listener)
    assert call is not None
    call.write(1, 1 + 100 * segments)
    peer.host.advance(20 * MS)
    peer.send(". 1 ack 2001")
    peer.heard()
    before = call.tcb.sender.totals.bytes_retrans
    top = 1 + 100 * segments
    for number in range(count):
        peer.host.advance(22 * MS)
        peer.send(f". 1 ack 1001 <sack {top - 100 * (number + 1)}:{top}>")
        peer.heard()
    return (call.tcb.sender.totals.bytes_retrans - before) // 100


@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_old_acks_with_sack_blocks_resend_no_more_than_they_deliver(make: MakePeer, congestion: str) -> None:
    assert resends_of_old_acks(make, congestion, 200, 100) <= 4 * 100


# Addresses that cannot be from outside


def looped_pair(host: VirtualHost, address: str) -> tuple[Connection, Connection]:
    """A connection of the host with itself; both ends have nothing to say."""
    listener = host.stack.listen(parse_address(address), 80, 5, SocketOptions(), host.now)
    packed = parse_address(address)
    near = host.stack.connect(packed, 5000, packed, 80, SocketOptions(), host.now)
    host.flush()
    far = listener.accept(host.now)
    assert far is not None
    host.advance(SECOND)
    host.outbox.clear()
    return near, far


@pytest.mark.parametrize("address", ["127.0.0.1", OURS[4], "::1", OURS[6]])
@pytest.mark.parametrize("flags", ["R", "PA", "S"])
def test_the_device_brings_nothing_to_a_connection_with_oneself(address: str, flags: str) -> None:
    host = VirtualHost()
    near, far = looped_pair(host, address)
    ip = (IPv6 if ":" in address else IP)(src=address, dst=address)
    segment = TCP(
        sport=5000, dport=80, flags=flags, seq=near.sender.snd_nxt & 0xFFFFFFFF, ack=far.sender.snd_nxt & 0xFFFFFFFF
    )
    packet = ip / segment / (b"forged" if "P" in flags else b"")
    assert host.new_drops(lambda: host.inject(packet)) == ["MARTIAN_SOURCE"]
    assert host.outbox == []
    assert (near.state, far.state) == (near.state.ESTABLISHED, far.state.ESTABLISHED)
    assert far.unread() == 0


def test_an_address_that_becomes_ours_ends_what_came_from_it() -> None:
    peer = Peer(VirtualHost())
    peer.opens()
    peer.host.stack.add_address(parse_address(THEIRS[4]), 24)
    assert peer.refused("P. 1:11 ack 1") == ["MARTIAN_SOURCE"]
    peer.expect()


@pytest.mark.parametrize("address", ["127.0.0.1", OURS[4]])
def test_an_icmp_error_about_a_connection_with_oneself(address: str) -> None:
    host = VirtualHost()
    packed = parse_address(address)
    host.stack.listen(packed, 80, 5, SocketOptions(), host.now)
    near = host.stack.connect(packed, 5000, packed, 80, SocketOptions(), host.now)  # its SYN is still on the way
    quoted = IP(src=address, dst=address) / TCP(sport=5000, dport=80, seq=near.sender.iss & 0xFFFFFFFF)
    packet = IP(src=THEIRS[4], dst=OURS[4]) / ICMP(type=3, code=3) / quoted
    assert host.new_drops(lambda: host.inject(packet)) == ["ICMP_UNMATCHED"]
    assert near.state is near.state.ESTABLISHED


@pytest.mark.parametrize(
    ("source", "destination"), [(f"::ffff:{THEIRS[4]}", OURS[6]), (THEIRS[6], f"::ffff:{OURS[4]}")]
)
def test_an_ipv4_mapped_address_in_an_ipv6_header(source: str, destination: str) -> None:
    host = VirtualHost()
    host.listen(80)
    packet = IPv6(src=source, dst=destination) / TCP(sport=5000, dport=80, flags="S")
    assert host.new_drops(lambda: host.inject(packet)) == ["IPV6_MAPPED"]
    assert host.outbox == []


def test_ipv4_mapped_addresses_do_not_reach_an_ipv4_connection() -> None:
    peer = Peer(VirtualHost())
    call = peer.opens()
    segment = peer.packet("R 1")[TCP]
    packet = IPv6(src=f"::ffff:{THEIRS[4]}", dst=f"::ffff:{OURS[4]}") / segment
    assert peer.host.new_drops(lambda: peer.host.inject(packet)) == ["IPV6_MAPPED"]
    assert call.tcb.state is call.tcb.state.ESTABLISHED
