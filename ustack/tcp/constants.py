"""Numbers of TCP that no knob changes; each with its unit, source and precedent."""

from __future__ import annotations

from typing import Final

from ustack.units import MILLISECOND, SECOND

DEFAULT_MSS_V4: Final = 536
"""Bytes assumed when an IPv4 SYN carries no MSS option (RFC 9293 section 3.7.1, MUST-15)."""
DEFAULT_MSS_V6: Final = 1220
"""The same for IPv6."""

MIN_MSS: Final = 88
"""Linux's TCP_MIN_MSS: no segment of a peer is taken for a full one that is shorter."""

TIMESTAMP_SPACE: Final = 12
"""NOP NOP TS on every segment takes this much of the MSS (RFC 7323 appendix A)."""

MAX_WINDOW: Final = 65535
MAX_WSCALE: Final = 14
"""RFC 7323 section 2.3."""

ATO_MIN: Final = 40 * MILLISECOND
"""Least delay of a delayed ACK; Linux's TCP_ATO_MIN and TCP_DELACK_MIN (RFC 9293: below 500 ms)."""
DELACK_MAX: Final = 200 * MILLISECOND
"""Most delay in interactive mode; Linux's TCP_DELACK_MAX."""
JIFFY: Final = MILLISECOND
"""Delay of the ACK of a FIN before which no text came: Linux's delay is zero, so its timer fires at the next tick."""
MAX_QUICKACKS: Final = 16
"""ACKs sent at once at the start of a connection; Linux's TCP_MAX_QUICKACKS."""

PAWS_IDLE: Final = 24 * 24 * 3600 * SECOND
"""After 24 days without a segment a timestamp proves nothing (RFC 7323 section 5.5)."""
PAWS_WINDOW: Final = 1
"""Ticks by which a timestamp may be late within the replay window; Linux's TCP_PAWS_WINDOW."""

MAX_RUN: Final = 512 * 1024
"""Most bytes of one Transmit. A descriptor is no IP packet: the device cuts it (house.md)."""

GSO_MAX: Final = 65536
"""Linux's largest super-segment, bytes with its headers (GSO_LEGACY_MAX_SIZE)."""
MAX_SACK_BLOCKS: Final = 4
"""Blocks that fit 40 bytes of options (RFC 2018 section 3); three beside timestamps."""

MODEL_RTO_MIN: Final = 200 * MILLISECOND
"""tcp_retries1 and tcp_retries2 are turned into a time with this RTO (Linux's TCP_RTO_MIN)."""
RESOURCE_PROBE_INTERVAL: Final = 500 * MILLISECOND
ORPHAN_RETRIES: Final = 8
"""What tcp_orphan_retries = 0 means."""
