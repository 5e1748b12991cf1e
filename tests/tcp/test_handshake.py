"""How connections begin: the active and the passive open, what their SYNs say, how often they are resent."""

from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import TCP, IPOption

from tests.tcp.conftest import MakePeer
from tests.tcp.peer import SYN_OPTIONS, Peer
from tests.tcp.world import MS, SECOND, pattern
from ustack.drops import Drop

OUR_SYN = "S 0 win 64240 <mss 1460,sackOK,wscale 10>"
HOUR = 3600 * SECOND


# The active open


@pytest.mark.scenario("B1")
def test_the_three_way_handshake(peer: Peer) -> None:
    """B1: SYN, SYN-ACK, ACK; what each carries."""
    call = peer.host.connect(peer.port)
    assert peer.state() == "SYN_SENT"
    (syn,) = peer.expect(OUR_SYN)
    assert syn[TCP].ack == 0
    assert syn[TCP].urgptr == 0
    assert [name for name, _ in syn[TCP].options] == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]
    assert (syn.ttl, syn.flags.DF, syn.tos) == (64, True, 0)
    peer.send("S. 0 ack 1 <mss 1400,sackOK,wscale 7>")
    peer.expect(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"
    assert call.events() == ["ESTABLISHED", "WRITABLE"]
    assert peer.host.count("TcpActiveOpens") == 1
    assert peer.host.count("TcpCurrEstab") == 1
    assert peer.timeline(HOUR) == []


def test_text_written_before_the_handshake_ends_waits(peer: Peer) -> None:
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    assert call.write(1, 100) == 0
    assert not call.tcb.writable()
    peer.send("S. 0 ack 1")
    peer.expect(". 1 ack 1")
    assert call.tcb.writable()


@pytest.mark.parametrize(
    ("linear", "instants"),
    [
        (4, [1, 2, 3, 4, 5, 7, 11, 19, 35, 67]),
        (0, [1, 3, 7, 15, 31, 63]),
    ],
)
@pytest.mark.scenario("B3")
def test_a_syn_that_nobody_answers(make: MakePeer, linear: int, instants: list[int]) -> None:
    """B3: the same SYN again, the first ones each second (Linux 6.5), then doubling; then ETIMEDOUT."""
    peer = make(tcp_syn_linear_timeouts=linear)
    call = peer.host.connect(peer.port)
    peer.expect(OUR_SYN)
    assert peer.timeline(HOUR) == [(at, "S 0") for at in instants]
    assert (peer.state(), call.error) == ("CLOSED", errno.ETIMEDOUT)
    assert call.events()[-2:] == ["TIMED_OUT", "CLOSED"]
    assert call.tcb.state_since - call.tcb.created_at == (131 if linear else 127) * SECOND
    assert peer.host.stack.next_deadline() is None


def test_fewer_syns_by_option(peer: Peer) -> None:
    peer.host.options.syncnt = 1
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    assert [at for at, _ in peer.timeline(HOUR)] == [1, 2, 3, 4, 5]
    assert call.error == errno.ETIMEDOUT


@pytest.mark.scenario("B10")
def test_nobody_listens_there(peer: Peer) -> None:
    """B10."""
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send("R. 0 ack 1")
    peer.expect()
    assert (peer.state(), call.error) == ("CLOSED", errno.ECONNREFUSED)
    assert call.events() == ["RESET", "CLOSED"]
    assert peer.host.count("TcpAttemptFails") == 1


def test_a_syn_ack_of_another_time_is_reset_and_the_open_goes_on(peer: Peer) -> None:
    """A half-open peer (RFC 9293 figure 10): its ACK gets a RST, and our SYN comes again at once."""
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send(". 300 ack 100")
    peer.expect("R 100")
    assert peer.timeline(10 * MS) == [(0.002, "S 0")]
    peer.send("S. 0 ack 1")
    peer.expect(". 1 ack 1")
    assert call.error == 0


@pytest.mark.scenario("B5")
def test_a_lost_third_ack_is_sent_when_the_syn_ack_comes_again(peer: Peer) -> None:
    """B5: an ACK is never resent by itself."""
    peer.is_opened()
    assert peer.timeline(SECOND) == []
    assert peer.refused(f"S. 0 ack 1 <{SYN_OPTIONS}>") == ["SYN_CHALLENGED"]
    peer.expect(". 1 ack 1")


def test_text_and_fin_of_a_syn_ack_are_dropped(peer: Peer) -> None:
    """As Linux, where no Fast Open was asked for: they come again. RFC 9293 section 3.10.7.3 would take them."""
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    packet = peer.packet("SF. 0 ack 1 <mss 1460>")
    assert peer.host.new_drops(lambda: peer.host.inject(packet / pattern(1, 11))) == ["SYN_ACK_TEXT"]
    peer.expect(". 1 ack 1")
    peer.send("FP. 1:11 ack 1")
    peer.host.advance(40 * MS)
    peer.expect(". 1 ack 12")
    assert peer.state() == "CLOSE_WAIT"
    assert call.read(100) == pattern(1, 11)
    assert call.tcb.at_eof()


@pytest.mark.scenario("B11")
def test_both_open_at_once(peer: Peer) -> None:
    """B11, MUST-10: one connection."""
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    assert peer.state() == "SYN_RECEIVED"
    peer.send("S. 0 ack 1")
    peer.expect(". 1 ack 1 <sack 0:1>")
    assert peer.state() == "ESTABLISHED"
    call.write(1, 11)
    peer.expect("P. 1:11 ack 1")
    peer.send("P. 1:21 ack 11")
    peer.expect(". 11 ack 21")
    assert call.read(100) == pattern(1, 21)


def test_a_simultaneous_open_that_nobody_completes(peer: Peer) -> None:
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    said = peer.timeline(HOUR)
    assert {line for _, line in said} == {"S. 0 ack 1"}
    assert len(said) >= 6
    assert call.error == errno.ETIMEDOUT


def test_close_before_the_syn_is_answered(peer: Peer) -> None:
    call = peer.host.connect(peer.port)
    peer.expect("S 0")
    call.close()
    assert peer.state() == "CLOSED"
    peer.send("S. 0 ack 1")
    peer.expect("R 1")
    assert peer.timeline(HOUR) == []


# The passive open


def test_what_the_syn_ack_says(peer: Peer) -> None:
    listener = peer.host.listen(80)
    peer.send("S 0 win 1000 <mss 1400,sackOK,nop,wscale 7>")
    (answer,) = peer.expect("S. 0 ack 1 win 64240 <mss 1460,sackOK,wscale 10>")
    assert "Timestamp" not in dict(answer[TCP].options)
    assert peer.state() == "SYN_RECEIVED"
    peer.send(". 1 ack 1")
    assert peer.state() == "ESTABLISHED"
    assert peer.host.count("TcpPassiveOpens") == 1
    call = peer.host.accept(listener)
    assert call is not None
    assert call.tcb.agreed.snd_wscale == 7


def test_an_option_that_was_not_offered_is_not_in_the_answer(peer: Peer) -> None:
    peer.host.listen(80)
    peer.send("S 0")
    peer.expect("S. 0 ack 1 win 64240 <mss 1460>")
    peer.ts = 77
    peer.port = 5001
    peer.send("S 0 <mss 1460>")
    (answer,) = peer.expect("S. 0 ack 1 <mss 1460>")
    assert dict(answer[TCP].options)["Timestamp"][1] == 77


def test_settings_switch_options_off(make: MakePeer) -> None:
    peer = make(tcp_timestamps=0, tcp_sack=0, tcp_window_scaling=0)
    peer.host.connect(peer.port)
    (syn,) = peer.expect("S 0 <mss 1460>")
    assert dict(syn[TCP].options) == {"MSS": 1460}
    other = Peer(peer.host, 6000, 81)
    peer.host.listen(81)
    other.ts = 5
    other.send(f"S 0 <{SYN_OPTIONS}>")
    (answer,) = other.expect("S. 0 ack 1 <mss 1460>")
    assert dict(answer[TCP].options) == {"MSS": 1460}


@pytest.mark.scenario("B1")
def test_the_third_segment_may_carry_text(either: Peer) -> None:
    listener = either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1")
    either.send("P. 1:11 ack 1")
    either.expect(". 1 ack 11")
    call = either.host.accept(listener)
    assert call is not None
    assert call.read(100) == pattern(1, 11)


@pytest.mark.scenario("B4")
def test_a_syn_ack_that_nobody_answers(peer: Peer) -> None:
    """B4: resent after 1, 2, 4, 8, 16 s, the request gone at 63 s."""
    peer.host.listen(80)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    assert peer.timeline(63 * SECOND - 1) == [(at, "S. 0 ack 1") for at in (1, 3, 7, 15, 31)]
    assert peer.state() == "SYN_RECEIVED"
    assert peer.timeline(1) == []
    assert peer.state() == "LISTEN"
    assert peer.host.stack.next_deadline() is None


@pytest.mark.scenario("B5")
def test_first_data_completes_the_handshake_after_resends(peer: Peer) -> None:
    listener = peer.host.listen(80)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")
    assert peer.timeline(5 * SECOND) == [(1, "S. 0 ack 1"), (3, "S. 0 ack 1")]
    peer.send("P. 1:101 ack 1")
    peer.expect(". 1 ack 101")
    assert peer.host.accept(listener) is not None
    assert peer.timeline(100 * SECOND) == []


def test_a_syn_again_is_answered_with_the_same_syn_ack(either: Peer) -> None:
    either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1 win 64240 <mss 1460,sackOK,wscale 10>")
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1 win 64240 <mss 1460,sackOK,wscale 10>")


@pytest.mark.scenario("B2")
def test_an_old_syn_first(either: Peer) -> None:
    """B2: the RST of the confused client lets its new SYN win."""
    either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1")
    either.send("R 1")
    assert either.state() == "LISTEN"
    either.send(f"S 90000 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 90001")
    either.send(". 90001 ack 1")
    assert either.state() == "ESTABLISHED"


def test_a_wrong_third_ack_is_reset_and_the_request_stays(either: Peer) -> None:
    either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    either.expect("S. 0 ack 1")
    either.send(". 1 ack 77")
    either.expect("R 77")
    assert either.state() == "SYN_RECEIVED"


@pytest.mark.rfc9293("MUST-50")
def test_ip_options_that_tcp_does_not_understand_change_nothing(either: Peer) -> None:
    """An experiment of RFC 4727 in every packet: with SYN, ACK and text."""
    experiment = [IPOption(b"\x9e\x04\xab\xcd")]
    listener = either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>", options=experiment)
    (answer,) = either.expect("S. 0 ack 1")
    assert answer.ihl == 5
    either.send(". 1 ack 1", "P. 1:11 ack 1", options=experiment)
    either.expect(". 1 ack 11")
    call = either.host.accept(listener)
    assert call is not None
    assert call.read(100) == pattern(1, 11)


@pytest.mark.rfc9293("MUST-68")
def test_every_option_but_nop_and_end_has_its_length(either: Peer) -> None:
    """Read by hand from what is sent: SYN-ACK, ACKs with SACK blocks, text; nothing is left over."""
    lengths = {2: {4}, 3: {3}, 4: {2}, 5: {10, 18, 26, 34}, 8: {10}}
    either.ts = 1000
    listener = either.host.listen(either.our_port)
    either.send(f"S 0 <{SYN_OPTIONS}>")
    packets = either.expect("S. 0 ack 1")
    either.send(". 1 ack 1")
    call = either.host.accept(listener)
    assert call is not None
    either.send("P. 101:201 ack 1")
    packets += either.expect(". 1 ack 1 <sack 101:201>")
    either.send("P. 301:401 ack 1")
    packets += either.expect(". 1 ack 1 <sack 301:401 101:201>")
    call.write(1, 11)
    packets += either.heard()
    seen = set()
    for packet in packets:
        header = bytes(packet[TCP])
        area = header[20 : header[12] >> 4 << 2]
        while area:
            kind = area[0]
            if kind == 0:
                assert not any(area)  # the end, padded with zeros
                break
            if kind != 1:
                assert area[1] in lengths[kind]
                assert len(area) >= area[1]
            seen.add(kind)
            area = area[1 if kind == 1 else area[1] :]
    assert seen == {1, 2, 3, 4, 5, 8}


def test_thousands_of_connections_on_one_port(peer: Peer) -> None:
    """A3: the four-tuple names a connection."""
    listener = peer.host.listen(80, backlog=4096)
    peers = [Peer(peer.host, port) for port in range(10000, 10300)]
    for one in peers:
        one.send("S 0 <mss 1460>")
        one.expect("S. 0 ack 1")
    for one in peers:
        one.send(". 1 ack 1")
    assert len({one.iss for one in peers}) == 300
    assert {one.state() for one in peers} == {"ESTABLISHED"}
    calls = [peer.host.accept(listener) for _ in peers]
    assert all(calls)
    assert peer.host.accept(listener) is None


def test_every_connection_has_its_own_timestamp_offset(peer: Peer) -> None:
    """RFC 7323 section 5.4: one clock for each pair of addresses, and not the host's uptime."""
    values = []
    for port in (5000, 5001):
        one = Peer(peer.host, port)
        peer.host.connect(port, port)
        one.our_port = port
        (syn,) = one.expect("S 0")
        values.append(dict(syn[TCP].options)["Timestamp"][0])
    assert values[0] == values[1] != peer.host.now // MS


@pytest.mark.scenario("B10")
def test_an_unlistened_port_is_reset(peer: Peer) -> None:
    assert peer.refused("S 0") == [Drop.NO_SOCKET.name]
    peer.expect("R. zero ack 1")
    assert peer.host.count("TcpOutRsts") == 1
