"""Who looks at packets never stands in their way: a broken capture, trace or ladder ends, and the traffic goes on."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import pytest

from ustack.cli.ladder import LadderDevice, Watcher
from ustack.cli.scribe import MOST, Scribe
from ustack.device.base import Device, ObservingDevice
from ustack.device.memory import MemoryPair
from ustack.device.pcap import PcapDevice, PcapWriter
from ustack.device.trace import TraceDevice
from ustack.wire import ipv4, udp
from ustack.wire.address import parse_address

PACKET = ipv4.build(
    parse_address("10.0.0.1"), parse_address("10.0.0.2"), 17,
    udp.build(parse_address("10.0.0.1"), parse_address("10.0.0.2"), 1, 2, b"x"),
)  # fmt: skip


class FullDisk(io.BytesIO):
    """Takes the head of a capture, and then no more."""

    def write(self, data: object) -> int:  # type: ignore[override]
        if self.tell():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)  # type: ignore[arg-type]


def refuse(*_: object) -> None:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def observers(inner: Device, said: list[str]) -> list[ObservingDevice]:
    watcher = Watcher(lambda line: None)
    watcher.see = refuse  # type: ignore[method-assign]
    return [
        PcapDevice(inner, FullDisk(), 0, said.append),
        TraceDevice(inner, refuse, 0, said.append),
        LadderDevice(inner, watcher, said.append),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_observer_that_breaks_is_left_behind_with_one_warning(which: int) -> None:
    pair, said = MemoryPair(), []  # type: ignore[var-annotated]
    device = observers(pair.left, said)[which]
    for _ in range(3):
        assert device.write_packets([PACKET], 0) == 1
        assert pair.right.read_packets(0) == [PACKET]
        pair.right.write_packets([PACKET], 0)
        assert device.read_packets(0) == [PACKET]
    assert len(said) == 1
    assert said[0].startswith(("the capture", "the trace", "the ladder"))
    assert said[0].endswith("The traffic goes on.")
    device.close()
    pair.close()


def test_a_complaint_that_fails_is_nothing_either() -> None:
    pair = MemoryPair()
    device = TraceDevice(pair.left, refuse, 0, refuse)
    assert device.write_packets([PACKET], 0) == 1
    pair.close()


def test_without_anybody_to_tell_it_is_a_warning() -> None:
    pair = MemoryPair()
    device = TraceDevice(pair.left, refuse)
    with pytest.warns(RuntimeWarning, match="the trace has ended: Broken pipe"):
        device.write_packets([PACKET], 0)
    pair.close()


def test_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space"):
        PcapWriter("/dev/full")


def test_a_closed_pipe_ends_the_capture() -> None:
    pair, said = MemoryPair(), []  # type: ignore[var-annotated]
    reader, writer = os.pipe()
    device = PcapDevice(pair.left, f"/proc/self/fd/{writer}", 0, said.append)
    os.close(writer)
    assert len(os.read(reader, 100)) == 24
    os.close(reader)
    for _ in range(3):
        assert device.write_packets([PACKET], 0) == 1
    assert said == ["the capture has ended: Broken pipe. The traffic goes on."]
    device.close()
    pair.close()


def test_a_pipe_that_nobody_empties_holds_nothing_up(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)) as caught:
        PcapWriter(fifo)
    assert caught.value.errno == errno.ENXIO
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = PcapWriter(fifo)
    packet = bytes(range(256)) * 4
    record = 16 + len(packet)
    for _ in range(200):
        writer.write([packet], 5)
    assert writer.lost > 100
    kept = 200 - writer.lost
    read = b""
    while len(read) < 24 + kept * record:
        read += os.read(reader, 1 << 20)
        writer.write([], 5)  # what was begun is finished
    assert len(read) == 24 + kept * record
    assert read.endswith(packet)
    writer.write([packet], 6)
    assert os.read(reader, 1 << 20).endswith(packet)
    assert writer.lost == 200 - kept
    writer.close()
    os.close(reader)


def test_a_scribe_writes_in_order_and_holds_nobody_up() -> None:
    gate, written = threading.Event(), []

    def write(text: str) -> None:
        gate.wait()
        written.append(text)

    scribe = Scribe(write)
    for number in range(3 * MOST):
        scribe.put(str(number))
    gate.set()
    while len(written) < MOST:
        os.sched_yield()
    scribe.put("last")
    scribe.close()
    assert written[:MOST] == [str(number) for number in range(MOST)]
    assert written[-1] == "last"
    assert "left out" in written[-2]
    scribe.put("too late")


def test_a_scribe_whose_reader_has_gone_is_silent() -> None:
    scribe = Scribe(refuse)
    for _ in range(3):
        scribe.put("x")
    scribe.close()
