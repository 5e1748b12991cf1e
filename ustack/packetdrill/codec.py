"""Packets as bytes: what the runner injects and what it sees.

It is the runner's own, and shares nothing with ``ustack.wire`` on purpose: an instrument that reads packets with the
very code that it examines would not notice when both are wrong. It also has to build what a stack never would.
"""

from __future__ import annotations

import struct
from typing import Final

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << bit for bit in range(9))

_TCP: Final = struct.Struct("!HHIIHHHH")
_UDP: Final = struct.Struct("!HHHH")
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of ``data``; 0 when a correct checksum is included."""
    if len(data) % 2:
        data += b"\0"
    # 2^16 is 1 modulo 65535: the sum of 16-bit words is the whole as one number, modulo 65535.
    total = (int.from_bytes(data, "big") + start) % 0xFFFF
    return ~total & 0xFFFF if total or not (any(data) or start) else 0


def pseudo_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The pseudo-header's part of a TCP, UDP or ICMPv6 checksum, modulo 65535."""
    return (int.from_bytes(source + destination, "big") + protocol + length) % 0xFFFF


class Seen:
    """One packet, taken apart. ``faults`` lists what is wrong with its form (lengths, checksums, reserved bits)."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.faults: list[tuple[str, str, str]] = []
        self.version = packet[0] >> 4 if packet else 0
        self.protocol = -1
        self.source = self.destination = b""
        self.tos = self.ttl = self.flow_label = 0
        self.sport = self.dport = 0
        self.seq = self.ack = self.flags = self.window = self.urgent = 0
        self.options = b""
        self.payload = b""
        self.fragment = False
        self.icmp_type = self.icmp_code = self.icmp_rest = 0
        body = self._ip()
        if body is None or self.fragment:
            return
        if self.protocol == TCP:
            self._tcp(body)
        elif self.protocol == UDP:
            self._udp(body)
        elif self.protocol in (ICMP, ICMP6):
            self._icmp(body)

    @property
    def payload_length(self) -> int:
        return len(self.payload)

    def _fault(self, field: str, expected: object, got: object) -> None:
        self.faults.append((field, str(expected), str(got)))

    def _ip(self) -> bytes | None:
        packet = self.packet
        if self.version == 4 and len(packet) >= 20:
            head, self.tos, total, _, offset, self.ttl, self.protocol, _, self.source, self.destination = (
                _IPV4.unpack_from(packet)
            )
            length = (head & 15) * 4
            if total != len(packet):
                self._fault("IP total length", len(packet), total)
            if checksum(packet[:length]):
                self._fault("IP header checksum", "correct", packet[10:12].hex())
            self.fragment = bool(offset & 0x3FFF)
            return packet[length:]
        if self.version == 6 and len(packet) >= 40:
            word, total, self.protocol, self.ttl, self.source, self.destination = _IPV6.unpack_from(packet)
            self.tos = word >> 20 & 0xFF
            self.flow_label = word & 0xFFFFF
            if total != len(packet) - 40:
                self._fault("IPv6 payload length", len(packet) - 40, total)
            return self._skip_extensions(packet[40:])
        self._fault("IP version", "4 or 6", self.version)
        return None

    def _skip_extensions(self, body: bytes) -> bytes:
        while self.protocol in (0, 43, 60) and len(body) >= 8:
            length = 8 + body[1] * 8
            self.protocol, body = body[0], body[length:]
        self.fragment = self.protocol == 44
        return body

    def _checked(self, body: bytes) -> bool:
        start = pseudo_sum(self.source, self.destination, self.protocol, len(body))
        return (self.protocol == ICMP and not checksum(body)) or not checksum(body, start)

    def _tcp(self, body: bytes) -> None:
        if len(body) < 20:
            self._fault("TCP header", "20 bytes", len(body))
            return
        self.sport, self.dport, self.seq, self.ack, bits, self.window, _, self.urgent = _TCP.unpack_from(body)
        offset = (bits >> 12) * 4
        if not 20 <= offset <= len(body):
            self._fault("TCP data offset", "20..60", offset)
            offset = 20
        if bits & 0x0E00:
            self._fault("TCP reserved bits", "0", hex(bits >> 9 & 7))
        self.flags = bits & 0x1FF
        self.options = body[20:offset]
        self.payload = body[offset:]
        if not self._checked(body):
            self._fault("TCP checksum", "correct", body[16:18].hex())

    def _udp(self, body: bytes) -> None:
        if len(body) < 8:
            self._fault("UDP header", "8 bytes", len(body))
            return
        self.sport, self.dport, length, total = _UDP.unpack_from(body)
        self.payload = body[8:]
        if length != len(body):
            self._fault("UDP length", len(body), length)
        if not self._checked(body) and (total or self.version == 6):
            self._fault("UDP checksum", "correct", f"{total:04x}")

    def _icmp(self, body: bytes) -> None:
        if len(body) < 8:
            self._fault("ICMP header", "8 bytes", len(body))
            return
        self.icmp_type, self.icmp_code, _, self.icmp_rest = struct.unpack_from("!BBHI", body)
        self.payload = body[8:]
        if not self._checked(body):
            self._fault("ICMP checksum", "correct", body[2:4].hex())


class Address:
    """The two ends of what is injected, and how: addresses in wire form (4 or 16 bytes each), ports, IP fields."""

    def __init__(self, source: bytes, destination: bytes, sport: int, dport: int) -> None:
        self.source = source
        self.destination = destination
        self.sport = sport
        self.dport = dport
        self.tos = 0
        self.ttl = 255
        self.flow_label = 0
        self.bad_checksum = False

    @property
    def v6(self) -> bool:
        return len(self.source) == 16


def build_ip(ends: Address, protocol: int, body: bytes) -> bytes:
    """An IP packet around ``body``."""
    if ends.v6:
        word = 6 << 28 | ends.tos << 20 | ends.flow_label
        return _IPV6.pack(word, len(body), protocol, ends.ttl, ends.source, ends.destination) + body
    length = 20 + len(body)
    fields = (0x45, ends.tos, length, 0, 0, ends.ttl, protocol)
    total = checksum(_IPV4.pack(*fields, 0, ends.source, ends.destination))
    return _IPV4.pack(*fields, total, ends.source, ends.destination) + body


def build_tcp(ends: Address, numbers: tuple[int, int, int, int, int], options: bytes, payload: bytes) -> bytes:
    """An IP packet with a TCP segment; ``numbers``: seq, ack, flags, window, urgent."""
    seq, ack, flags, window, urgent = numbers
    offset = (20 + len(options)) // 4
    fields = (ends.sport, ends.dport, seq, ack, offset << 12 | flags, window)
    body = _TCP.pack(*fields, 0, urgent) + options + payload
    total = checksum(body, pseudo_sum(ends.source, ends.destination, TCP, len(body)))
    if ends.bad_checksum:
        total ^= 0x5555
    return build_ip(ends, TCP, body[:16] + total.to_bytes(2, "big") + body[18:])


def build_udp(ends: Address, payload: bytes) -> bytes:
    """An IP packet with a datagram."""
    body = _UDP.pack(ends.sport, ends.dport, 8 + len(payload), 0) + payload
    total = checksum(body, pseudo_sum(ends.source, ends.destination, UDP, len(body))) or 0xFFFF
    if ends.bad_checksum:
        total ^= 0x5555
    return build_ip(ends, UDP, body[:6] + total.to_bytes(2, "big") + body[8:])


def build_icmp(ends: Address, kind: int, code: int, rest: int, payload: bytes) -> bytes:
    """An ICMP or ICMPv6 message, by the addresses' version."""
    body = struct.pack("!BBHI", kind, code, 0, rest) + payload
    protocol = ICMP6 if ends.v6 else ICMP
    start = pseudo_sum(ends.source, ends.destination, protocol, len(body)) if ends.v6 else 0
    total = checksum(body, start)
    return build_ip(ends, protocol, body[:2] + total.to_bytes(2, "big") + body[4:])
