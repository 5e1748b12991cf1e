"""TCP headers and options (RFC 9293 section 3.1): bytes to records and back."""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import read_i32_be

from ustack.wire.checksum import checksum, pseudo_sum

FIN: Final = 0x001
SYN: Final = 0x002
RST: Final = 0x004
PSH: Final = 0x008
ACK: Final = 0x010
URG: Final = 0x020
ECE: Final = 0x040
CWR: Final = 0x080
AE: Final = 0x100
"""Accurate ECN (RFC 9768); was NS."""
FLAG_MASK: Final = 0xFFF
"""With the three bits that are still reserved, as they came."""

PROTOCOL: Final = 6
HEADER_LENGTH: Final = 20
MAX_OPTIONS: Final = 40

# Option kinds (IANA)
EOL: Final = 0
NOP: Final = 1
MSS: Final = 2
WSCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
MD5: Final = 19
FAST_OPEN: Final = 34
ACCECN_0: Final = 172
ACCECN_1: Final = 174
EXPERIMENT_1: Final = 253
EXPERIMENT_2: Final = 254
FAST_OPEN_MAGIC: Final = 0xF989
"""RFC 7413 section 4.1.1: Fast Open before its number, as an experiment (RFC 6994)."""

_HEADER: Final = struct.Struct(">HHIIHHHH")
_TWO_WORDS: Final = struct.Struct(">II")


class TcpOptions:
    """What the options of one segment said. Numbers are -1 where the option was absent.

    ``fastopen`` is None when absent, b"" for a cookie request (``fastopen_experimental``: by kind 254). ``order``
    is the kinds in the order seen, padding included. ``malformed`` says that a length was illegal: what stood before it
    counts, what stood behind is ignored (RFC 9293 MUST-7, as Linux does).
    """

    def __init__(self) -> None:
        self.mss = -1
        self.wscale = -1
        self.sack_permitted = False
        self.has_ts = False
        self.ts_val = 0
        self.ts_ecr = 0
        self.sack: list[tuple[int, int]] = []
        self.fastopen: bytes | None = None
        self.fastopen_experimental = False
        self.accecn_kind = -1
        """ACCECN_0 or ACCECN_1 when the option of Accurate ECN was there (RFC 9768 section 3.2.3)."""
        self.accecn = b""
        self.md5: bytes | None = None
        self.experiments: list[tuple[int, bytes]] = []
        self.order: list[int] = []
        self.malformed = False


def split_options(options: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Kind and body of each option in order, padding included, up to the end of the list; and whether a length
    was illegal, which ends it too."""
    items: list[tuple[int, bytes]] = []
    at = 0
    end = len(options)
    while at < end:
        kind = options[at]
        if kind <= NOP:
            items.append((kind, b""))
            if kind == EOL:
                break
            at += 1
            continue
        length = options[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            return items, True
        items.append((kind, options[at + 2 : at + length]))
        at += length
    return items, False


def parse_options(options: bytes) -> TcpOptions:
    """Reads option bytes, whatever they are: never raises (RFC 9293 section 3.2)."""
    found = TcpOptions()
    items, found.malformed = split_options(options)
    for kind, body in items:
        found.order.append(kind)
        if kind > NOP:
            _take_option(found, kind, body)
    return found


def _take_option(found: TcpOptions, kind: int, body: bytes) -> None:
    """One option with a legal length; one whose size is not the kind's own is ignored, as Linux does."""
    size = len(body)
    if kind == TIMESTAMPS and size == 8:
        found.has_ts = True
        found.ts_val = int(read_i32_be(body, 0)) & 0xFFFFFFFF
        found.ts_ecr = int(read_i32_be(body, 4)) & 0xFFFFFFFF
    elif kind == SACK and size and size % 8 == 0:
        found.sack = [(start, end) for start, end in _TWO_WORDS.iter_unpack(body)]
    elif kind == MSS and size == 2:
        found.mss = body[0] << 8 | body[1]
    elif kind == WSCALE and size == 1:
        found.wscale = body[0]
    elif kind == SACK_PERMITTED and size == 0:
        found.sack_permitted = True
    else:
        _take_rare_option(found, kind, body)


def _take_rare_option(found: TcpOptions, kind: int, body: bytes) -> None:
    if kind == FAST_OPEN:
        found.fastopen = body
        found.fastopen_experimental = False
    elif kind in (ACCECN_0, ACCECN_1):
        found.accecn_kind = kind
        found.accecn = body
    elif kind == MD5 and len(body) == 16:
        found.md5 = body
    elif kind in (EXPERIMENT_1, EXPERIMENT_2):
        found.experiments.append((kind, body))
        if len(body) >= 2 and body[0] << 8 | body[1] == FAST_OPEN_MAGIC and found.fastopen is None:
            found.fastopen = body[2:]
            found.fastopen_experimental = True


def pad_options(options: bytes) -> bytes:
    """Options filled with zeros (end of list) to whole words (RFC 9293 MUST-69); ValueError beyond 40 bytes."""
    padded = options + bytes(-len(options) % 4)
    if len(padded) > MAX_OPTIONS:
        raise ValueError(f"{len(options)} bytes of TCP options: at most {MAX_OPTIONS} fit")
    return padded


class TcpHeader:
    """The fields that a sender fills in: what :func:`build_segment` writes."""

    def __init__(
        self, source_port: int, destination_port: int, seq: int, ack: int, flags: int, window: int, urgent: int = 0
    ) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = urgent


def build_segment(
    source: bytes, destination: bytes, header: TcpHeader, options: bytes = b"", payload: bytes = b""
) -> bytes:
    """TCP header and text with the right checksum, without IP; the addresses are 16 bytes each."""
    options = pad_options(options)
    head = _HEADER.pack(
        header.source_port,
        header.destination_port,
        header.seq & 0xFFFFFFFF,
        header.ack & 0xFFFFFFFF,
        (HEADER_LENGTH + len(options)) // 4 << 12 | header.flags & FLAG_MASK,
        header.window,
        0,
        header.urgent,
    )
    segment = head + options + payload
    total = checksum(segment, pseudo_sum(source, destination, PROTOCOL, len(segment)))
    return segment[:16] + total.to_bytes(2, "big") + segment[18:]
