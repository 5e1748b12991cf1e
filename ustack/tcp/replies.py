"""Segments that belong to no connection: resets, and the ACKs of requests and of TIME-WAIT."""

from __future__ import annotations

from ustack.wire.address import is_v4
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, FIN, RST, SYN


def answer(segment: Segment, seq: int, ack: int, flags: int, window: int, options: bytes = b"") -> Transmit:
    """A segment back to where ``segment`` came from; numbers are the wire's, ``window`` its 16-bit field."""
    return Transmit(
        segment.destination,
        segment.source,
        segment.destination_port,
        segment.source_port,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        flags,
        window,
        0,
        options,
    )


def reset_for(segment: Segment) -> Transmit | None:
    """The RST that answers a segment nobody wants (RFC 9293 section 3.10.7.1); never one for a RST."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return answer(segment, segment.ack, 0, RST, 0)
    length = segment.payload_length + (1 if segment.flags & SYN else 0) + (1 if segment.flags & FIN else 0)
    return answer(segment, 0, segment.seq + length, RST | ACK, 0)


def header_bytes(address: bytes) -> int:
    """IP and TCP header without options."""
    return 40 if is_v4(address) else 60
