"""The options of SOL_SOCKET."""

from __future__ import annotations

import errno
import struct
from typing import Final

from ustack.socket.address import sockaddr
from ustack.socket.core import Core, failure
from ustack.socket.option import (
    INT_MAX,
    INT_MIN,
    SOL_SOCKET,
    STAMPS,
    Adjusted,
    Advice,
    Flag,
    Nothing,
    Number,
    Option,
    Refused,
    Remembered,
    Told,
    pack_int,
    unpack_int,
)
from ustack.socket.stream import StreamCore
from ustack.sockopts import UNLIMITED
from ustack.tcp.sender import buffer

SOCK_MIN_SNDBUF: Final = 4608
SOCK_MIN_RCVBUF: Final = 2304


class BufferSize(Option):
    """SO_RCVBUF and SO_SNDBUF: doubled, for the kernel's own book-keeping, and bounded. A buffer that was set
    is no longer tuned."""

    def __init__(self, field: str, least: int, *, force: bool = False) -> None:
        self.field = field
        self.smallest = least
        self.force = force

    def set(self, core: Core, data: bytes) -> None:
        settings = core.net.stack.settings
        most = settings.rmem_max if self.field == "rcvbuf" else settings.wmem_max
        value = unpack_int(data)
        value = min(max(value, 0), INT_MAX // 2) if self.force else min(value & 0xFFFFFFFF, most)
        setattr(core.options, self.field, max(value * 2, self.smallest))
        core.option_changed(self.field)

    def get(self, core: Core) -> bytes:
        if self.force:
            raise failure(errno.ENOPROTOOPT)
        return pack_int(buffer_size(core, self.field))


def buffer_size(core: Core, field: str) -> int:
    """What SO_RCVBUF or SO_SNDBUF reads back as."""
    chosen = int(getattr(core.options, field))
    if chosen:
        return chosen
    settings = core.net.stack.settings
    if isinstance(core, StreamCore):
        tuned = core.tuned_buffer(field)
        return tuned or (settings.tcp_rmem[1] if field == "rcvbuf" else settings.tcp_wmem[1])
    return settings.rmem_default if field == "rcvbuf" else settings.wmem_default


def _rcvlowat(core: Core, value: int) -> int:
    if value < 0:
        value = INT_MAX
    if isinstance(core, StreamCore):
        cap = core.options.rcvbuf or core.net.stack.settings.tcp_rmem[2]
        value = min(value, cap // 2)
    return value or 1


class Linger(Option):
    """SO_LINGER: ``struct linger``. What l_linger was stays readable when it is switched off."""

    least = 8

    def set(self, core: Core, data: bytes) -> None:
        on, seconds = struct.unpack("=ii", data[:8])
        if on:
            core.linger_s = seconds if seconds >= 0 else INT_MAX
        core.options.linger_s = core.linger_s if on else -1
        core.option_changed("linger_s")

    def get(self, core: Core) -> bytes:
        return struct.pack("=ii", core.options.linger_s >= 0, core.linger_s)


class Timeval(Option):
    """SO_RCVTIMEO and SO_SNDTIMEO: ``struct timeval``; zero is for ever."""

    least = 16

    def __init__(self, field: str) -> None:
        self.field = field

    def set(self, core: Core, data: bytes) -> None:
        seconds, micros = struct.unpack("=qq", data[:16])
        if not 0 <= micros < 1_000_000:
            raise failure(errno.EDOM)
        setattr(core, self.field, (seconds * 1_000_000 + micros) * 1000 if seconds >= 0 else 0)

    def get(self, core: Core) -> bytes:
        micros = int(getattr(core, self.field)) // 1000
        return struct.pack("=qq", micros // 1_000_000, micros % 1_000_000)


class PacingRate(Option):
    """SO_MAX_PACING_RATE: 32 bits or 64, bytes per second, all ones for no limit."""

    def set(self, core: Core, data: bytes) -> None:
        wide = len(data) >= 8
        rate = int.from_bytes(data[: 8 if wide else 4], "little")
        unlimited = rate == (0xFFFFFFFFFFFFFFFF if wide else 0xFFFFFFFF)
        core.options.max_pacing_rate = UNLIMITED if unlimited else min(rate, UNLIMITED)
        core.option_changed("max_pacing_rate")

    def get(self, core: Core) -> bytes:
        rate = core.options.max_pacing_rate
        return (0xFFFFFFFFFFFFFFFF if rate >= UNLIMITED else rate).to_bytes(8, "little")


class LockFilter(Remembered):
    """SO_LOCK_FILTER: once locked, for ever."""

    def __init__(self) -> None:
        super().__init__(flag=True)

    def set(self, core: Core, data: bytes) -> None:
        if core.stored.get(self.at) and not unpack_int(data):
            raise failure(errno.EPERM)
        super().set(core, data)


class TxRehash(Remembered):
    """SO_TXREHASH: of streams, -1 is 1. There is one way out, whatever the hash of a flow."""

    def set(self, core: Core, data: bytes) -> None:
        self._check(core)
        super().set(core, data)

    def get(self, core: Core) -> bytes:
        self._check(core)
        return pack_int(abs(unpack_int(super().get(core))))

    @staticmethod
    def _check(core: Core) -> None:
        if not isinstance(core, StreamCore):
            raise failure(errno.EOPNOTSUPP)


class BindToDevice(Option):
    """SO_BINDTODEVICE: a Host has one device; its name is taken, any other is ENODEV."""

    least = 0
    shortest_null = 0

    def set(self, core: Core, data: bytes) -> None:
        name = data[:15].split(b"\0")[0].decode("ascii", "replace")
        if name and name != core.net.device_name:
            raise failure(errno.ENODEV)
        core.stored[SOL_SOCKET, 25] = int(bool(name))

    def get(self, core: Core) -> bytes:
        return core.net.device_name.encode() + b"\0" if core.stored.get((SOL_SOCKET, 25)) else b""


def _cookie(core: Core) -> bytes:
    core.cookie = core.cookie or core.net.cookie()
    return core.cookie.to_bytes(8, "little")


def _meminfo(core: Core) -> bytes:
    """SO_MEMINFO: rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued, optmem, backlog, drops."""
    listening = isinstance(core, StreamCore) and core.listener is not None
    unread, unsent = (0, 0) if listening else (core.unread(), core.unsent())
    queued = unsent
    if isinstance(core, StreamCore) and core.connection is not None:
        queued = buffer.queued(core.connection.sender)
    sizes = (unread, buffer_size(core, "rcvbuf"), unsent, buffer_size(core, "sndbuf"), 0, queued, 0, 0, 0)
    return struct.pack("=9I", *sizes)


def _peer_name(core: Core) -> bytes:
    connection = core.connection if isinstance(core, StreamCore) else None
    address, port = core.peer_name() if connection is None else connection.remote  # told after the end, too
    return sockaddr(core.family, address, port)


class Stamps(Option):
    """SO_TIMESTAMP and its kin: one of them at a time says in which form recvmsg() tells when the text arrived.

    The new forms are the old ones on 64 bits; whichever is switched off, all are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def set(self, core: Core, data: bytes) -> None:
        core.stored[STAMPS] = self.number if unpack_int(data) else 0

    def get(self, core: Core) -> bytes:
        return pack_int(int(core.stored.get(STAMPS) == self.number))


TABLE: Final[dict[int, Option]] = {
    1: Remembered(flag=True),  # SO_DEBUG
    2: Flag("reuseaddr"),
    3: Told(lambda core: core.kind),
    4: Told(lambda core: core.take_any_error()),
    5: Remembered(flag=True),  # SO_DONTROUTE
    6: Flag("broadcast"),
    7: BufferSize("sndbuf", SOCK_MIN_SNDBUF),
    8: BufferSize("rcvbuf", SOCK_MIN_RCVBUF),
    9: Flag("keepalive"),
    10: Flag("oobinline"),
    11: Remembered(flag=True),  # SO_NO_CHECK
    12: Number("priority", INT_MIN, INT_MAX),
    13: Linger(),
    14: Nothing(),  # SO_BSDCOMPAT
    15: Flag("reuseport"),
    16: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSCRED
    17: Told(lambda core: struct.pack("=Iii", 0, -1, -1)),  # SO_PEERCRED: no credentials
    18: Adjusted("rcvlowat", _rcvlowat),
    19: Told(lambda core: 1),  # SO_SNDLOWAT
    20: Timeval("rcvtimeo"),
    21: Timeval("sndtimeo"),
    25: BindToDevice(),
    27: Refused(errno.ENOENT, errno.ENOPROTOOPT),  # SO_DETACH_FILTER: none is attached
    28: Told(_peer_name),
    29: Stamps(29),  # SO_TIMESTAMP
    30: Told(lambda core: int(isinstance(core, StreamCore) and core.listener is not None)),
    32: BufferSize("sndbuf", SOCK_MIN_SNDBUF, force=True),
    33: BufferSize("rcvbuf", SOCK_MIN_RCVBUF, force=True),
    34: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSSEC
    35: Stamps(35),  # SO_TIMESTAMPNS
    36: Number("mark", INT_MIN, INT_MAX),
    38: Told(lambda core: core.protocol),
    39: Told(lambda core: core.family),
    40: Remembered(flag=True),  # SO_RXQ_OVFL
    41: Remembered(flag=True),  # SO_WIFI_STATUS
    43: Remembered(flag=True),  # SO_NOFCS
    44: LockFilter(),
    45: Remembered(flag=True),  # SO_SELECT_ERR_QUEUE
    46: Remembered(low=0),  # SO_BUSY_POLL
    47: PacingRate(),
    49: Remembered(-1),  # SO_INCOMING_CPU
    53: Advice(),  # SO_CNX_ADVICE: there is one route
    55: Told(_meminfo),
    56: Told(lambda core: 0),  # SO_INCOMING_NAPI_ID
    57: Told(_cookie),
    59: Refused(errno.ENOPROTOOPT, errno.ENODATA),  # SO_PEERGROUPS: of AF_UNIX
    60: Remembered(0, 0, 1),  # SO_ZEROCOPY: taken, and every send copies
    63: Stamps(63),  # SO_TIMESTAMP_NEW
    64: Stamps(64),  # SO_TIMESTAMPNS_NEW
    66: Timeval("rcvtimeo"),  # SO_RCVTIMEO_NEW: the same on 64 bits
    67: Timeval("sndtimeo"),
    68: Refused(errno.EINVAL, errno.ENOPROTOOPT),  # SO_DETACH_REUSEPORT_BPF: none is attached
    69: Remembered(flag=True),  # SO_PREFER_BUSY_POLL
    70: Advice(0, 0xFFFF),  # SO_BUSY_POLL_BUDGET
    72: Remembered(0, 0, 3),  # SO_BUF_LOCK
    74: TxRehash(1, -1, 1),
    75: Remembered(flag=True),  # SO_RCVMARK
    76: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSPIDFD
    77: Refused(errno.ENOPROTOOPT, errno.ENODATA),  # SO_PEERPIDFD: of AF_UNIX
    82: Remembered(flag=True),  # SO_RCVPRIORITY
    83: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSRIGHTS: of AF_UNIX
}
