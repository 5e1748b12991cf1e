"""What the fuzzers found, each as short as it can be told."""

from __future__ import annotations

import pytest

from tools.fuzz.flows import CONNECT_PORT, LISTEN_PORT, Flow, Forged
from tools.fuzz.honest import Case, Manners, Play
from tools.fuzz.hostile import Operation, Setup, World
from ustack.device.impairment import Impairment
from ustack.units import SECOND
from ustack.wire.tcp import ACK, FIN, SYN

MS = 1_000_000
PEER = Flow(4, 1000, LISTEN_PORT)
CALLED = Flow(4, CONNECT_PORT, 40001)
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07"


def segments(flow: Flow, *forged: Forged) -> Operation:
    return ("segments", *((flow, one) for one in forged))


def opened(flow: Flow = PEER, options: bytes = b"", ts: tuple[int, int] | None = None) -> list[Operation]:
    """The flow's peer connects, and the application accepts."""
    return [
        segments(flow, Forged(SYN, options=options, ts=ts)),
        segments(flow, Forged(ACK, 1, 1, ts=ts)),
        ("accept",),
    ]


def play(tape: list[Operation], setup: Setup | None = None) -> World:
    """Every invariant holds after every step, and at the end nothing is left."""
    world = World(setup or Setup())
    world.run(tape)
    return world


@pytest.mark.parametrize("start", [1002, 1500, 5001])
def test_text_beyond_a_fin_that_came_out_of_order(start: int) -> None:
    """It raised ValueError out of on_frames: one packet of any peer stopped the stack."""
    play(
        [
            *opened(),
            segments(PEER, Forged(ACK | FIN, 2, 1, length=1000)),
            segments(PEER, Forged(ACK, start, 1, length=1000)),
        ]
    )


def test_an_application_that_closes_after_time_wait_began_does_not_begin_it_anew() -> None:
    """Each active close that read to the end first lost its port for good, and counted an orphan for ever."""
    world = World(Setup())
    for operation in [*opened(), ("shutdown", 0, 1), segments(PEER, Forged(ACK | FIN, 1, 2)), ("wait", 30 * SECOND)]:
        world.do(operation)
    assert len(world.stack.tcp.time_waits) == 1
    world.do(("close", 0))
    assert world.stack.host.orphans == 0
    assert list(world.stack.ports.users.values()) == [1]
    world.do(("wait", 31 * SECOND))
    assert not world.stack.tcp.time_waits
    world.finish()


def test_an_old_connection_closed_late_does_not_disturb_the_new_one_of_its_name() -> None:
    tape = [*opened(), ("shutdown", 0, 1), segments(PEER, Forged(ACK | FIN, 1, 2)), ("wait", 61 * SECOND), *opened()]
    world = World(Setup())
    for operation in [*tape, ("close", 0)]:
        world.do(operation)
    assert len(world.stack.tcp.connections) == 1
    assert not world.stack.tcp.time_waits
    world.finish()


@pytest.mark.parametrize("value", [True, False])
def test_so_reuseaddr_set_on_a_connection_loses_no_port(value: bool) -> None:
    options = (("reuseaddr", not value),)
    play([("connect", 4, CONNECT_PORT, 40001, options), ("set", 0, "reuseaddr", value), ("abort", 0)])


def test_an_aborted_connection_was_no_orphan() -> None:
    world = World(Setup())
    for operation in [*opened(), *opened(Flow(4, 1001, LISTEN_PORT)), ("close", 0), ("abort", 0)]:
        world.do(operation)
    assert world.stack.host.orphans == 1
    world.finish()


@pytest.mark.parametrize("ts", [None, (1, 0)])
@pytest.mark.parametrize("gaps", [1, 2, 3, 4, 5])
def test_sack_blocks_leave_room_for_themselves(ts: tuple[int, int] | None, gaps: int) -> None:
    """A full segment with SACK blocks was longer than the MTU: text both ways and one loss."""
    beyond = [Forged(ACK, 2000 * number, 1, length=1000, ts=ts) for number in range(1, gaps + 1)]
    play([*opened(options=SYN_OPTIONS, ts=ts), segments(PEER, *beyond), ("write", 0, 8000)])


@pytest.mark.parametrize("timestamps", [0, 1])
def test_bbr_knows_the_mss(timestamps: int) -> None:
    """Its quantum was two segments of 536 bytes, none ever left: one probe after the other, hours apart."""
    settings = (("tcp_timestamps", timestamps), ("tcp_congestion_control", "bbr"))
    link = Impairment(delay=50 * MS, rate=5_000_000)
    manners = Manners(length=1), Manners(length=300_000, write_size=2001)
    play = Play(Case("clean", link, link, (settings, settings), manners))
    play.run()
    assert play.took < 5 * SECOND


def test_a_cookie_measures_no_round_trip() -> None:
    """The third ACK counted as an answer at once: RTO 200 ms on a path of 300 ms, everything was sent twice."""
    link = Impairment(delay=150 * MS)
    manners = Manners(length=1), Manners(length=20_000)
    Play(Case("clean", link, link, ((), (("tcp_syncookies", 2),)), manners)).run()


@pytest.mark.parametrize("start", [0, SECOND, 119 * SECOND, 1 << 61])
def test_a_guessed_cookie_at_any_time_of_the_clock(start: int) -> None:
    """In the first two minutes of the clock (CLOCK_MONOTONIC begins at boot) a bare ACK raised OverflowError."""
    guesses = [segments(PEER, Forged(ACK, 1, ack=guess << 24)) for guess in range(256)]
    play(guesses, Setup((("tcp_syncookies", 2),), start=start))


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 6, 884754037])
def test_without_sack_one_loss_is_one_recovery(seed: int) -> None:
    """Duplicate ACKs of needless resends began the next recovery, and a growing window made duplicates look like news:

    37 recoveries and 11 timeouts for 18 segments lost."""
    link = Impairment(delay=50 * MS, rate=5_000_000, loss=0.03, seed=seed + 1)
    back = Impairment(delay=50 * MS, seed=seed)
    settings = ((("tcp_sack", 0),), ())
    play = Play(Case("lossy", link, back, settings, (Manners(length=600_000), Manners(length=1))))
    play.run()
    sender = play.hosts[0].stack.counters
    assert sender["TCPRenoRecovery"] + sender["TCPTimeouts"] <= play.network.lost_packets
    window = 100  # segments: a timeout without SACK sends again all that was out (RFC 6582 section 4)
    assert sender["TcpRetransSegs"] <= 2 * play.network.lost_packets + window * sender["TCPTimeouts"]


def test_keepalive_leaves_no_trail_in_the_heap_of_deadlines() -> None:
    """Every exchange left an entry for two hours later: memory for each request, and dead connections kept alive."""
    link = Impairment(delay=5 * MS)
    chatty = Manners(length=500, write_size=1, think=300 * MS, options=(("keepalive", True),))
    play = Play(Case("clean", link, link, manners=(chatty, chatty)))
    play.run()
    for host in play.hosts:
        assert host.stack.next_deadline() is None


@pytest.mark.parametrize("first", ["peer", "timer"])
def test_a_syn_that_waits_for_text_when_the_peer_s_comes(first: str) -> None:
    """TCP_FASTOPEN_CONNECT: the peer's SYN was answered, then the first write sent a second SYN amid the connection."""
    options = (("fastopen_connect", True), ("fastopen_no_cookie", True))
    world = World(Setup())
    world.do(("connect", 4, CONNECT_PORT, 40001, options))
    wrong = 0 if first == "peer" else 5
    if wrong:
        world.do(segments(CALLED, Forged(ACK, 1, wrong)))
        world.do(("wait", SECOND))
        assert world.segments_sent == 1  # the RST: a SYN that waits for text is not sent by a wrong ACK
    world.do(segments(CALLED, Forged(SYN, options=SYN_OPTIONS)))
    world.do(("open_with", 0, 100))
    world.do(segments(CALLED, Forged(ACK, 1, 1, length=10)))
    world.do(("write", 0, 100, False))
    connection = world.held[0]
    assert not connection.waits_for_write()
    assert connection.sender.totals.bytes_sent == 100
    world.finish()
