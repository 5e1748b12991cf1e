"""Initial sequence numbers and timestamp offsets (RFC 6528, once RFC 1948; RFC 7323 section 5.4).

ISN = M + F(local, remote, secret). M ticks every 4 us, so one turn takes 4.77 h of 2^32 ticks.
F is BLAKE2s with a key: the standard library carries it, it is a keyed hash by design (SipHash
is not reachable from Python: ``hash()`` is keyed per process and not per Stack), and one call costs
about a microsecond, once for each connection. The secret belongs to one Stack.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Any, Final

from mypy_extensions import mypyc_attr

TICK: Final = 4_000
"""Nanoseconds of one step of M (RFC 9293 section 3.4.1: about 4 us)."""


MOST_OFFSETS: Final = 64
"""Address pairs that are remembered: a flood of others costs a hash each, and no memory."""


@mypyc_attr(allow_interpreted_subclasses=True)
class IsnGenerator:
    """ISNs and timestamp offsets of one Stack. ``secret``: 16 to 32 random bytes that never leave it."""

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 32:
            raise ValueError("the secret of an ISN generator is 16 to 32 bytes")
        self.secret = secret
        self._isn: Any = blake2s(digest_size=4, key=secret, person=b"isn")
        self._ts: Any = blake2s(digest_size=4, key=secret, person=b"ts")
        self._offsets: dict[bytes, int] = {}
        """By address pair, the latest ones: each is asked for several times in a handshake."""

    def _hash(self, keyed: Any, key: bytes) -> int:
        """``keyed`` has the secret and the purpose in it; a copy of it is cheaper than a new one."""
        fresh = keyed.copy()
        fresh.update(key)
        digest: bytes = fresh.digest()
        return int.from_bytes(digest, "big")

    def isn(self, key: bytes, now: int) -> int:
        """The ISN for a connection named by its 36-byte key (as received), at instant ``now``; 32 bits."""
        return (now // TICK + self._hash(self._isn, key)) & 0xFFFFFFFF

    def timestamp_offset(self, key: bytes) -> int:
        """What is added to the millisecond clock in TSval: per address pair, as Linux does (RFC 7323 section 5.4),

        so that the clock of one peer never goes back from one connection to the next."""
        pair = key[:32]
        offset = self._offsets.get(pair, -1)
        if offset < 0:
            offset = self._hash(self._ts, pair)
            if len(self._offsets) >= MOST_OFFSETS:
                self._offsets.clear()
            self._offsets[pair] = offset
        return offset
