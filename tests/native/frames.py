"""Packets to feed the C core with, and frames as comparable tuples."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from ustack.native import Receiver, payload_bytes
from ustack.ring import SendRing
from ustack.wire.frame import Frame, Refused, Segment, Transmit
from ustack.wire.split import cut

V4 = bytes(10) + b"\xff\xff"
PEER = V4 + bytes([10, 0, 0, 1])
HERE = V4 + bytes([10, 0, 0, 2])
PEER6 = bytes.fromhex("fd000000000000000000000000000001")
HERE6 = bytes.fromhex("fd000000000000000000000000000002")
TS = b"\x01\x01\x08\x0a"


def timestamps(val: int, ecr: int) -> bytes:
    return TS + struct.pack(">II", val & 0xFFFFFFFF, ecr & 0xFFFFFFFF)


def text(length: int, at: int = 0) -> bytes:
    return bytes(((at + n) * 31 + (at + n) // 256) & 0xFF for n in range(length))


def ring_with(payload: bytes) -> SendRing:
    ring = SendRing(max(1, len(payload)))
    ring.write(payload)
    return ring


def transmit(payload: bytes = b"", *, v6: bool = False, **fields: object) -> Transmit:
    """A record from the peer to here; ``fields`` override."""
    made = Transmit(PEER6 if v6 else PEER, HERE6 if v6 else HERE, 5000, 80, 1000, 2000, 0x10, 500)
    made.ring = ring_with(payload)
    made.length = len(payload)
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def segment_of(receiver: Receiver, payload: bytes) -> Segment:
    """A batch with one run, ``payload``: its frame."""
    (frame,) = receiver.receive_packets(cut(transmit(payload)))
    assert isinstance(frame, Segment)
    return frame


def seen(frame: Frame) -> dict[str, object]:
    """Everything a frame says, its payload as bytes; the handle's batch must be the present one."""
    fields = {name: getattr(frame, name) for name in _names(frame)}
    fields["kind"] = type(frame).__name__
    if isinstance(frame, Segment):
        fields["payload"] = payload_bytes(frame.payload, 0, frame.payload_length)
    if isinstance(frame, Refused):  # what the two parsers knew when they gave up may differ
        for name in ("protocol", "packet", "tos", "ttl"):
            del fields[name]
    return fields


def _names(frame: Frame) -> list[str]:
    return [name for name in dir(frame) if not name.startswith("_") and not callable(getattr(frame, name))]


def received(*packets: bytes, trusted: bool = False) -> list[dict[str, object]]:
    """The frames of one batch."""
    receiver = Receiver()
    return [seen(frame) for frame in receiver.receive_packets(list(packets), csum_trusted=trusted)]


def datagram_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep the edges of what is written, as a TUN device does."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ends


def drained(end: socket.socket) -> list[bytes]:
    """Everything that waits at ``end``."""
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(end.recv(1 << 17))
    return found
