"""A Transmit of any length becomes wire packets: the readable twin of ``native/emit.c`` and ``native/gso.c``."""

from __future__ import annotations

from typing import Final

from ustack.wire import ipv4, ipv6
from ustack.wire.address import is_v4
from ustack.wire.records import RawTransmit, Transmit
from ustack.wire.tcp import CWR, FIN, HEADER_LENGTH, PROTOCOL, PSH, TcpHeader, build_segment

_MAX_PACKET: Final = 65535


def cut(transmit: Transmit | RawTransmit) -> list[bytes]:
    """The wire packets, with full checksums, in order. ValueError for options that are no whole words or more than
    40 bytes, for addresses of two families, and when the ring has forgotten the payload."""
    if isinstance(transmit, RawTransmit):
        return [transmit.packet]
    _check(transmit)
    size = piece_length(transmit)
    packets: list[bytes] = []
    at = 0
    while at < transmit.length or not packets:
        length = min(size, transmit.length - at)
        packets.append(_piece(transmit, at, length, len(packets)))
        at += length
    return packets


def piece_length(transmit: Transmit) -> int:
    """Payload of every wire segment but the last: ``segment_size``, or what the longest packet holds."""
    room = _MAX_PACKET - headers_length(transmit)
    size = transmit.segment_size
    if size <= 0 or size > room:
        size = min(transmit.length, room)
    return size


def headers_length(transmit: Transmit) -> int:
    """IP and TCP header, options included."""
    ip_length = ipv4.HEADER_LENGTH if is_v4(transmit.source) else ipv6.HEADER_LENGTH
    return ip_length + HEADER_LENGTH + len(transmit.options)


def _check(transmit: Transmit) -> None:
    if len(transmit.options) % 4 or len(transmit.options) > 40:
        raise ValueError(f"{len(transmit.options)} bytes of TCP options: whole words, at most 40")
    if is_v4(transmit.source) is not is_v4(transmit.destination):
        raise ValueError("source and destination are of two families")
    if transmit.length and transmit.ring is None:
        raise ValueError(f"{transmit.length} bytes of payload and no ring to take them from")


def _piece(transmit: Transmit, at: int, length: int, number: int) -> bytes:
    """Wire segment ``number`` of the run: its payload is ``[at, at + length)``."""
    flags = transmit.flags
    if at:
        flags &= ~CWR
    if at + length < transmit.length:
        flags &= ~(FIN | PSH)
    header = TcpHeader(
        transmit.source_port,
        transmit.destination_port,
        transmit.seq + at,
        transmit.ack,
        flags,
        transmit.window,
        transmit.urgent,
    )
    ring = transmit.ring
    payload = ring.peek(transmit.at + at, length) if ring is not None and length else b""
    source, destination = transmit.source, transmit.destination
    text = build_segment(source, destination, header, transmit.options, payload)
    if is_v4(source):
        fragment = ipv4.DONT_FRAGMENT if transmit.dont_fragment else 0
        identification = transmit.identification + number
        return ipv4.build(source, destination, PROTOCOL, text, transmit.ttl, transmit.tos, identification, fragment)
    return ipv6.build(source, destination, PROTOCOL, text, transmit.ttl, transmit.tos, transmit.flow_label)
