"""The bytes of a packet that a script injects."""

from __future__ import annotations

import struct

from ustack.packetdrill.codec import TCP, UDP, Address, build_icmp, build_ip, build_tcp, build_udp
from ustack.packetdrill.config import Config
from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.flow import MASK, flag_bits
from ustack.packetdrill.icmpnames import ICMP_CODES, ICMP_TYPES, icmp_number
from ustack.packetdrill.peers import Peer
from ustack.packetdrill.tree import IcmpPacket, Packet, Quote, QuoteKind, TcpPacket, UdpPacket


def craft(packet: Packet, peer: Peer, ends: Address, config: Config) -> bytes:
    """Build it; learns what a SYN tells. Raises Unsupported for an ICMP word that the IP version does not have."""
    if isinstance(packet, UdpPacket):
        return build_udp(ends, bytes(packet.length))
    if isinstance(packet, IcmpPacket):
        return _craft_icmp(packet, peer, ends, config)
    return craft_tcp(packet, peer, ends, config)


def craft_tcp(packet: TcpPacket, peer: Peer, ends: Address, config: Config) -> bytes:
    """An IP packet with a segment."""
    seq, ack = peer.flow.inbound_numbers(packet)
    options = peer.flow.inbound_options(packet, config.ts_ecr_scaled)
    numbers = (seq, ack, flag_bits(packet.flags), packet.window or 0, packet.urgent or 0)
    return build_tcp(ends, numbers, options, bytes(packet.length))


def _craft_icmp(packet: IcmpPacket, peer: Peer, ends: Address, config: Config) -> bytes:
    kind = icmp_number(ICMP_TYPES, packet.type, config.is_v6)
    code = icmp_number(ICMP_CODES, packet.code, config.is_v6)
    if kind is None or code is None:
        raise Unsupported(f"icmp {packet.type} {packet.code or ''} over {config.ip_version}")
    rest = packet.mtu or 0
    if packet.type in ("echo_request", "echo_reply"):
        rest = (packet.identifier or 0) << 16
    quoted = _quoted(packet.quote, peer, ends)
    return build_icmp(ends, kind, code, rest, quoted)


def _quoted(quote: Quote | None, peer: Peer, ends: Address) -> bytes:
    """The stack's own packet, as a router would quote it: the IP header and eight bytes."""
    if quote is None:
        return b""
    if quote.kind is QuoteKind.RAW:
        return bytes(quote.length)
    back = Address(ends.destination, ends.source, ends.dport, ends.sport)
    back.ttl = 64
    if quote.kind is QuoteKind.UDP:
        body = struct.pack("!HHHH", back.sport, back.dport, 8 + quote.length, 0)
        return _cut(back, UDP, body, quote.length)
    seq = (quote.seq + (peer.flow.local_isn or 0)) & MASK
    body = struct.pack("!HHI", back.sport, back.dport, seq)
    return _cut(back, TCP, body, 12 + quote.length)


def _cut(back: Address, protocol: int, body: bytes, missing: int) -> bytes:
    """IP header and ``body``, the header saying the length that the whole packet had."""
    whole = build_ip(back, protocol, body + bytes(missing))
    return whole[: (40 if back.v6 else 20) + len(body)]
