"""Floor 5: the only door to the C core. It moves bytes; what they mean is decided above.

Every call into C drops the GIL, so one Receiver or ring belongs to one stack, under that stack's lock.
Payloads arrive as *handles*: ints that name a run in the arena of the batch they came with. They and all
views of the arena die at the next ``receive``; a ring refuses a dead handle with ValueError.
"""

from ustack.native.core import (
    WATCHED_BELL,
    WATCHED_LEFT_OVER,
    WATCHED_LONG,
    WATCHED_TAKEN,
    checksum,
    wait,
    watch,
)
from ustack.native.receiver import APART, ARENA_SIZE, FRAMES, Receiver, payload_bytes
from ustack.native.rings import NativeReceiveRing, NativeRings, NativeSendRing
from ustack.native.send import TRANSMIT, cut, send

__all__ = [
    "APART",
    "ARENA_SIZE",
    "FRAMES",
    "TRANSMIT",
    "WATCHED_BELL",
    "WATCHED_LEFT_OVER",
    "WATCHED_LONG",
    "WATCHED_TAKEN",
    "NativeReceiveRing",
    "NativeRings",
    "NativeSendRing",
    "Receiver",
    "checksum",
    "cut",
    "payload_bytes",
    "send",
    "wait",
    "watch",
]
