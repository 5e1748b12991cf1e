"""TIME-WAIT (RFC 9293 section 3.6.1, RFC 6191, RFC 1337; scenarios C5 to C8, C14)."""

from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import TCP

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import SYN_OPTIONS, Peer
from tests.tcp.world import MS, OURS, SECOND, THEIRS, Call
from ustack.sockopts import SocketOptions
from ustack.wire.address import parse_address


def into_time_wait(peer: Peer, ts: int | None = None) -> None:
    """The host has closed first: it has sent 1..2, received 1..2."""
    peer.ts = ts
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send("F. 1 ack 2")
    peer.expect(". 2 ack 2")
    assert peer.state() == "TIME_WAIT"


def lasts(peer: Peer) -> float:
    """Seconds until it is gone."""
    begin = peer.host.now
    while peer.state() == "TIME_WAIT":
        deadline = peer.host.stack.next_deadline()
        assert deadline is not None
        assert peer.timeline(deadline - peer.host.now) == []
    return (peer.host.now - begin) / SECOND


def test_it_lasts_a_minute(peer: Peer) -> None:
    into_time_wait(peer)
    assert lasts(peer) == 60


@pytest.mark.scenario("C5")
def test_a_fin_again_is_answered_and_starts_it_anew(peer: Peer) -> None:
    """C5."""
    into_time_wait(peer)
    peer.host.advance(50 * SECOND)
    assert peer.refused("F. 1 ack 2") == []  # it is what TIME-WAIT is for
    peer.expect(". 2 ack 2")
    assert lasts(peer) == 60


def test_an_ack_in_order_starts_it_anew_without_an_answer(peer: Peer) -> None:
    into_time_wait(peer)
    peer.host.advance(50 * SECOND)
    peer.send(". 2 ack 2")
    peer.expect()
    assert lasts(peer) == 60


@pytest.mark.scenario("C6")
def test_old_text_is_answered(either: Peer) -> None:
    """C6: a delayed segment of the old connection."""
    into_time_wait(either)
    either.send("P. 1:101 ack 2")
    either.expect(". 2 ack 2")
    assert either.state() == "TIME_WAIT"


def test_answers_without_text_are_rationed(peer: Peer) -> None:
    into_time_wait(peer)
    peer.send(". 500000 ack 2", ". 500000 ack 2")
    peer.expect(". 2 ack 2")
    assert peer.host.count("TCPACKSkippedTimeWait") == 1
    peer.host.advance(500 * MS)
    peer.send(". 500000 ack 2")
    peer.expect(". 2 ack 2")


@pytest.mark.parametrize(("line", "dies"), [("R 2", True), ("R. 2 ack 2", True), ("R 3", False), ("R 1", False)])
def test_a_reset_kills_it_with_the_exact_number(either: Peer, line: str, dies: bool) -> None:
    into_time_wait(either)
    either.send(line)
    either.expect()
    assert either.state() == ("LISTEN" if dies else "TIME_WAIT")


def test_rfc_1337_keeps_it_alive(make: MakePeer) -> None:
    peer = make(tcp_rfc1337=1)
    into_time_wait(peer)
    peer.host.advance(10 * SECOND)
    peer.send("R 2")
    peer.expect()
    assert lasts(peer) == 50


# C14: a SYN


@pytest.mark.parametrize("start", [3, 100, 1 << 30])
@pytest.mark.scenario("C14")
def test_a_syn_with_a_newer_number_opens_a_new_connection(either: Peer, start: int) -> None:
    into_time_wait(either)
    before = either.iss
    either.isn = (either.isn + start) & 0xFFFFFFFF
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1")
    assert either.iss == (before + 2 + 65537) & 0xFFFFFFFF  # RFC 6191: beyond all that the old one sent
    either.send(". 1 ack 1")
    assert either.state() == "ESTABLISHED"


@pytest.mark.parametrize("start", [2, 1, 0, -1000])
@pytest.mark.scenario("C14")
def test_a_syn_with_an_old_number_is_answered_with_the_last_ack(either: Peer, start: int) -> None:
    into_time_wait(either)
    either.send(f"S {start} <{SYN_OPTIONS}>")
    either.expect(". 2 ack 2")
    assert either.state() == "TIME_WAIT"


def test_the_last_ack_lets_a_confused_client_clean_up(either: Peer) -> None:
    """The client answers our ACK with RST (RFC 9293 figure 10), and its next SYN opens."""
    into_time_wait(either)
    either.send(f"S -5000 <{SYN_OPTIONS}>")
    either.expect(". 2 ack 2")
    either.send("R 2")
    either.send(f"S -5000 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack -4999")


@pytest.mark.scenario("C14")
def test_a_newer_timestamp_opens_even_with_an_old_number(either: Peer) -> None:
    """SHLD-4, RFC 6191."""
    into_time_wait(either, ts=1000)
    either.ts = 1001
    either.isn -= 500000
    either.ts_ecr = 0
    either.send("S 0 <mss 1460>")
    either.expect("S. 0 ack 1")


def test_an_old_timestamp_is_refused_even_with_a_newer_number(peer: Peer) -> None:
    into_time_wait(peer, ts=1000)
    peer.ts = 999
    peer.send("S 100000 <mss 1460>")
    peer.expect(". 2 ack 2")
    assert peer.host.count("PAWSEstab") == 1


def test_a_syn_when_nobody_listens_any_more(peer: Peer) -> None:
    into_time_wait(peer)
    for listener in list(peer.host.stack.tcp.listeners[80]):
        listener.close(peer.host.now)
    peer.send("S 100000")
    said = [peer.words(packet) for packet in peer.heard()]
    assert said in ([". 2 ack 2"], ["R. zero ack 100001"])


# C7, C8: connecting over it


def connect_out(peer: Peer) -> Call:
    return peer.host.connect(peer.port, peer.our_port)


def out_and_into_time_wait(peer: Peer, ts: int | None) -> None:
    peer.ts = ts
    call = peer.is_opened()
    call.close()
    peer.expect("F. 1 ack 1")
    peer.send("F. 1 ack 2")
    peer.expect(". 2 ack 2")
    assert peer.state() == "TIME_WAIT"


@pytest.mark.scenario("C7")
def test_reuse_after_a_second_with_timestamps(make: MakePeer) -> None:
    peer = make(tcp_tw_reuse=1)
    out_and_into_time_wait(peer, ts=1000)
    peer.host.advance(SECOND)
    with pytest.raises(OSError, match="address") as caught:
        connect_out(peer)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    peer.host.advance(1)
    before = peer.iss
    connect_out(peer)
    (syn,) = peer.expect("S 0")
    assert peer.iss == (before + 2 + 65537) & 0xFFFFFFFF
    assert dict(syn[TCP].options)["Timestamp"][1] == 1000  # the old connection's, as Linux
    assert peer.host.count("TCPTimeWaitReused") == 1


@pytest.mark.parametrize(("reuse", "ts"), [(0, 1000), (2, 1000), (1, None)])
@pytest.mark.scenario("C7")
def test_no_reuse(make: MakePeer, reuse: int, ts: int | None) -> None:
    peer = make(tcp_tw_reuse=reuse)
    out_and_into_time_wait(peer, ts)
    peer.host.advance(30 * SECOND)
    with pytest.raises(OSError, match="address"):
        connect_out(peer)


@pytest.mark.scenario("C7")
def test_an_old_reset_gets_into_the_connection_that_took_the_port(make: MakePeer) -> None:
    """RST is exempt from PAWS (RFC 7323 section 5.2): with the old connection's timestamp text is refused, a RST is
    believed, if the peer's new numbers happen to lie where the old ones ended."""
    peer = make(tcp_tw_reuse=1)
    out_and_into_time_wait(peer, ts=1000)
    peer.host.advance(SECOND + 1)
    call = connect_out(peer)
    peer.expect("S 0")
    peer.isn += 1  # the old connection ended at 2, the new one is there now
    peer.ts = 5000
    peer.send(f"S. 0 ack 1 <{SYN_OPTIONS}>")
    peer.expect(". 1 ack 1")
    peer.ts = 1000
    assert peer.refused("P. 1:11 ack 1") == ["PAWS"]
    peer.expect(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"
    peer.send("R 1")
    assert (peer.state(), call.error) == ("CLOSED", errno.ECONNRESET)


@pytest.mark.scenario("C8")
def test_too_many_are_skipped(make: MakePeer) -> None:
    """C8: tcp_max_tw_buckets."""
    peer = make(tcp_max_tw_buckets=2)
    peers = [Peer(peer.host, 6000 + number, 81 + number) for number in range(4)]
    for one in peers:
        one.opens().close()
        one.expect("F. 1 ack 1")
        one.send("F. 1 ack 2")
        one.expect(". 2 ack 2")
    assert [one.state() for one in peers] == ["TIME_WAIT", "TIME_WAIT", "LISTEN", "LISTEN"]
    assert peer.host.count("TCPTimeWaitOverflow") == 2


def test_no_time_wait_at_all(make: MakePeer) -> None:
    peer = make(tcp_timewait_length=0)
    peer.opens().close()
    peer.expect("F. 1 ack 1")
    peer.send("F. 1 ack 2")
    peer.expect(". 2 ack 2")
    assert peer.state() == "LISTEN"


# B12


@pytest.mark.scenario("B12")
def test_ephemeral_ports_run_out(make: MakePeer) -> None:
    peer = make(ip_local_port_range=(40000, 40009))
    stack = peer.host.stack
    ours, theirs = parse_address(OURS[4]), parse_address(THEIRS[4])

    def connect(remote_port: int) -> int:
        return stack.connect(ours, 0, theirs, remote_port, SocketOptions(), peer.host.now).flow.local_port

    assert {connect(80) for _ in range(10)} == set(range(40000, 40010))
    with pytest.raises(OSError, match="address") as caught:
        connect(80)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert 40000 <= connect(81) <= 40009
    peer.host.flush()
    peer.host.outbox.clear()
