"""UDP headers (RFC 768)."""

from __future__ import annotations

import struct
from typing import Final

from ustack.wire.checksum import checksum, pseudo_sum

PROTOCOL: Final = 17
HEADER_LENGTH: Final = 8
MAX_PAYLOAD_V4: Final = 65507
"""65535 - 20 - 8; EMSGSIZE above it."""
MAX_PAYLOAD_V6: Final = 65527
"""65535 - 8: the IPv6 header does not count in its own payload length."""

_HEADER: Final = struct.Struct(">HHHH")


def build(source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """UDP header and payload with checksum, without IP; the addresses are 16 bytes each.

    A sum of zero leaves as 0xFFFF, since zero says "no checksum" (RFC 768). ValueError beyond 65535 bytes.
    """
    length = HEADER_LENGTH + len(payload)
    if length > 65535:
        raise ValueError(f"a UDP datagram of {length} bytes: at most 65535 fit")
    bare = _HEADER.pack(source_port, destination_port, length, 0) + payload
    total = checksum(bare, pseudo_sum(source, destination, PROTOCOL, length)) or 0xFFFF
    return bare[:6] + total.to_bytes(2, "big") + payload
