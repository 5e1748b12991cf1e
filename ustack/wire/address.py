"""Addresses: always 16 bytes inside, IPv4 as ``::ffff:a.b.c.d`` (RFC 4291 section 2.5.5.2); and flow keys.

A flow key is 36 bytes as the wire has them: source 16, destination 16, source port 2, destination port 2.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

ANY: Final = bytes(16)
"""``::``: any address of either family."""
V4_PREFIX: Final = bytes(10) + b"\xff\xff"
ANY_V4: Final = V4_PREFIX + bytes(4)
"""``0.0.0.0``."""
LOOPBACK: Final = bytes(15) + b"\x01"
BROADCAST: Final = V4_PREFIX + b"\xff\xff\xff\xff"
"""``255.255.255.255``, the limited broadcast."""
NO_PORTS: Final = bytes(4)
"""The end of the key of a packet without ports."""


def parse_address(text: str) -> bytes:
    """``"10.0.0.1"`` or ``"fd00::1"`` as 16 bytes; a scope (``%eth0``) is ignored. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return V4_PREFIX + address.packed
    return address.packed


def format_address(address: bytes) -> str:
    """The text of 16 bytes: dotted when they are IPv4."""
    if is_v4(address):
        return f"{address[12]}.{address[13]}.{address[14]}.{address[15]}"
    return str(IPv6Address(address))


def is_v4(address: bytes) -> bool:
    """Whether 16 bytes are an IPv4 address, v4-mapped."""
    return address.startswith(V4_PREFIX)


def is_any(address: bytes) -> bool:
    """Whether it is ``::`` or ``0.0.0.0``."""
    return address in (ANY, ANY_V4)


def is_multicast(address: bytes) -> bool:
    """RFC 5771 (224/4), RFC 4291 section 2.7 (ff00::/8)."""
    if is_v4(address):
        return 224 <= address[12] <= 239
    return address[0] == 0xFF


def is_broadcast(address: bytes) -> bool:
    """Whether it is the limited broadcast; a subnet's own depends on the prefix (:class:`ustack.stack.ip.Ip`)."""
    return address == BROADCAST


def is_loopback(address: bytes) -> bool:
    """127/8 and ``::1``."""
    if is_v4(address):
        return address[12] == 127
    return address == LOOPBACK


def is_link_local(address: bytes) -> bool:
    """169.254/16 and fe80::/10."""
    if is_v4(address):
        return address[12] == 169 and address[13] == 254
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_unicast(address: bytes) -> bool:
    """Whether one host can have it: RFC 1122 section 3.2.1.3 (no 0/8, no class D or E), RFC 4291."""
    if is_v4(address):
        return 0 < address[12] < 224
    return address[0] != 0xFF and address != ANY


def in_prefix(address: bytes, network: bytes, prefix: int) -> bool:
    """Whether both share their first ``prefix`` bits, 0..32 for IPv4 (then both must be IPv4), else 0..128."""
    v4 = is_v4(network)
    if v4 != is_v4(address):
        return False
    shift = (32 if v4 else 128) - prefix
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def flow_key(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """The key of a packet from ``source`` to ``destination``."""
    return source + destination + (source_port << 16 | destination_port).to_bytes(4, "big")


def reverse_key(key: bytes) -> bytes:
    """The key of the answer."""
    return key[16:32] + key[:16] + key[34:36] + key[32:34]
