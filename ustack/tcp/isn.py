"""Initial sequence numbers and timestamp offsets (RFC 6528, once RFC 1948; RFC 7323 section 5.4).

ISN = M + F(local, remote, secret). M ticks every 4 us, so one turn takes 4.77 h of 2^32 ticks.
F is BLAKE2s with a key: the standard library carries it, it is a keyed hash by design (SipHash
is not reachable from Python: ``hash()`` is keyed per process and not per Stack), and one call costs
about a microsecond, once for each connection. The secret belongs to one Stack.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

TICK: Final = 4_000
"""Nanoseconds of one step of M (RFC 9293 section 3.4.1: about 4 us)."""


class IsnGenerator:
    """ISNs and timestamp offsets of one Stack. ``secret``: 16 to 32 random bytes that never leave it."""

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 32:
            raise ValueError("the secret of an ISN generator is 16 to 32 bytes")
        self.secret = secret

    def _hash(self, key: bytes, purpose: bytes) -> int:
        return int.from_bytes(blake2s(key, digest_size=4, key=self.secret, person=purpose).digest(), "big")

    def isn(self, key: bytes, now: int) -> int:
        """The ISN for a connection named by its 36-byte key (as received), at instant ``now``; 32 bits."""
        return (now // TICK + self._hash(key, b"isn")) & 0xFFFFFFFF

    def timestamp_offset(self, key: bytes) -> int:
        """What is added to the millisecond clock in TSval: per address pair, as Linux does (RFC 7323 section 5.4),

        so that the clock of one peer never goes back from one connection to the next."""
        return self._hash(key[:32], b"ts")
