"""IPv4's record route and timestamp options, as an echo reply carries them back (RFC 791 section 3.1, RFC 1122 section
3.2.2.6): with our address where the request came in, and once more where the reply goes out, as Linux has it
(``ip_options_compile``, ``__ip_options_echo``, ``ip_options_build``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

END: Final = 0
NO_OPERATION: Final = 1
RECORD_ROUTE: Final = 7
TIMESTAMP: Final = 68

TS_ONLY: Final = 0
TS_AND_ADDRESS: Final = 1
TS_PRESPECIFIED: Final = 3


class BadOptionError(Exception):
    """An option that is malformed; its argument is the place of the byte that is wrong, within the options."""


class NoRoomError(Exception):
    """A slot is cut off: no reply can be made of it (Linux sends none)."""


class Echo:
    """What the reply carries. ``own`` is our address (4 bytes), ``stamp`` the time (4 bytes); ``is_ours`` says of 4
    bytes whether they are an address that a prespecified timestamp is for."""

    def __init__(self, own: bytes, stamp: bytes, is_ours: Callable[[bytes], bool]) -> None:
        self.own = own
        self.stamp = stamp
        self.is_ours = is_ours
        self.route: bytearray | None = None
        self.times: bytearray | None = None

    def options(self, options: bytes) -> bytes:
        """The options of the reply to a request with ``options``: record route, timestamps, whole words.

        Raises BadOptionError, NoRoomError."""
        self._walk(options)
        made = bytes(self.route or b"") + bytes(self.times or b"")
        return made + bytes(-len(made) % 4)

    def _walk(self, options: bytes) -> None:
        at = 0
        while at < len(options) and options[at] != END:
            kind = options[at]
            if kind == NO_OPERATION:
                at += 1
                continue
            length = options[at + 1] if at + 1 < len(options) else 0
            if length < 2 or at + length > len(options):
                raise BadOptionError(at)
            option = bytearray(options[at : at + length])
            if kind == RECORD_ROUTE:
                self._take_route(option, at)
            elif kind == TIMESTAMP:
                self._take_times(option, at)
            at += length

    def _take_route(self, option: bytearray, at: int) -> None:
        if self.route is not None:
            raise BadOptionError(at)
        if len(option) < 3:
            raise BadOptionError(at + 1)
        if option[2] < 4 or (option[2] <= len(option) < option[2] + 3):
            raise BadOptionError(at + 2)
        self.route = option
        if option[2] <= len(option):
            self._put(option, self.own)
            if option[2] <= len(option):
                self._room(option, 4)
                self._put(option, self.own)

    def _take_times(self, option: bytearray, at: int) -> None:
        if self.times is not None:
            raise BadOptionError(at)
        if len(option) < 4:
            raise BadOptionError(at + 1)
        if option[2] < 5:
            raise BadOptionError(at + 2)
        self.times = option
        if option[2] > len(option):
            self._overflow(option, at)
        else:
            self._fill(option, at)

    def _fill(self, option: bytearray, at: int) -> None:
        flag = option[3] & 15
        if option[2] + (3 if flag not in (TS_AND_ADDRESS, TS_PRESPECIFIED) else 7) > len(option):
            raise BadOptionError(at + 2)
        elif flag == TS_PRESPECIFIED:
            for _ in range(2):  # for the request's way in, and for the reply's way out
                if not self._stamp_if_ours(option):
                    break
        elif flag in (TS_ONLY, TS_AND_ADDRESS):
            self._stamp(option, flag)
            if option[2] <= len(option):
                self._room(option, 4 if flag == TS_ONLY else 8)
                self._stamp(option, flag)

    @staticmethod
    def _overflow(option: bytearray, at: int) -> None:
        """One host more that had no room; after fifteen the packet is in error."""
        if option[3] & 15 == TS_PRESPECIFIED:
            return
        if option[3] >> 4 == 15:
            raise BadOptionError(at + 3)
        option[3] += 16

    def _stamp(self, option: bytearray, flag: int) -> None:
        if flag == TS_AND_ADDRESS:
            self._put(option, self.own)
        self._put(option, self.stamp)

    def _stamp_if_ours(self, option: bytearray) -> bool:
        """The slot at the pointer names us, and gets its time."""
        place = option[2] - 1
        if place + 8 > len(option) or not self.is_ours(bytes(option[place : place + 4])):
            return False
        option[2] += 4
        self._put(option, self.stamp)
        return True

    @staticmethod
    def _put(option: bytearray, four: bytes) -> None:
        place = option[2] - 1
        option[place : place + 4] = four
        option[2] += 4

    @staticmethod
    def _room(option: bytearray, size: int) -> None:
        if option[2] + size - 1 > len(option):
            raise NoRoomError
