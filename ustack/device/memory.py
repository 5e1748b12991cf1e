"""Two devices joined in memory: what one sends, the other receives.

Two stacks in one process, or in two threads, talk over a pair. A run of plain data crosses as one
Segment of any length, with the count of wire segments it stands for: the bytes are copied once out of the
sender's ring and once into the receiver's, and no header is ever written. All the rest, and everything
after ``packetwise()``, crosses as IP packets.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence

from ustack import native
from ustack.device.base import RECEIVE_BATCH, Device
from ustack.wire.frame import Frame, RawTransmit, Segment, Transmit
from ustack.wire.parse import parse_packet

CAPACITY = 4 << 20
"""Bytes that may wait in one direction: what a batch of 64 super-frames brings from a TUN device."""

_ITEM_COST = 256
"""Charged for each item beside its bytes, so that a queue of empty ACKs is bounded too."""

_FIN, _PSH, _ACK = 0x01, 0x08, 0x10
_TIMESTAMPS_ONLY = b"\x01\x01\x08\x0a"
_TCP = 6


class _Queue:
    """One direction. The two ends may be in different threads, under the locks of different stacks."""

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._items: deque[tuple[Segment | bytes, int]] = deque()
        self._capacity = capacity
        self._room = capacity
        self._signalled = False
        self._starved = False
        self._closed = False
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def has_room(self) -> bool:
        """Whether one more item fits; when not, the sender will be woken (``take`` says so)."""
        with self._lock:
            self._starved = self._room <= 0 and not self._closed
            return not self._starved

    def put(self, items: Sequence[tuple[Segment | bytes, int]]) -> None:
        """Appends whatever the room, which may become negative; a closed queue forgets."""
        with self._lock:
            if self._closed or not items:
                return
            self._items.extend(items)
            for _, cost in items:
                self._room -= cost
            self._signal()

    def poke(self) -> None:
        """Makes the descriptor readable though nothing came: there is room again on the way back."""
        with self._lock:
            if not self._closed:
                self._signal()

    def _signal(self) -> None:
        if not self._signalled:
            self._signalled = True
            os.eventfd_write(self.fd, 1)

    def take(self, most: int) -> tuple[list[Segment | bytes], bool]:
        """Up to ``most`` items, and whether the sender waits for the room that they leave."""
        taken: list[Segment | bytes] = []
        with self._lock:
            if self._closed:
                return taken, False
            items = self._items
            while items and len(taken) < most:
                item, cost = items.popleft()
                self._room += cost
                taken.append(item)
            if self._signalled and not items:
                self._signalled = False
                os.eventfd_read(self.fd)
            starved = self._starved and self._room > 0
            if starved:
                self._starved = False
        return taken, starved

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._items.clear()
                os.close(self.fd)


class MemoryDevice(Device):
    """One end of a :class:`MemoryPair`."""

    def __init__(self, pair: MemoryPair, incoming: _Queue, outgoing: _Queue) -> None:
        super().__init__()
        self.mtu = pair.mtu
        self._pair = pair
        self._incoming = incoming
        self._outgoing = outgoing

    def fileno(self) -> int:
        return self._incoming.fd

    def packetwise(self) -> None:
        self._pair.is_packetwise = True

    def receive(self, now: int) -> list[Frame]:
        if self._pair.is_packetwise:
            return super().receive(now)
        return [parse_packet(item) if isinstance(item, bytes) else item for item in self._take()]

    def send(self, transmits: Sequence[Transmit | RawTransmit], now: int) -> int:
        if self._pair.is_packetwise:
            return super().send(transmits, now)
        outgoing = self._outgoing
        for taken, transmit in enumerate(transmits):
            if not outgoing.has_room():
                return taken
            segment = _as_segment(transmit)
            if segment is not None:
                outgoing.put([(segment, segment.payload_length + _ITEM_COST)])
            else:
                outgoing.put([(packet, len(packet) + _ITEM_COST) for packet in native.cut(transmit)])
        return len(transmits)

    def read_packets(self, now: int) -> list[bytes]:
        """Runs that were on their way when ``packetwise()`` came are lost, as in a network card that is reset."""
        self.packetwise()
        return [item for item in self._take() if isinstance(item, bytes)]

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        for written, packet in enumerate(packets):
            if not self._outgoing.has_room():
                return written
            self._outgoing.put([(packet, len(packet) + _ITEM_COST)])
        return len(packets)

    def _take(self) -> list[Segment | bytes]:
        items, starved = self._incoming.take(RECEIVE_BATCH)
        if starved:
            self._outgoing.poke()
        return items

    def close(self) -> None:
        self._incoming.close()


def _as_segment(transmit: Transmit | RawTransmit) -> Segment | None:
    """What the receiver would make of the run's packets, without making them; None for what is not plain data."""
    if not isinstance(transmit, Transmit) or transmit.urgent or transmit.flags & ~(_FIN | _PSH | _ACK):
        return None
    options = transmit.options
    has_timestamps = len(options) == 12 and options.startswith(_TIMESTAMPS_ONLY)
    if options and not has_timestamps:
        return None
    length = transmit.length
    size = transmit.segment_size or length
    ports = transmit.source_port << 16 | transmit.destination_port
    return Segment(
        transmit.source + transmit.destination + ports.to_bytes(4, "big"),
        _TCP,
        transmit.tos,
        transmit.ttl,
        b"",
        transmit.seq,
        transmit.ack,
        transmit.flags,
        transmit.window,
        0,
        has_timestamps,
        int.from_bytes(options[4:8], "big"),
        int.from_bytes(options[8:12], "big"),
        b"",
        transmit.ring.peek(transmit.at, length) if transmit.ring is not None and length else b"",
        length,
        max(1, -(-length // size)) if size else 1,
        min(size, length),
    )


class MemoryPair:
    """``left`` and ``right``, joined. ``capacity`` is the bytes that may wait in each direction."""

    def __init__(self, mtu: int = 1500, capacity: int = CAPACITY) -> None:
        self.mtu = mtu
        self.is_packetwise = False
        to_left, to_right = _Queue(capacity), _Queue(capacity)
        self.left = MemoryDevice(self, to_left, to_right)
        self.right = MemoryDevice(self, to_right, to_left)

    def close(self) -> None:
        self.left.close()
        self.right.close()
