"""The bytes that everybody here sends: known at every place, so that whatever arrives can be judged."""

from __future__ import annotations

import random

PERIOD = 65521
"""A prime: no two places a power of two apart look alike."""

_TABLE = random.Random(9293).randbytes(PERIOD) * 2


def text(at: int, length: int) -> bytes:
    """The bytes [at, at + length) of the one stream."""
    parts = []
    while length > 0:
        start = at % PERIOD
        part = _TABLE[start : start + min(length, PERIOD)]
        parts.append(part)
        at += len(part)
        length -= len(part)
    return b"".join(parts)


def wire_text(at: int, length: int) -> bytes:
    """The same where places are 32-bit numbers: a segment may lie across the wrap."""
    at &= 0xFFFFFFFF
    before = min(length, (1 << 32) - at)
    return text(at, before) + text(0, length - before)
