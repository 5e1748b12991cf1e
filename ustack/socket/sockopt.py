"""setsockopt() and getsockopt(): one table from (level, number) to what Linux does with it.

Defaults, ranges, what a value reads back as, and the errno of a bad value or length are those of Linux 6.18:
``tests/socket/test_socket_options.py`` asks a kernel socket and a ustack socket the same questions. Options that mean nothing
to a stack in user space (SO_BUSY_POLL, SO_INCOMING_CPU, ...) are remembered and otherwise harmless.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from ustack.congestion import ALGORITHMS
from ustack.socket.address import sockaddr
from ustack.socket.core import Core, failure
from ustack.socket.stream import StreamCore
from ustack.socket.tcpinfo import pack_tcp_info
from ustack.sockopts import UNLIMITED
from ustack.tcp.state import State

INT_MAX: Final = 2**31 - 1
INT_MIN: Final = -(2**31)
SOL_SOCKET: Final = int(socket.SOL_SOCKET)
IPPROTO_IP: Final = 0
IPPROTO_TCP: Final = 6
IPPROTO_IPV6: Final = 41

SOCK_MIN_SNDBUF: Final = 4608
SOCK_MIN_RCVBUF: Final = 2304
MAX_TCP_WINDOW: Final = 32767
TCP_MIN_MSS: Final = 88
FIN_TIMEOUT_MAX_S: Final = 120


def pack_int(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def unpack_int(data: bytes) -> int:
    return int.from_bytes(data[:4], "little", signed=True)


class Option:
    """One row of the table. ``set`` gets the bytes as the application gave them, ``get`` returns all that there is
    (the caller cuts it to the application's length). Here: an option that can be neither set nor read."""

    least = 4
    """Fewer bytes than this are EINVAL (levels below SOL_SOCKET bend that: see ``_read_int``)."""

    def set(self, core: Core, data: bytes) -> None:
        raise failure(errno.ENOPROTOOPT)

    def get(self, core: Core) -> bytes:
        raise failure(errno.ENOPROTOOPT)


class Number(Option):
    """An int in a field of SocketOptions. ``low`` to ``high``, else EINVAL; zero in the field reads as ``default``."""

    def __init__(
        self, field: str, low: int, high: int, default: Callable[[Core], int] | None = None, unset: int = 0
    ) -> None:
        self.field = field
        self.low = low
        self.high = high
        self.default = default
        self.unset = unset

    def accept(self, core: Core, value: int) -> int:
        """The value to keep; raises EINVAL."""
        if not self.low <= value <= self.high:
            raise failure(errno.EINVAL)
        return value

    def set(self, core: Core, data: bytes) -> None:
        setattr(core.options, self.field, self.accept(core, unpack_int(data)))
        core.option_changed(self.field)

    def get(self, core: Core) -> bytes:
        value = int(getattr(core.options, self.field))
        if self.default is not None and value == self.unset:
            value = self.default(core)
        return pack_int(value)


class Flag(Number):
    """A bool: anything but zero is true. ``strict``: only 0 and 1 are taken."""

    def __init__(self, field: str, *, strict: bool = False) -> None:
        super().__init__(field, 0 if strict else INT_MIN, 1 if strict else INT_MAX)

    def set(self, core: Core, data: bytes) -> None:
        setattr(core.options, self.field, bool(self.accept(core, unpack_int(data))))
        core.option_changed(self.field)


class Adjusted(Number):
    """A number that Linux bends into its range instead of refusing it."""

    def __init__(
        self, field: str, adjust: Callable[[Core, int], int], default: Callable[[Core], int] | None = None
    ) -> None:
        super().__init__(field, INT_MIN, INT_MAX, default)
        self.adjust = adjust

    def accept(self, core: Core, value: int) -> int:
        return self.adjust(core, value)


class Remembered(Option):
    """Harmless here: kept and read back."""

    def __init__(self, default: int = 0, low: int = INT_MIN, high: int = INT_MAX, *, flag: bool = False) -> None:
        self.default = default
        self.low = low
        self.high = high
        self.flag = flag
        self.at = (0, 0)

    def set(self, core: Core, data: bytes) -> None:
        value = unpack_int(data)
        if not self.low <= value <= self.high:
            raise failure(errno.EINVAL)
        core.stored[self.at] = int(bool(value)) if self.flag else value

    def get(self, core: Core) -> bytes:
        return pack_int(core.stored.get(self.at, self.default))


class Told(Option):
    """Can be read only. ``tell`` returns an int, or the bytes of a struct."""

    def __init__(self, tell: Callable[[Any], int | bytes]) -> None:
        self.tell = tell

    def get(self, core: Core) -> bytes:
        told = self.tell(core)
        return told if isinstance(told, bytes) else pack_int(told)


class Refused(Option):
    """Setting fails with ``on_set``, reading with ``on_get``."""

    def __init__(self, on_set: int, on_get: int) -> None:
        self.on_set = on_set
        self.on_get = on_get

    def set(self, core: Core, data: bytes) -> None:
        raise failure(self.on_set)

    def get(self, core: Core) -> bytes:
        raise failure(self.on_get)


# SOL_SOCKET


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
        if self.force:
            value = min(max(value, 0), INT_MAX // 2)
        else:
            value = min(value & 0xFFFFFFFF, most)
        setattr(core.options, self.field, max(value * 2, self.smallest))
        core.option_changed(self.field)

    def get(self, core: Core) -> bytes:
        if self.force:
            raise failure(errno.ENOPROTOOPT)
        return pack_int(_buffer_size(core, self.field))


def _buffer_size(core: Core, field: str) -> int:
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


class BindToDevice(Option):
    """SO_BINDTODEVICE: a Host has one device; its name is taken, any other is ENODEV."""

    least = 0

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
    sizes = (unread, _buffer_size(core, "rcvbuf"), unsent, _buffer_size(core, "sndbuf"), 0, unsent, 0, 0, 0)
    return struct.pack("=9I", *sizes)


def _peer_name(core: Core) -> bytes:
    address, port = core.peer_name()
    return sockaddr(core.family, address, port)


_SOCKET: Final[dict[int, Option]] = {
    1: Remembered(flag=True),  # SO_DEBUG
    2: Flag("reuseaddr"),
    3: Told(lambda core: core.kind),
    4: Told(lambda core: core.take_error()),
    5: Remembered(flag=True),  # SO_DONTROUTE
    6: Flag("broadcast"),
    7: BufferSize("sndbuf", SOCK_MIN_SNDBUF),
    8: BufferSize("rcvbuf", SOCK_MIN_RCVBUF),
    9: Flag("keepalive"),
    10: Flag("oobinline"),
    11: Remembered(flag=True),  # SO_NO_CHECK
    12: Number("priority", INT_MIN, INT_MAX),
    13: Linger(),
    14: Remembered(low=INT_MIN),  # SO_BSDCOMPAT, replaced below
    15: Flag("reuseport"),
    16: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSCRED
    17: Told(lambda core: struct.pack("=Iii", 0, -1, -1)),  # SO_PEERCRED: no credentials
    18: Adjusted("rcvlowat", _rcvlowat),
    19: Told(lambda core: 1),  # SO_SNDLOWAT
    20: Timeval("rcvtimeo"),
    21: Timeval("sndtimeo"),
    25: BindToDevice(),
    28: Told(_peer_name),
    29: Remembered(flag=True),  # SO_TIMESTAMP
    30: Told(lambda core: int(isinstance(core, StreamCore) and core.listener is not None)),
    32: BufferSize("sndbuf", SOCK_MIN_SNDBUF, force=True),
    33: BufferSize("rcvbuf", SOCK_MIN_RCVBUF, force=True),
    34: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSSEC
    35: Remembered(flag=True),  # SO_TIMESTAMPNS
    36: Number("mark", INT_MIN, INT_MAX),
    38: Told(lambda core: core.protocol),
    39: Told(lambda core: core.family),
    40: Remembered(flag=True),  # SO_RXQ_OVFL
    41: Remembered(flag=True),  # SO_WIFI_STATUS
    43: Remembered(flag=True),  # SO_NOFCS
    44: Remembered(flag=True),  # SO_LOCK_FILTER
    45: Remembered(flag=True),  # SO_SELECT_ERR_QUEUE
    46: Remembered(low=0),  # SO_BUSY_POLL
    47: PacingRate(),
    49: Remembered(-1),  # SO_INCOMING_CPU
    55: Told(_meminfo),
    56: Told(lambda core: 0),  # SO_INCOMING_NAPI_ID
    57: Told(_cookie),
    60: Remembered(0, 0, 1),  # SO_ZEROCOPY: taken, and every send copies
    63: Remembered(flag=True),  # SO_TIMESTAMP_NEW
    64: Remembered(flag=True),  # SO_TIMESTAMPNS_NEW
    69: Remembered(flag=True),  # SO_PREFER_BUSY_POLL
    72: Remembered(0, 0, 3),  # SO_BUF_LOCK
    75: Remembered(flag=True),  # SO_RCVMARK
    76: Refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP),  # SO_PASSPIDFD
    82: Remembered(flag=True),  # SO_RCVPRIORITY
}


class Nothing(Remembered):
    """Taken and without any effect, not even on what is read back."""

    def set(self, core: Core, data: bytes) -> None:
        if not self.low <= unpack_int(data) <= self.high:
            raise failure(errno.EINVAL)


_SOCKET[14] = Nothing()


# IPPROTO_TCP


def _settings(name: str, scale: int = 1) -> Callable[[Core], int]:
    return lambda core: int(getattr(core.net.stack.settings, name)) // scale


class MaxSegment(Number):
    """TCP_MAXSEG: the user's bound before the connection, the MSS in use on it."""

    def accept(self, core: Core, value: int) -> int:
        if value and not TCP_MIN_MSS <= value <= MAX_TCP_WINDOW:
            raise failure(errno.EINVAL)
        return value

    def get(self, core: Core) -> bytes:
        assert isinstance(core, StreamCore)
        if core.connection is not None and core.connection.state is not State.CLOSED:
            return pack_int(core.connection.info(core.now()).tcpi_snd_mss)
        return pack_int(core.options.maxseg or 536)


def _linger2(core: Core, value: int) -> int:
    return -1 if value < 0 else min(value, FIN_TIMEOUT_MAX_S)


def _defer_accept(core: Core, seconds: int) -> int:
    """Seconds are kept as a number of SYN-ACK resends, 1 s, 2 s, ... apart: what is read back is their sum."""
    if seconds <= 0:
        return 0
    period = gap = count = 1
    while seconds > period and count < 255:
        count += 1
        gap = min(gap * 2, 120)
        period += gap
    return period


class WindowClamp(Number):
    """TCP_WINDOW_CLAMP: 0 (none) only before the connection."""

    def accept(self, core: Core, value: int) -> int:
        if not value:
            if core.is_live():
                raise failure(errno.EINVAL)
            return 0
        return max(value, SOCK_MIN_RCVBUF // 2)

    def get(self, core: Core) -> bytes:
        assert isinstance(core, StreamCore)
        chosen = core.options.window_clamp
        return pack_int(chosen or (core.connection.window_clamp() if core.connection is not None else 0))


class Congestion(Option):
    """TCP_CONGESTION: a name of ``congestion.ALGORITHMS``; ENOENT for any other."""

    least = 1

    def set(self, core: Core, data: bytes) -> None:
        name = data[:15].split(b"\0")[0].decode("ascii", "replace")
        if name not in ALGORITHMS:
            raise failure(errno.ENOENT)
        core.options.congestion = name
        core.options.congestion_class = None
        core.option_changed("congestion")

    def get(self, core: Core) -> bytes:
        chosen = core.options.congestion_class
        name = str(getattr(chosen, "name", "")) or core.options.congestion
        return (name or core.net.stack.settings.tcp_congestion_control).encode()[:15].ljust(16, b"\0")


class FastOpenKey(Option):
    """TCP_FASTOPEN_KEY: one key of 16 bytes, or two."""

    least = 0

    def set(self, core: Core, data: bytes) -> None:
        if len(data) not in (16, 32):
            raise failure(errno.EINVAL)
        core.options.fastopen_key = data
        core.option_changed("fastopen_key")

    def get(self, core: Core) -> bytes:
        return core.options.fastopen_key


class UpperLayer(Option):
    """TCP_ULP: no upper layer protocol exists here (kTLS, say): ENOENT, as for an unknown name on Linux."""

    least = 1

    def set(self, core: Core, data: bytes) -> None:
        raise failure(errno.ENOENT)

    def get(self, core: Core) -> bytes:
        return b""


class Unsupported(Option):
    """Linux has it, ustack has not: EINVAL for what is too short there, else ``code``."""

    def __init__(self, code: int) -> None:
        self.code = code

    def set(self, core: Core, data: bytes) -> None:
        raise failure(self.code)


def _info(core: StreamCore) -> bytes:
    if core.connection is not None:
        return pack_tcp_info(core.connection.info(core.now()))
    state = State.LISTEN if core.listener is not None else State.CLOSED
    return pack_tcp_info(_IdleInfo(int(state)))


class _IdleInfo:
    """TCP_INFO of a socket that has no connection: Linux's initial values."""

    def __init__(self, state: int) -> None:
        self.tcpi_state = state
        self.tcpi_rto = 1_000_000
        self.tcpi_reordering = 3
        self.tcpi_rttvar = 250_000
        self.tcpi_snd_mss = 536
        self.tcpi_snd_ssthresh = INT_MAX
        self.tcpi_snd_cwnd = 10
        self.tcpi_max_pacing_rate = UNLIMITED


def _quickack(core: StreamCore) -> int:
    return int(core.options.quickack if core.connection is None else core.connection.is_quickack())


def _saved_syn(core: StreamCore) -> bytes:
    return core.connection.saved_syn() if core.connection is not None else b""


class QuickAck(Flag):
    def get(self, core: Core) -> bytes:
        assert isinstance(core, StreamCore)
        return pack_int(_quickack(core))


def _fastopen(core: Core, value: int) -> int:
    if value < 0:
        raise failure(errno.EINVAL)
    return min(value, core.net.stack.settings.somaxconn)


_TCP: Final[dict[int, Option]] = {
    1: Flag("nodelay"),
    2: MaxSegment("maxseg", 0, MAX_TCP_WINDOW),
    3: Flag("cork"),
    4: Number("keepidle_s", 1, 32767, _settings("tcp_keepalive_time")),
    5: Number("keepintvl_s", 1, 32767, _settings("tcp_keepalive_intvl")),
    6: Number("keepcnt", 1, 127, _settings("tcp_keepalive_probes")),
    7: Number("syncnt", 1, 127, _settings("tcp_syn_retries")),
    8: Adjusted("linger2_s", _linger2, _settings("tcp_fin_timeout")),
    9: Adjusted("defer_accept_s", _defer_accept),
    10: WindowClamp("window_clamp", INT_MIN, INT_MAX),
    11: Told(_info),
    12: QuickAck("quickack"),
    13: Congestion(),
    14: Unsupported(errno.EINVAL),  # TCP_MD5SIG
    16: Flag("thin_linear_timeouts", strict=True),
    17: Nothing(0, 0, 1),  # TCP_THIN_DUPACK: gone since Linux 4.11
    18: Number("user_timeout_ms", 0, INT_MAX),
    19: Unsupported(errno.EPERM),  # TCP_REPAIR
    23: Adjusted("fastopen_qlen", _fastopen),
    24: Told(lambda core: core.connection.timestamp(core.now()) if core.connection else core.now() // 1_000_000),
    25: Number("notsent_lowat", INT_MIN, INT_MAX),
    26: Told(lambda core: b""),  # TCP_CC_INFO
    27: Number("save_syn", 0, 2),
    28: Told(_saved_syn),
    30: Flag("fastopen_connect", strict=True),
    31: UpperLayer(),
    32: Unsupported(errno.EINVAL),  # TCP_MD5SIG_EXT
    33: FastOpenKey(),
    34: Flag("fastopen_no_cookie", strict=True),
    36: Flag("inq", strict=True),
    37: Remembered(0, 0, 2**31 // 1000 - 1),  # TCP_TX_DELAY
    43: Told(lambda core: 0),  # TCP_IS_MPTCP
    44: Number("rto_max_ms", 1000, 120_000, _settings("tcp_rto_max_ms")),
    45: Number("rto_min_us", 4001, 200_000, _settings("tcp_rto_min_us")),
    46: Number("delack_max_us", 4001, 200_000, lambda core: 200_000),
}


# IPPROTO_IP and IPPROTO_IPV6


class TypeOfService(Number):
    """IP_TOS and IPV6_TCLASS: TCP keeps the ECN bits to itself."""

    def accept(self, core: Core, value: int) -> int:
        if self.high == 255:  # IPV6_TCLASS
            value = 0 if value == -1 else super().accept(core, value)
        return value & (0xFC if isinstance(core, StreamCore) else 0xFF)


class HopLimit(Number):
    """IP_TTL and IPV6_UNICAST_HOPS: -1 is the default."""

    def accept(self, core: Core, value: int) -> int:
        return -1 if value == -1 else super().accept(core, value)


def _mtu(core: Core) -> int:
    """IP_MTU: of the way to the connected peer."""
    if isinstance(core, StreamCore):
        if core.connection is None or core.connection.state is State.CLOSED:
            raise failure(errno.ENOTCONN)
        return int(core.connection.info(core.now()).tcpi_pmtu)
    core.peer_name()
    return core.net.stack.mtu


_IP: Final[dict[int, Option]] = {
    1: TypeOfService("tos", INT_MIN, INT_MAX),
    2: HopLimit("ttl", 1, 255, _settings("ip_default_ttl"), -1),
    6: Remembered(flag=True),  # IP_RECVOPTS
    7: Remembered(flag=True),  # IP_RETOPTS
    8: Flag("pktinfo"),
    10: Number("mtu_discover", 0, 5),
    11: Flag("recverr"),
    12: Flag("recvttl"),
    13: Flag("recvtos"),
    14: Told(_mtu),
    15: Flag("freebind"),
    18: Remembered(flag=True),  # IP_PASSSEC
    19: Flag("transparent"),
    20: Remembered(flag=True),  # IP_RECVORIGDSTADDR
    21: Remembered(0, 0, 255),  # IP_MINTTL
    23: Remembered(flag=True),  # IP_CHECKSUM
    24: Flag("bind_address_no_port"),
    26: Remembered(0, 0, 1),  # IP_RECVERR_RFC4884
    33: Remembered(1, -1, 255),  # IP_MULTICAST_TTL
    34: Remembered(1, flag=True),  # IP_MULTICAST_LOOP
    49: Remembered(1, 0, 1),  # IP_MULTICAST_ALL
    51: Number("local_port_range", INT_MIN, INT_MAX),
}
_NEEDS_A_BYTE: Final = frozenset({2, 15, 19, 21, 33, 34, 49})
"""IP options for which Linux refuses length 0; the others read it as the value 0."""

_IPV6: Final[dict[int, Option]] = {
    16: HopLimit("hops", 0, 255, _settings("ip_default_ttl"), -1),
    18: Remembered(1, -1, 255),  # IPV6_MULTICAST_HOPS
    19: Remembered(1, 0, 1),  # IPV6_MULTICAST_LOOP
    23: Number("mtu_discover6", 0, 5),
    24: Told(_mtu),
    25: Flag("recverr6"),
    26: Flag("v6only"),
    29: Remembered(1, flag=True),  # IPV6_MULTICAST_ALL
    49: Flag("recvpktinfo6"),
    51: Flag("recvhoplimit"),
    66: Flag("recvtclass"),
    67: TypeOfService("tclass", 0, 255),
    70: Remembered(1, flag=True),  # IPV6_AUTOFLOWLABEL
    73: Remembered(0, 0, 255),  # IPV6_MINHOPCOUNT
    75: Flag("transparent"),
    78: Flag("freebind"),
}

_LEVELS: Final = {SOL_SOCKET: _SOCKET, IPPROTO_TCP: _TCP, IPPROTO_IP: _IP, IPPROTO_IPV6: _IPV6}
for _level, _table in _LEVELS.items():
    for _number, _option in _table.items():
        if isinstance(_option, Remembered):
            _option.at = (_level, _number)


def _row(core: Core, level: int, number: int) -> Option | None:
    if level == IPPROTO_TCP and core.kind != socket.SOCK_STREAM:
        return None
    if level == IPPROTO_IPV6 and core.family != socket.AF_INET6:
        return None
    return _LEVELS.get(level, {}).get(number)


def _is_level(core: Core, level: int) -> bool:
    """False: getsockopt() says EOPNOTSUPP instead of ENOPROTOOPT."""
    if level == IPPROTO_TCP:
        return core.kind == socket.SOCK_STREAM
    if level == IPPROTO_IPV6:
        return core.family == socket.AF_INET6
    return level in _LEVELS


def set_option(core: Core, level: int, number: int, data: bytes | None) -> None:
    """setsockopt(2). ``data`` None is a null pointer. Raises ENOPROTOOPT, EINVAL, EFAULT and what the option says."""
    option = _row(core, level, number)
    if data is None:
        if option is None:
            raise failure(errno.EFAULT if level == SOL_SOCKET else errno.ENOPROTOOPT)
        if level != IPPROTO_IPV6:
            raise failure(errno.EFAULT)
        data = bytes(4)
    if level == IPPROTO_IP:
        if option is not None and len(data) < 4 and option.least == 4:
            if not data and number in _NEEDS_A_BYTE:
                raise failure(errno.EINVAL)
            data = data[:1].ljust(4, b"\0")
    elif len(data) < (4 if option is None else option.least) and _is_level(core, level):
        raise failure(errno.EINVAL)
    if option is None:
        raise failure(errno.ENOPROTOOPT)
    _check_state(core, level, number)
    option.set(core, data)


def _check_state(core: Core, level: int, number: int) -> None:
    """What may be set only before the socket is bound, or before it is connected."""
    if level == IPPROTO_IPV6 and number == 26 and core.local_name()[1]:
        raise failure(errno.EINVAL)
    if level == SOL_SOCKET and number in (9, 10) and False:
        raise failure(errno.EINVAL)


def find_option(core: Core, level: int, number: int, length: int) -> bytes:
    """getsockopt(2): at most ``length`` bytes. Raises ENOPROTOOPT, EOPNOTSUPP (no such level) and what the option says."""
    option = _row(core, level, number)
    if option is None:
        raise failure(errno.ENOPROTOOPT if _is_level(core, level) else errno.EOPNOTSUPP)
    if level == SOL_SOCKET and number == 57 and length < 8:
        raise failure(errno.EINVAL)
    value = option.get(core)
    if level == IPPROTO_IP and 0 < length < 4 and 0 <= unpack_int(value) <= 255:
        return value[:1]
    if level == SOL_SOCKET and number == 47 and length < 8:
        rate = int.from_bytes(value, "little")
        return pack_int(min(rate, 0xFFFFFFFF))[:length]
    return value[:length]
