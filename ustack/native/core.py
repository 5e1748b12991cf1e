"""The compiled core itself, and the calls that stand alone. Its types end in this package."""

import os
from collections.abc import Sequence
from typing import Any, Final

try:
    from ustack._native import ffi, lib
except ModuleNotFoundError as missing:
    raise ImportError(f"no C core beside {__file__}: pip install . builds it, python -P skips this folder") from missing
from ustack.wire.frame import DESCRIPTOR

__all__ = [
    "MODE_TRUSTED",
    "MODE_VNET",
    "WATCHED_BELL",
    "WATCHED_LEFT_OVER",
    "WATCHED_LONG",
    "WATCHED_TAKEN",
    "allocate",
    "checksum",
    "ffi",
    "lib",
    "strerror",
    "wait",
    "watch",
]

MODE_VNET: Final = 1
MODE_TRUSTED: Final = 2

WATCHED_LONG: Final = 0
WATCHED_BELL: Final = 1
WATCHED_LEFT_OVER: Final = 2
WATCHED_TAKEN: Final = 3
"""enum us_watched of native/cdef.h."""

if ffi.sizeof("struct us_descriptor") != DESCRIPTOR.size or not hasattr(lib, "us_ring_restart"):
    raise ImportError("ustack._native was built from other sources than this ustack: install again")

allocate: Any = ffi.new_allocator(lib.us_alloc, lib.us_free, should_clear_after_alloc=False)


def strerror(code: int) -> OSError:
    """The OSError that ``code``, a positive errno, stands for."""
    return OSError(code, os.strerror(code))


def checksum(data: object, initial: int = 0) -> int:
    """The internet checksum of ``data`` (RFC 1071) as the number that goes into the packet.

    ``initial`` is a sum to start from, as of a pseudo-header: big-endian 16-bit words added up, or one big number.
    """
    view = ffi.from_buffer("uint8_t[]", data)
    folded = (initial % 0xFFFF or 0xFFFF) if initial else 0
    return int(lib.us_checksum(view, len(view), folded))


def wait(fds: Sequence[int], timeout_ns: int) -> int:
    """Waits until one of ``fds`` is readable, closed or broken; ``timeout_ns`` below 0 is for ever.

    Returns a bit for each that is (bit 0 is ``fds[0]``), 0 at the timeout or when a signal came: the caller,
    being interpreted, then lets Python run its handlers. At most 31 descriptors.
    """
    ready: int = lib.us_wait(fds, len(fds), timeout_ns)
    if ready < 0:
        raise strerror(-ready)
    return ready


def watch(fds: Sequence[int], turns: object, timeout_ns: int, tick_ns: int, grace_ns: int) -> int:
    """Waits until a packet lies at the device that nobody comes for; ``timeout_ns`` below 0 is for ever.

    ``fds`` are a bell, the device, and a descriptor that is readable when the bell is or the device is armed and has
    something. ``turns`` is a buffer of one int64: odd while somebody reads the device, another number whenever that
    changes. The device is looked at each ``tick_ns``, or (0) when the third descriptor becomes readable; a packet that
    was seen is nobody's when it lies there for ``grace_ns`` more and nobody has read or left meanwhile.

    Returns WATCHED_LONG at the timeout, WATCHED_BELL, WATCHED_LEFT_OVER for such a packet, and, when it waits for the
    third descriptor, WATCHED_TAKEN for one that somebody has come for.
    """
    found: int = lib.us_watch(fds, ffi.from_buffer("int64_t[]", turns), timeout_ns, tick_ns, grace_ns)
    if found < 0:
        raise strerror(-found)
    return found
