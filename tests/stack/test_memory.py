"""Memory of a whole stack: tcp_mem, and what happens when there is none (Linux's tcp_mem, tcp_try_rmem_schedule)."""

from __future__ import annotations

import errno
import sys
from types import FrameType
from typing import Any

import pytest

from tools.bench.subjects.hostile_work import MS, OURS, SYN_OPTIONS, THEIRS, Target, established, fragment, tcp
from ustack import native
from ustack.drops import Drop
from ustack.hoststate import MOST_WAITING
from ustack.memory import PAGE
from ustack.ring import RingMaker
from ustack.sockopts import SocketOptions
from ustack.stack.listing import sockstat
from ustack.tcp.connection.connection import Connection
from ustack.tcp.state import State
from ustack.wire.frame import Transmit
from ustack.wire.tcp import ACK, FIN, PSH, SYN

MAKERS = pytest.mark.parametrize("maker", [RingMaker, native.NativeRings], ids=["python", "native"])
TEXT = bytes(range(250)) * 4


def speaks(target: Target, connection: Connection, port: int, start: int, count: int = 1, flags: int = ACK) -> None:
    """The peer sends ``count`` segments of 1000 bytes from byte ``start`` of its stream on."""
    for n in range(count):
        at = start + 1000 * n
        target.say(tcp(port, 1 + at, connection.sender.iss + 1, flags, b"", TEXT))


@MAKERS
def test_unread_text_of_many_connections_stays_below_the_limit(maker: type[RingMaker]) -> None:
    target = Target(rings=maker(), tcp_mem=(50, 75, 100))
    memory = target.stack.host.memory
    most = 0
    for number in range(60):
        port = 5000 + number
        target.say(tcp(port, 0, 0, SYN, SYN_OPTIONS))
        iss = target.sent[-1].seq
        target.say(tcp(port, 1, iss + 1, ACK))
        for n in range(20):
            target.say(tcp(port, 1 + 1000 * n, iss + 1, ACK, b"", TEXT))
            most = max(most, memory.pages())
    assert 75 < most <= 100
    counters = target.stack.counters
    assert counters["TCPMemoryPressures"] >= 1
    assert counters["TCPRcvQDrop"] == counters["RcvPruned"] > 0
    assert counters["TCPRcvQDrop"] + counters["TCPOFODrop"] == counters.dropped(Drop.NO_MEMORY)
    assert any(transmit.window == 0 for transmit in target.sent)
    assert f"mem {memory.pages()}\n" in sockstat(target.stack.tcp, target.stack.udp, target.stack.ip)
    assert memory.under_pressure
    while (connection := target.listener.accept(target.now)) is not None:
        while connection.read(1 << 20, target.now):
            pass
        connection.abort(target.now)
    del connection
    target.take([])
    target.take([])
    assert memory.used() == 0
    assert not memory.under_pressure


@MAKERS
def test_who_is_refused_goes_on_when_there_is_memory_again(maker: type[RingMaker]) -> None:
    target = Target(rings=maker(), tcp_mem=(10, 10, 10))
    first, second = established(target, 5000), established(target, 5001)
    speaks(target, first, 5000, 0, 40)
    assert first.unread() == 32_000
    assert any(transmit.window == 0 for transmit in target.sent)
    speaks(target, second, 5001, 0)
    speaks(target, second, 5001, 0)
    speaks(target, second, 5001, 1000, 10)
    assert second.unread() <= 8000
    assert target.stack.host.memory.pages() <= 10
    assert first.read(1 << 20, target.now) == TEXT * 32
    first.receiver.receive_ring.trim()
    target.say(tcp(5001, 1 + second.unread(), second.sender.iss + 1, ACK, b"", b""))
    speaks(target, second, 5001, second.unread(), 3)
    speaks(target, second, 5001, second.unread(), 3)
    assert second.unread() >= 4000
    assert second.read(1 << 20, target.now)[:4000] == TEXT * 4


@MAKERS
def test_text_out_of_order_makes_room_for_text_in_order(maker: type[RingMaker]) -> None:
    """tcp_prune_ofo_queue: OfoPruned; the SACK blocks of what was given up are gone."""
    target = Target(rings=maker(), tcp_mem=(8, 8, 8))
    connection = established(target)
    speaks(target, connection, 5000, 14_000)
    assert connection.receiver.receive_ring.has_gap()
    other = established(target, 5001)
    speaks(target, other, 5001, 0, 12)
    before = target.stack.counters["OfoPruned"]
    speaks(target, connection, 5000, 0, 4)
    speaks(target, connection, 5000, 4000, 13)
    counters = target.stack.counters
    assert counters["OfoPruned"] == before or not connection.receiver.receive_ring.has_gap()
    assert target.stack.host.memory.pages() <= 8
    assert connection.read(1 << 20, target.now)[:4000] == TEXT * 4


@MAKERS
def test_text_out_of_order_is_refused_without_memory(maker: type[RingMaker]) -> None:
    target = Target(rings=maker(), tcp_mem=(2, 2, 2))
    connection = established(target)
    speaks(target, connection, 5000, 14_000)
    assert not connection.receiver.receive_ring.has_gap()
    assert target.stack.counters["TCPOFODrop"] == 1
    assert target.stack.counters.dropped(Drop.NO_MEMORY) == 1
    speaks(target, connection, 5000, 0)
    assert connection.read(2000, target.now) == TEXT


@MAKERS
def test_a_writer_without_memory_waits_for_his_own_acks(maker: type[RingMaker]) -> None:
    target = Target(rings=maker(), tcp_mem=(2, 2, 2))
    writers = [established(target, 5000 + n) for n in range(4)]
    for connection in writers:
        assert connection.write(TEXT * 10, target.now) in (4096, 8192)
        assert connection.write(TEXT * 10, target.now) == 0  # no error: what is in flight wakes the writer
        assert connection.sender.buffer.writer_waits
    target.flush()
    connection = writers[0]
    target.say(tcp(5000, 1, connection.sender.snd_nxt, ACK))
    assert connection.write(TEXT * 10, target.now) > 0


def test_a_writer_without_any_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    connection = established(target)
    target.stack.host.memory.spend(0)
    with pytest.raises(OSError, match="No buffer space") as caught:
        connection.write(TEXT, target.now)
    assert caught.value.errno == errno.ENOBUFS
    target.stack.host.memory.spend(-1)
    assert connection.write(TEXT, target.now) == 1000


@MAKERS
def test_windows_and_buffers_do_not_grow_under_pressure(maker: type[RingMaker]) -> None:
    """tcp_grow_window, tcp_should_expand_sndbuf."""
    target = Target(rings=maker(), tcp_mem=(1, 2, 1000))
    hoarder = established(target, 6000)
    speaks(target, hoarder, 6000, 0, 10)
    target.take([])
    assert target.stack.host.memory.under_pressure
    connection = established(target)
    window = connection.receiver.rcv_ssthresh
    capacity = connection.sender.send_ring.capacity
    speaks(target, connection, 5000, 0, 3)
    assert connection.receiver.rcv_ssthresh <= window
    connection.write(TEXT, target.now)
    target.flush()
    target.say(tcp(5000, 3001, connection.sender.snd_nxt, ACK))
    assert connection.sender.send_ring.capacity == capacity


@pytest.mark.parametrize("budget", range(12))
@MAKERS
def test_every_allocation_of_a_ring_may_fail(maker: type[RingMaker], budget: int) -> None:
    """The first ``budget`` succeed. Nothing raises; when there is memory again, the streams are whole."""
    target = Target(rings=maker())
    connection, other = established(target, 5000), established(target, 5001)
    target.stack.host.memory.spend(budget)
    for start in (2000, 9000, 30_000, 50_000, 0, 1000, 3000, 4000):
        speaks(target, connection, 5000, start)
        speaks(target, other, 5001, start)
    for n in range(30):
        speaks(target, connection, 5000, 21 + 2000 * n)
    refused = target.stack.counters.dropped(Drop.NO_MEMORY)
    assert refused > 0 or budget > 5
    target.stack.host.memory.spend(-1)
    data = b""
    for start in range(0, 60_000, 1000):
        speaks(target, connection, 5000, start)
        data += connection.read(1 << 20, target.now)
        if start > len(data):
            speaks(target, connection, 5000, start - start % 1000)
    assert data[:1000] == TEXT


def test_replies_that_a_blocked_device_does_not_take_are_bounded() -> None:
    target = Target()
    frames = [tcp(1000 + n % 60_000, 5, 5, ACK) for n in range(500)]
    for _ in range(MOST_WAITING // 500 + 3):
        target.stack.on_frames(target.receiver.receive_packets(frames), target.now)
    assert len(target.stack.host.outbox) == MOST_WAITING
    assert target.stack.counters["IpOutDiscards"] == 1500


# Orphans


def closed_with_text(target: Target, port: int, size: int = 10) -> Connection:
    """A connection whose holder has gone while its peer acknowledges nothing."""
    connection = established(target, port)
    connection.write(TEXT * size, target.now)
    target.flush()
    connection.close(target.now)
    target.flush()
    return connection


def test_one_orphan_too_many_is_reset_when_it_is_closed() -> None:
    """tcp_check_oom in __tcp_close."""
    target = Target(tcp_max_orphans=2)
    kept = [closed_with_text(target, 5000 + n) for n in range(2)]
    last = closed_with_text(target, 5002)
    assert [one.state for one in kept] == [State.FIN_WAIT_1] * 2
    assert last.state is State.CLOSED
    assert "R" in describe_flags(target.sent[-1])
    assert target.stack.counters["TCPAbortOnMemory"] == 1


def test_an_orphan_with_text_is_reset_when_memory_is_out() -> None:
    """tcp_out_of_memory: more than SOCK_MIN_SNDBUF waits, and tcp_mem[2] is reached."""
    target = Target(tcp_mem=(3, 3, 3))
    little = closed_with_text(target, 5000, 1)
    much = closed_with_text(target, 5001, 8)
    assert little.state is State.FIN_WAIT_1
    assert much.state is State.CLOSED
    assert target.stack.counters["TCPAbortOnMemory"] == 1


def test_an_orphan_is_given_up_by_its_timer_when_there_are_too_many() -> None:
    """tcp_out_of_resources."""
    target = Target()
    orphan = closed_with_text(target, 5000)
    target.stack.settings = target.stack.settings.replace(tcp_max_orphans=0)
    for _ in range(10):
        target.now += 200 * MS
        target.take([])
    assert orphan.state is State.CLOSED
    assert target.stack.counters["TCPAbortOnMemory"] == 1


def describe_flags(transmit: Transmit) -> str:
    return "".join(letter for bit, letter in enumerate("FSRPAU") if transmit.flags >> bit & 1)


# MemoryError anywhere


CATCHERS = (
    "out_of_memory",
    "_put_off",
    "on_frames",
    "poll_transmit",
    "on_deadline",
    "_poll",
    "_next",
    "touch",
    "watch",
)
CATCHERS += ("watch_memory", "refresh", "next_deadline", "earliest", "take_due")
"""They run where there was no memory a moment ago, or are the ones that catch it."""


def is_within_stack(frame: FrameType | None) -> bool:
    """Called by the Stack's own doing, not by the application or the test."""
    while frame is not None:
        if frame.f_code.co_filename.endswith("stack/stack.py"):
            return frame.f_code.co_name in CATCHERS or is_within_stack(frame.f_back)
        frame = frame.f_back
    return False


class Failing:
    """Raises MemoryError in the n-th function of ustack that is called, once."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.has_failed = False

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if "/ustack/" not in frame.f_code.co_filename or frame.f_code.co_name in ("drop", "add", "__del__"):
            return
        if frame.f_code.co_name in CATCHERS or not is_within_stack(frame.f_back):
            return
        self.left -= 1
        if self.left == 0:
            self.has_failed = True
            raise MemoryError


def arrivals(target: Target, bystander: Connection) -> None:
    """Something of everything: a handshake, text, a gap, fragments, pings, timers."""
    target.say(tcp(5000, 0, 0, SYN, SYN_OPTIONS))
    iss = target.sent[-1].seq
    target.say(tcp(5000, 1, iss + 1, ACK))
    target.say(tcp(5000, 1, iss + 1, ACK | PSH, b"", TEXT))
    target.say(tcp(5000, 5001, iss + 1, ACK | PSH, b"", TEXT))
    target.say(fragment(1, 8, bytes(16), True))
    target.say(fragment(1, 0, bytes(8), True))
    target.say(tcp(7000, 5, 5, ACK))
    target.say(tcp(5000, 1001, iss + 1, ACK | FIN))
    bystander.write(b"x" * 3000, target.now)
    target.flush()
    for _ in range(40):
        target.now += 200 * MS
        target.take([])


@pytest.mark.interpreted  # a tracer sees interpreted functions only
def test_a_memory_error_in_any_function_is_a_drop() -> None:
    """The stack goes on, and so does somebody else's connection, whichever function found no memory."""
    number = 1
    while True:
        target = Target()
        options = SocketOptions()
        options.nodelay = True
        bystander = established(target, 6000)
        failing = Failing(number)
        sys.settrace(failing)  # type: ignore[arg-type]
        try:
            arrivals(target, bystander)
        finally:
            sys.settrace(None)
        if not failing.has_failed:
            break
        target.stack.on_frames(
            target.frames(tcp(6000, 1, bystander.sender.iss + 1 + 3000, ACK, b"", b"hello")), target.now
        )
        for _ in range(20):
            target.flush()
            target.now += 200 * MS
            target.take([])
        assert bystander.read(10, target.now) == b"hello", number
        assert bystander.unacknowledged() == 0, number
        number += 1 + number // 40
    assert number > 500
    assert OURS != THEIRS


def goodbye(target: Target) -> None:
    """The peer says its last segments again, as peers do; the application closes what it has; time passes."""
    for connection in list(target.stack.tcp.connections.values()):
        sender, port = connection.sender, connection.flow.remote_port
        for _ in range(2):
            target.say(tcp(port, 1, sender.iss + 1, ACK | PSH, b"", TEXT))
            target.say(tcp(port, 1001, sender.snd_nxt, ACK | FIN))
            target.now += 1000 * MS
            target.take([])
        connection.skip(1 << 20, target.now)
        connection.close(target.now)
        target.flush()
        target.say(tcp(port, 1002, sender.snd_nxt, ACK))
    target.listener.close(target.now)
    target.flush()
    for _ in range(2000):
        deadline = target.stack.next_deadline()
        if deadline is None:
            return
        target.now = max(target.now, deadline)
        target.take([])
    raise AssertionError("it never ends")


@pytest.mark.interpreted  # a tracer sees interpreted functions only
def test_a_memory_error_in_any_function_leaves_nothing_behind() -> None:
    """Who was amid a step looks at itself again: all ends as it would have, sooner or later."""
    number = 1
    while True:
        target = Target()
        failing = Failing(number)
        sys.settrace(failing)  # type: ignore[arg-type]
        try:
            target.say(tcp(5000, 0, 0, SYN, SYN_OPTIONS))
            iss = target.sent[-1].seq if target.sent else 0
            target.say(tcp(5000, 1, iss + 1, ACK | PSH, b"", TEXT))
            taken = target.listener.accept(target.now)
            if taken is not None:
                taken.skip(1 << 20, target.now)
                taken.close(target.now)
            target.flush()
            target.say(tcp(5000, 1001, iss + 2, ACK | FIN))
        finally:
            sys.settrace(None)
        if not failing.has_failed:
            break
        goodbye(target)
        assert not target.stack.tcp.connections, number
        assert not target.stack.tcp.time_waits, number
        number += 1
    assert number > 100


def test_pages_are_linuxs() -> None:
    assert PAGE == 4096
