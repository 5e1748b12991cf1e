"""One IP packet taken apart: the readable twin of ``native/parse.c``, and more, since C looks into TCP only.

Nothing here raises, whatever the bytes are: a packet that a rule refuses comes back as ``Refused``.
"""

from __future__ import annotations

import struct
from typing import Final

from ustack.drops import Drop
from ustack.wire import ipv6
from ustack.wire.address import NO_PORTS, V4_PREFIX, is_multicast, is_v4
from ustack.wire.checksum import is_good, pseudo_sum
from ustack.wire.records import (
    NO_KEY,
    Datagram,
    Fragment,
    Frame,
    IcmpMessage,
    OtherPacket,
    Refused,
    Segment,
)

MAX_EXTENSIONS: Final = 8
"""Extension headers of one packet; RFC 8504 section 5.3 lets a host bound them."""

_LONGEST: Final = 65535
_LONGEST_IPV6: Final = 65535 + 40  # the header does not count in its own payload length
_TCP: Final = 6
_UDP: Final = 17
_ICMP: Final = 1
_ICMPV6: Final = 58
_TCP_HEADER: Final = struct.Struct(">IIHHHH")  # from the sequence number on
_TWO_WORDS: Final = struct.Struct(">II")
_PLAIN_TIMESTAMPS: Final = b"\x01\x01\x08\x0a"
_OPTION_TIMESTAMPS: Final = 8
_OFFSET_MASK: Final = 0x1FFF
_MORE_FRAGMENTS: Final = 0x2000


class _Header:
    """An IP header that was read: what each parser of a transport needs."""

    def __init__(self, packet: bytes, at: int, protocol: int, vouched: bool) -> None:
        v4 = packet[0] >> 4 == 4
        self.packet = packet
        self.at = at  # of the transport header
        self.protocol = protocol
        self.vouched = vouched
        self.v4 = v4
        self.tos = packet[1] if v4 else (packet[0] << 8 | packet[1]) >> 4 & 0xFF
        self.ttl = packet[8] if v4 else packet[7]
        self.pointer = 9 if v4 else 6  # where the packet names the protocol
        if v4:
            self.source = V4_PREFIX + packet[12:16]
            self.destination = V4_PREFIX + packet[16:20]
        else:
            self.source = packet[8:24]
            self.destination = packet[24:40]
        self.key = self.source + self.destination + NO_PORTS

    def refuse(self, reason: Drop, parameter_code: int = -1, pointer: int = 0) -> Frame:
        return Refused(self.key, self.protocol, self.tos, self.ttl, self.packet, reason, parameter_code, pointer)

    def sum_is_bad(self, text: bytes) -> bool:
        """Whether header and text do not sum to all ones with the pseudo-header; nobody else vouching for them."""
        if self.vouched:
            return False
        return not is_good(text, pseudo_sum(self.source, self.destination, self.protocol, len(text)))


def parse_packet(packet: bytes | memoryview, vouched: bool = False) -> Frame:
    """The frame that ``packet`` is; bytes behind the length in its header are ignored.

    ``vouched``: the transport's checksum need not be verified (the kernel of a TUN device says so).
    """
    data = bytes(packet)
    if not data:
        return Refused(NO_KEY, 0, 0, 0, data, Drop.FRAME_EMPTY)
    version = data[0] >> 4
    if len(data) > (_LONGEST_IPV6 if version == 6 else _LONGEST):
        return Refused(NO_KEY, 0, 0, 0, data, Drop.FRAME_TOO_LONG)
    if version == 4:
        return _parse_ipv4(data, vouched)
    if version == 6:
        return _parse_ipv6(data, vouched)
    return Refused(NO_KEY, 0, 0, 0, data, Drop.IP_VERSION)


def _parse_ipv4(data: bytes, vouched: bool) -> Frame:
    """RFC 791 section 3.1."""
    if len(data) < 20:
        return Refused(NO_KEY, 0, 0, 0, data, Drop.IP_TRUNCATED)
    header_length = (data[0] & 15) * 4
    total = data[2] << 8 | data[3]
    head = _Header(data, header_length, data[9], vouched)
    if header_length < 20 or header_length > len(data):
        return head.refuse(Drop.IP_HEADER_LENGTH)
    if total < header_length or total > len(data):
        return head.refuse(Drop.IP_TOTAL_LENGTH)
    if not is_good(data[:header_length]):
        return head.refuse(Drop.IP_CHECKSUM)
    if total < len(data):
        head.packet = data[:total]
    field = data[6] << 8 | data[7]
    if field & (_OFFSET_MASK | _MORE_FRAGMENTS):
        header = data[:6] + b"\x00\x00" + data[8:header_length]
        offset = (field & _OFFSET_MASK) * 8
        return _fragment(head, data[4] << 8 | data[5], offset, field & _MORE_FRAGMENTS != 0, header)
    return _parse_transport(head)


def _parse_ipv6(data: bytes, vouched: bool) -> Frame:
    """RFC 8200 section 3."""
    if len(data) < 40:
        return Refused(NO_KEY, 0, 0, 0, data, Drop.IP_TRUNCATED)
    total = 40 + (data[4] << 8 | data[5])
    head = _Header(data, 40, data[6], vouched)
    if is_v4(head.source) or is_v4(head.destination):
        head.key = NO_KEY  # it would be IPv4's own address
        return head.refuse(Drop.IPV6_MAPPED)
    if total > len(data):
        return head.refuse(Drop.IP_TOTAL_LENGTH)
    if total < len(data):
        head.packet = data[:total]
    refused = _walk_extensions(head)
    if refused is not None:
        return refused
    if head.protocol == ipv6.FRAGMENT:
        return _parse_fragment_header(head)
    return _parse_transport(head)


def _walk_extensions(head: _Header) -> Frame | None:
    """Moves ``head`` on to the transport, or to a fragment header; or says why not (RFC 8200 section 4)."""
    packet = head.packet
    count = 0
    while head.protocol in (ipv6.HOP_BY_HOP, ipv6.DESTINATION_OPTIONS, ipv6.ROUTING):
        at = head.at
        if count == MAX_EXTENSIONS:
            return head.refuse(Drop.IPV6_EXTENSION_CHAIN)
        length = (packet[at + 1] + 1) * 8 if len(packet) - at >= 8 else 0
        if length == 0 or at + length > len(packet):
            return head.refuse(Drop.IPV6_EXTENSION)
        if head.protocol == ipv6.HOP_BY_HOP and count > 0:
            return head.refuse(Drop.IPV6_EXTENSION, 1, head.pointer)  # section 4.1: only right behind the header
        if head.protocol == ipv6.ROUTING:
            if packet[at + 3] != 0:
                return head.refuse(Drop.IPV6_EXTENSION, 0, at + 2)  # section 4.4: an unknown type with segments left
        else:
            refused = _check_options(head, at + 2, at + length)
            if refused is not None:
                return refused
        head.protocol = packet[at]
        head.pointer = at
        head.at = at + length
        count += 1
    return None


def _check_options(head: _Header, at: int, end: int) -> Frame | None:
    """The highest two bits of an unknown option say what to do with the packet (RFC 8200 section 4.2)."""
    packet = head.packet
    while at < end:
        kind = packet[at]
        if kind == 0:
            at += 1
            continue
        if at + 2 > end or at + 2 + packet[at + 1] > end:
            return head.refuse(Drop.IPV6_EXTENSION, 0, at + 1)
        action = kind >> 6
        if action == 1:
            return head.refuse(Drop.IPV6_EXTENSION)
        if action == 2 or (action == 3 and not is_multicast(head.destination)):
            return head.refuse(Drop.IPV6_EXTENSION, 2, at)
        if action == 3:
            return head.refuse(Drop.IPV6_EXTENSION)
        at += 2 + packet[at + 1]
    return None


def _parse_fragment_header(head: _Header) -> Frame:
    """RFC 8200 section 4.5."""
    packet, at = head.packet, head.at
    if len(packet) - at < 8:
        return head.refuse(Drop.IPV6_EXTENSION)
    field = packet[at + 2] << 8 | packet[at + 3]
    identification = int.from_bytes(packet[at + 4 : at + 8], "big")
    header = packet[: head.pointer] + packet[at : at + 1] + packet[head.pointer + 1 : at]
    head.protocol = packet[at]
    head.at = at + 8
    return _fragment(head, identification, field & 0xFFF8, field & 1 != 0, header)


def _fragment(head: _Header, identification: int, offset: int, more: bool, header: bytes) -> Frame:
    """A fragment of either version. An empty one, one that is no whole number of units though more follow, and one
    that would end beyond the longest packet are refused."""
    payload = head.packet[head.at :]
    bad_units = more and len(payload) % 8 != 0
    longest = 65535 if head.v4 else 65535 + 40
    too_long = len(header) + offset + len(payload) > longest
    if bad_units or too_long or not payload:
        # RFC 8200 section 4.5: about the payload length, or about the fragment offset
        code = 0 if not head.v4 and (bad_units or too_long) else -1
        return head.refuse(Drop.IP_FRAGMENT, code, 4 if bad_units else head.at - 6)
    return Fragment(
        head.key,
        head.protocol,
        head.tos,
        head.ttl,
        head.packet,
        identification,
        offset,
        more,
        payload,
        header,
    )


def _parse_transport(head: _Header) -> Frame:
    protocol = head.protocol
    if protocol == _TCP:
        return _parse_tcp(head)
    if protocol == _UDP:
        return _parse_udp(head)
    if protocol == (_ICMP if head.v4 else _ICMPV6):
        return _parse_icmp(head)
    payload = head.packet[head.at :]
    return OtherPacket(head.key, protocol, head.tos, head.ttl, head.packet, payload, head.pointer)


def _parse_tcp(head: _Header) -> Frame:
    """RFC 9293 section 3.1."""
    text = head.packet[head.at :]
    if len(text) < 20:
        return head.refuse(Drop.TCP_TRUNCATED)
    head.key = head.key[:32] + text[:4]
    header_length = (text[12] >> 4) * 4
    if header_length < 20 or header_length > len(text):
        return head.refuse(Drop.TCP_DATA_OFFSET)
    if head.sum_is_bad(text):
        return head.refuse(Drop.TCP_CHECKSUM)
    seq, ack, flags, window, _, urgent = _TCP_HEADER.unpack(text[4:20])
    segment = Segment(head.key, _TCP, head.tos, head.ttl, b"", seq, ack, flags & 0xFFF, window, urgent)
    if flags & 2:
        segment.packet = head.packet
    if header_length > 20:
        _take_options(segment, text[20:header_length])
    segment.payload = text[header_length:]
    segment.payload_length = len(text) - header_length
    segment.segment_size = segment.payload_length
    return segment


def _take_options(segment: Segment, options: bytes) -> None:
    """Timestamps, and whether anything else is there that somebody should look at (as ``walk_options`` in C)."""
    if len(options) == 12 and options.startswith(_PLAIN_TIMESTAMPS):
        segment.has_ts = True
        segment.ts_val, segment.ts_ecr = _TWO_WORDS.unpack(options[4:])
        return
    at = 0
    end = len(options)
    while at < end and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            segment.options = options
            return
        if options[at] == _OPTION_TIMESTAMPS and length == 10:
            segment.has_ts = True
            segment.ts_val, segment.ts_ecr = _TWO_WORDS.unpack(options[at + 2 : at + 10])
        else:
            segment.options = options
        at += length


def _parse_udp(head: _Header) -> Frame:
    """RFC 768; over IPv6 a checksum is due (RFC 8200 section 8.1)."""
    text = head.packet[head.at :]
    if len(text) < 8:
        return head.refuse(Drop.UDP_TRUNCATED)
    head.key = head.key[:32] + text[:4]
    length = text[4] << 8 | text[5]
    if length < 8 or length > len(text):
        return head.refuse(Drop.UDP_LENGTH)
    text = text[:length]
    if text[6:8] == b"\x00\x00" and not head.vouched:
        if not head.v4:
            return head.refuse(Drop.UDP_CHECKSUM)
    elif head.sum_is_bad(text):
        return head.refuse(Drop.UDP_CHECKSUM)
    return Datagram(head.key, _UDP, head.tos, head.ttl, head.packet, text[8:])


def _parse_icmp(head: _Header) -> Frame:
    """RFC 792, RFC 4443 section 2.1."""
    text = head.packet[head.at :]
    if len(text) < 8:
        return head.refuse(Drop.ICMP_TRUNCATED)
    bad = not head.vouched and not is_good(text) if head.v4 else head.sum_is_bad(text)
    if bad:
        return head.refuse(Drop.ICMP_CHECKSUM)
    rest = int.from_bytes(text[4:8], "big")
    return IcmpMessage(head.key, head.protocol, head.tos, head.ttl, head.packet, text[0], text[1], rest, text[8:])
