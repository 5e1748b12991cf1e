"""The streams of a test: a thread for each direction of each, and what they counted, interval by interval."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ustack.iperf3.protocol import Flow, stream_id
from ustack.iperf3.settings import Test

PATIENCE = 0.5
"""Seconds after which a blocked read or write looks whether the test is over."""

INFO_SIZE = 256
INFO_RTT, INFO_CWND, INFO_RETRANSMITS = 68, 80, 100
"""Offsets in struct tcp_info of linux/tcp.h, 32 bits each."""


@dataclass
class Stream:
    """One connection. Only its own thread adds to `bytes`; others read it."""

    number: int
    flow: Flow
    sends: bool
    bytes: int = 0
    omitted: int = 0
    """Bytes of the warm-up (`-O`), which the results leave out."""
    error: str = ""
    retransmits: int = -1
    """Of a sender, by TCP_INFO; -1 where the stack does not say."""
    omitted_retransmits: int = 0
    rtt_us: int = 0
    cwnd: int = 0

    def look(self) -> None:
        """Takes the stack's own counters while the connection still lives."""
        with contextlib.suppress(OSError, AttributeError, TypeError, struct.error):
            info = self.flow.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
            self.rtt_us = _word(info, INFO_RTT)
            mss = _word(info, 16)
            self.cwnd = _word(info, INFO_CWND) * mss
            if self.sends:
                self.retransmits = _word(info, INFO_RETRANSMITS) - self.omitted_retransmits


def _word(info: Any, offset: int) -> int:
    return int(struct.unpack_from("=I", info, offset)[0])


@dataclass(frozen=True)
class Interval:
    """What one stream moved between two instants (seconds since the test began)."""

    number: int
    sends: bool
    start: float
    end: float
    bytes: int


@dataclass
class Run:
    """All streams of a test while data moves."""

    test: Test
    streams: list[Stream] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0
    ended: float = 0.0
    intervals: list[list[Interval]] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _counted: dict[int, int] = field(default_factory=dict)
    _left: int = 0
    _quota: threading.Lock = field(default_factory=threading.Lock)

    def add(self, index: int, flow: Flow, sends: bool) -> None:
        self.streams.append(Stream(stream_id(index), flow, sends))

    def start(self) -> None:
        """Moves data until `finish()`, or until the bytes agreed on are sent."""
        self._left = self.test.total
        self.started = time.monotonic()
        for stream in self.streams:
            stream.flow.settimeout(PATIENCE)
            work = self._send if stream.sends else self._receive
            thread = threading.Thread(target=work, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _send(self, stream: Stream) -> None:
        block = memoryview(bytes(self.test.block))
        while not self.stop.is_set():
            size = self._share()
            if size == 0:
                return
            try:
                taken = stream.flow.send(block[:size])
            except TimeoutError:
                taken = 0
            except OSError as error:
                self._give_up(stream, error)
                return
            stream.bytes += taken
            if self.test.total and taken < size:
                self._give_back(size - taken)

    def _share(self) -> int:
        """How much the next write may be: the block, or what is left of a test by bytes."""
        if not self.test.total:
            return self.test.block
        with self._quota:
            size = min(self.test.block, self._left)
            self._left -= size
            return size

    def _give_back(self, size: int) -> None:
        with self._quota:
            self._left += size

    def _receive(self, stream: Stream) -> None:
        buffer = bytearray(self.test.block)
        while not self.stop.is_set():
            try:
                got = stream.flow.recv_into(buffer)
            except TimeoutError:
                continue
            except OSError as error:
                self._give_up(stream, error)
                return
            if got == 0:
                return
            stream.bytes += got

    def _give_up(self, stream: Stream, error: OSError) -> None:
        if not self.stop.is_set():
            stream.error = str(error)

    def omit(self) -> None:
        """The warm-up is over: what was counted so far does not count."""
        for stream in self.streams:
            stream.look()
            stream.omitted = stream.bytes
            stream.omitted_retransmits = max(stream.retransmits, 0)
            self._counted[id(stream)] = stream.bytes
        self.intervals.clear()
        self.started = time.monotonic()

    def mark(self) -> list[Interval]:
        """Closes an interval and returns each stream's share of it."""
        end = time.monotonic() - self.started
        start = self.intervals[-1][0].end if self.intervals else 0.0
        lines = []
        for stream in self.streams:
            now = stream.bytes
            lines.append(Interval(stream.number, stream.sends, start, end, now - self._counted.get(id(stream), 0)))
            self._counted[id(stream)] = now
            stream.look()
        self.intervals.append(lines)
        return lines

    def sending(self) -> bool:
        """Is a thread still at work? A test by bytes is over when none is."""
        return any(thread.is_alive() for thread in self._threads)

    def finish(self, *, closes: bool = False) -> None:
        """Ends the transfer: no byte counts after this.

        ``closes``: the streams end here and now, as a server's do when its client says that the test is over: the
        client may be blocked in a read of one of them. Otherwise a sender's last write is waited for.
        """
        if not self.ended:
            self.ended = time.monotonic()
            for stream in self.streams:
                stream.look()
        self.stop.set()
        if closes:
            for stream in self.streams:
                with contextlib.suppress(OSError):  # ends a blocked call at once
                    stream.flow.shutdown(socket.SHUT_WR if stream.sends else socket.SHUT_RD)
        for stream, thread in zip(self.streams, self._threads, strict=False):
            if stream.sends or closes:  # what the peer has may not be missing here: a write under way is counted, too
                thread.join(timeout=2 * PATIENCE)
        if closes:
            for stream in self.streams:
                with contextlib.suppress(OSError):
                    stream.flow.close()

    def close(self) -> None:
        """Closes every stream and waits for the threads."""
        self.stop.set()
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.flow.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=4 * PATIENCE)
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.flow.close()

    @property
    def seconds(self) -> float:
        return max((self.ended or time.monotonic()) - self.started, 1e-9)

    def results(self, cpu: tuple[float, float, float], congestion: str) -> dict[str, Any]:
        """The JSON that both ends exchange after the test."""
        known = any(stream.sends and stream.retransmits >= 0 for stream in self.streams)
        sends = any(stream.sends for stream in self.streams)
        return {
            "cpu_util_total": cpu[0],
            "cpu_util_user": cpu[1],
            "cpu_util_system": cpu[2],
            "sender_has_retransmits": int(known) if sends else -1,
            "congestion_used": congestion,
            "streams": [
                {
                    "id": stream.number,
                    "bytes": stream.bytes - stream.omitted,
                    "retransmits": stream.retransmits if stream.sends else -1,
                    "jitter": 0,
                    "errors": 0,
                    "omitted_errors": 0,
                    "packets": 0,
                    "omitted_packets": 0,
                    "start_time": 0,
                    "end_time": self.seconds,
                }
                for stream in self.streams
            ],
        }
