"""Segment sizes, and ICMP errors about connections (RFC 9293 sections 3.7, 3.9.2.2; RFC 5927, RFC 1191, RFC 8201)."""

from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Packet

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import Peer
from tests.tcp.world import OURS, SECOND, THEIRS, text_of
from ustack.sockopts import PMTUDISC_DONT


def sizes(peer: Peer) -> list[int]:
    return [len(text_of(packet)) for packet in peer.heard()]


# MSS


@pytest.mark.parametrize(("family", "size"), [(4, 536), (6, 1220)])
def test_without_the_option(make: MakePeer, family: int, size: int) -> None:
    """MUST-15."""
    peer = make(family=family)
    call = peer.opens("")
    call.write(1, 3001)
    assert sizes(peer)[:2] == [size, size]


@pytest.mark.parametrize(("family", "mss"), [(4, 1460), (6, 1440)])
def test_what_we_announce(make: MakePeer, family: int, mss: int) -> None:
    """MUST-67, MUST-14: what the interface's MTU holds, never less for options."""
    peer = make(family=family)
    peer.host.connect(peer.port, 80, family)
    peer.expect(f"S 0 <mss {mss},sackOK,wscale 10>")


@pytest.mark.parametrize("mtu", [576, 1400, 9000, 65535])
def test_the_mtu_decides(peer: Peer, mtu: int) -> None:
    peer.host.stack.set_mtu(mtu)
    call = peer.opens("mss 65000,nop,wscale 7")
    peer.port += 1
    peer.send("S 0")
    peer.expect(f"S. 0 ack 1 <mss {mtu - 40}>")
    peer.port -= 1
    call.write(1, 2 * mtu)
    assert max(sizes(peer)) == min(mtu - 40, 65000)


@pytest.mark.parametrize(("theirs", "sent"), [(1000, 1000), (9000, 1460), (1, 48), (0, 536)])
def test_the_smaller_of_both(peer: Peer, theirs: int, sent: int) -> None:
    """MUST-16; tcp_min_snd_mss bounds a mean peer."""
    call = peer.opens(f"mss {theirs},nop,wscale 7")
    call.write(1, 3001)
    assert sizes(peer)[0] == sent


def test_timestamps_take_their_part(peer: Peer) -> None:
    call = peer.opens_with_timestamps(1000, "mss 1000")
    call.write(1, 3001)
    assert sizes(peer) == [988, 988, 988, 36]


def test_maxseg(peer: Peer) -> None:
    """TCP_MAXSEG bounds what we announce and what we send."""
    peer.host.options.maxseg = 700
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 1401)
    assert sizes(peer) == [700, 700]


def test_no_mss_beyond_the_syn(peer: Peer) -> None:
    """MUST-65."""
    call = peer.opens()
    call.write(1, 11)
    (packet,) = peer.expect("P. 1:11 ack 1")
    assert packet[TCP].options == []


def test_illegal_and_unknown_options_are_passed_over(peer: Peer) -> None:
    """MUST-5 to MUST-7, MUST-64."""
    peer.opens()
    for number, raw in enumerate((b"\xfd\x04\x12\x34", b"\x08\x00\x01\x01", b"\x02\x28\x01\x01", b"\x05\x01\x01\x01")):
        at = 1 + 10 * number
        packet = peer.packet(f"P. {at}:{at + 10} ack 1")
        packet[TCP].options = [(0xFD, b"")]
        data = bytearray(bytes(packet))
        data[40:44] = raw
        again = IP(bytes(data))
        del again[TCP].chksum
        again[TCP].dataofs = 6
        peer.host.inject(bytes(again))
        peer.expect(f". 1 ack {at + 10}")


# ICMP


def complaint(peer: Peer, quoted: Packet, kind: int, code: int, mtu: int = 0) -> Packet:
    """A router's ICMP error about a packet of the host."""
    about = ICMP(type=kind, code=code, nexthopmtu=mtu) if mtu else ICMP(type=kind, code=code)
    return IP(src="10.0.0.99", dst=OURS[4]) / about / bytes(quoted)[:28]


SOFT = [(3, 0, errno.ENETUNREACH), (3, 1, errno.EHOSTUNREACH), (3, 5, errno.EOPNOTSUPP), (11, 0, errno.EHOSTUNREACH)]


@pytest.mark.parametrize(("kind", "code", "error"), SOFT)
def test_an_error_ends_an_open(peer: Peer, kind: int, code: int, error: int) -> None:
    call = peer.host.connect(peer.port)
    (syn,) = peer.expect("S 0")
    peer.host.inject(complaint(peer, syn, kind, code))
    assert call.error == error
    assert peer.state() == "CLOSED"


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 2), (3, 3), (3, 5), (11, 0), (11, 1), (12, 0), (4, 0)])
def test_no_error_ends_a_connection(peer: Peer, kind: int, code: int) -> None:
    """MUST-55, MUST-56; RFC 5461 and RFC 5927 section 5.2 for the hard ones, as Linux."""
    call = peer.opens()
    call.write(1, 11)
    (packet,) = peer.expect("P. 1:11 ack 1")
    peer.host.inject(complaint(peer, packet, kind, code))
    assert peer.state() == "ESTABLISHED"
    peer.send(". 1 ack 11")
    call.write(11, 21)
    peer.expect("P. 11:21 ack 1")


def test_the_error_is_told_when_the_connection_gives_up(make: MakePeer) -> None:
    peer = make(tcp_retries2=3)
    call = peer.opens()
    call.write(1, 11)
    (packet,) = peer.expect("P. 1:11 ack 1")
    peer.host.inject(complaint(peer, packet, 3, 1))
    peer.timeline(100 * SECOND)
    assert call.error == errno.EHOSTUNREACH


@pytest.mark.parametrize("offset", [-1000, 100_000, 1 << 31])
def test_an_error_about_nothing_in_flight_is_a_forgery(peer: Peer, offset: int) -> None:
    """RFC 5927 section 4.1."""
    call = peer.host.connect(peer.port)
    (syn,) = peer.expect("S 0")
    syn[TCP].seq = (syn[TCP].seq + offset) & 0xFFFFFFFF
    packet = complaint(peer, syn, 3, 1)
    assert peer.host.new_drops(lambda: peer.host.inject(packet)) == ["ICMP_OUT_OF_WINDOW"]
    assert call.error == 0
    assert peer.state() == "SYN_SENT"


def test_a_path_that_holds_less(peer: Peer) -> None:
    """SHLD-6: segments shrink at once, what was too big is sent again, cwnd stays."""
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 2921)
    packets = peer.expect(". 1:1461 ack 1", "P. 1461:2921 ack 1")
    cwnd = call.tcb.sender.cwnd()
    peer.host.inject(complaint(peer, packets[0], 3, 4, mtu=1000))
    assert sizes(peer)[:1] == [960]
    assert call.tcb.sender.cwnd() == pytest.approx(cwnd, rel=0.5)
    assert call.tcb.sender.path.mtu == 1000
    peer.send(". 1 ack 2921")
    call.write(2921, 4841)
    assert sizes(peer) == [960, 960]
    other = Peer(peer.host, 6000, 81)
    fresh = other.opens("mss 1460,nop,wscale 7")
    fresh.write(1, 2001)
    assert sizes(other)[0] == 960


def test_a_tiny_path_mtu_is_an_attack(peer: Peer) -> None:
    """Linux's ip_rt_min_pmtu = 552."""
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 1461)
    (packet,) = peer.expect("P. 1:1461 ack 1")
    peer.host.inject(complaint(peer, packet, 3, 4, mtu=68))
    assert sizes(peer)[0] == 512


def test_without_path_mtu_discovery(peer: Peer) -> None:
    peer.host.options.mtu_discover = PMTUDISC_DONT
    call = peer.opens("mss 1460,nop,wscale 7")
    call.write(1, 1461)
    (packet,) = peer.expect("P. 1:1461 ack 1")
    assert not packet.flags.DF
    peer.host.inject(complaint(peer, packet, 3, 4, mtu=1000))
    peer.expect()


def test_ipv6_packet_too_big(make: MakePeer) -> None:
    peer = make(family=6)
    call = peer.opens("mss 1440,nop,wscale 7")
    call.write(1, 1441)
    (packet,) = peer.expect("P. 1:1441 ack 1")
    error = IPv6(src=THEIRS[6], dst=OURS[6]) / ICMPv6PacketTooBig(mtu=1300) / bytes(packet)[:1200]
    peer.host.inject(error)
    assert sizes(peer) == [1240, 200]
