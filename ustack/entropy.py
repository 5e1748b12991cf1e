"""Random choices of one Stack: all of them come out of the entropy that was handed in, and nothing else does."""

from __future__ import annotations

from hashlib import blake2b


class Entropy:
    """Numbers that nobody foresees without ``secret`` (1 to 64 bytes); with it they are the same each time."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._drawn = 0

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1; ``limit`` is 1 to 2**32."""
        self._drawn += 1
        draw = blake2b(self._drawn.to_bytes(8, "big"), digest_size=6, key=self._secret).digest()
        return int.from_bytes(draw, "big") * limit >> 48
