"""The options of IPPROTO_TCP."""

from __future__ import annotations

import errno
from typing import Final

from ustack.congestion import ALGORITHMS
from ustack.socket.core import Core, failure
from ustack.socket.option import (
    INT_MAX,
    INT_MIN,
    Adjusted,
    Flag,
    Nothing,
    Number,
    Option,
    Refused,
    Remembered,
    Told,
    knob,
    pack_int,
)
from ustack.socket.stream import StreamCore
from ustack.socket.tcpinfo import pack_tcp_info
from ustack.sockopts import UNLIMITED
from ustack.tcp import fastopen
from ustack.tcp.state import State

MAX_TCP_WINDOW: Final = 32767
TCP_MIN_MSS: Final = 88
FIN_TIMEOUT_MAX_S: Final = 120
LEAST_CLAMP: Final = 1152
"""Half of the smallest SO_RCVBUF."""


def _is_closed(core: Core) -> bool:
    """TCP_CLOSE: no listener, and no connection that lives."""
    assert isinstance(core, StreamCore)
    return core.listener is None and (core.connection is None or core.connection.state is State.CLOSED)


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
    """TCP_WINDOW_CLAMP: 0 (none) only of a closed socket."""

    def accept(self, core: Core, value: int) -> int:
        if not value:
            if not _is_closed(core):
                raise failure(errno.EINVAL)
            return 0
        return max(value, LEAST_CLAMP)

    def get(self, core: Core) -> bytes:
        assert isinstance(core, StreamCore)
        if core.connection is not None:
            return pack_int(core.connection.receiver.window_clamp)
        return pack_int(core.options.window_clamp)


class Congestion(Option):
    """TCP_CONGESTION: a name of ``congestion.ALGORITHMS``; ENOENT for any other."""

    least = 1
    shortest_null = 1

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
    shortest_null = 4

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
    shortest_null = 1

    def set(self, core: Core, data: bytes) -> None:
        raise failure(errno.ENOENT)

    def get(self, core: Core) -> bytes:
        return b""


class FastOpenFlag(Flag):
    """TCP_FASTOPEN_CONNECT and TCP_FASTOPEN_NO_COOKIE: not of a connection; the first not of a listener either."""

    def __init__(self, field: str, *, of_listener: bool) -> None:
        super().__init__(field, strict=True)
        self.of_listener = of_listener

    def accept(self, core: Core, value: int) -> int:
        value = super().accept(core, value)
        assert isinstance(core, StreamCore)
        if not self.of_listener and not core.net.stack.settings.tcp_fastopen & fastopen.CLIENT:
            raise failure(errno.EOPNOTSUPP)
        if not _is_closed(core) and not (self.of_listener and core.listener is not None):
            raise failure(errno.EINVAL)
        return value


class Unsupported(Option):
    """Linux has it, ustack has not: EINVAL for what is too short there, else ``code``."""

    def __init__(self, code: int) -> None:
        self.code = code

    def set(self, core: Core, data: bytes) -> None:
        raise failure(self.code)


class RepairSequence(Refused):
    """TCP_QUEUE_SEQ: a closed socket lacks the queue, any other the repair mode."""

    def set(self, core: Core, data: bytes) -> None:
        assert isinstance(core, StreamCore)
        raise failure(errno.EINVAL if _is_closed(core) else self.on_set)


class Timestamp(Told):
    """TCP_TIMESTAMP: to be set in repair mode only."""

    def set(self, core: Core, data: bytes) -> None:
        raise failure(errno.EPERM)


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
    return int(core.options.quickack if core.connection is None else not core.connection.receiver.in_pingpong())


def _timestamp(core: StreamCore) -> int:
    """TCP_TIMESTAMP: the clock of the timestamp option, ms, with the connection's offset."""
    offset = core.connection.agreed.ts_offset if core.connection is not None else 0
    return (core.now() // 1_000_000 + offset) & 0xFFFFFFFF


def _saved_syn(core: StreamCore) -> bytes:
    return b"" if core.connection is None else core.connection.saved_syn


class QuickAck(Flag):
    """TCP_QUICKACK: reads back what the connection does now."""

    def get(self, core: Core) -> bytes:
        assert isinstance(core, StreamCore)
        return pack_int(_quickack(core))


def _fastopen(core: Core, value: int) -> int:
    assert isinstance(core, StreamCore)
    if value < 0 or not (_is_closed(core) or core.listener is not None):
        raise failure(errno.EINVAL)
    core.net.stack.host.fast_open.make_key()
    return min(value, core.net.stack.settings.somaxconn)


TABLE: Final[dict[int, Option]] = {
    1: Flag("nodelay"),
    2: MaxSegment("maxseg", 0, MAX_TCP_WINDOW),
    3: Flag("cork"),
    4: Number("keepidle_s", 1, 32767, knob("tcp_keepalive_time")),
    5: Number("keepintvl_s", 1, 32767, knob("tcp_keepalive_intvl")),
    6: Number("keepcnt", 1, 127, knob("tcp_keepalive_probes")),
    7: Number("syncnt", 1, 127, knob("tcp_syn_retries")),
    8: Adjusted("linger2_s", _linger2, knob("tcp_fin_timeout")),
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
    20: Refused(errno.EPERM, errno.EINVAL),  # TCP_REPAIR_QUEUE
    21: RepairSequence(errno.EPERM, errno.EINVAL),
    22: Refused(errno.EINVAL, errno.ENOPROTOOPT),  # TCP_REPAIR_OPTIONS
    23: Adjusted("fastopen_qlen", _fastopen),
    24: Timestamp(_timestamp),
    25: Number("notsent_lowat", INT_MIN, INT_MAX),
    26: Told(lambda core: b""),  # TCP_CC_INFO
    27: Number("save_syn", 0, 2),
    28: Told(_saved_syn),
    29: Refused(errno.EPERM, errno.EINVAL),  # TCP_REPAIR_WINDOW
    30: FastOpenFlag("fastopen_connect", of_listener=False),
    31: UpperLayer(),
    32: Unsupported(errno.EINVAL),  # TCP_MD5SIG_EXT
    33: FastOpenKey(),
    34: FastOpenFlag("fastopen_no_cookie", of_listener=True),
    35: Refused(errno.ENOPROTOOPT, errno.EINVAL),  # TCP_ZEROCOPY_RECEIVE
    36: Flag("inq", strict=True),
    37: Remembered(0, 0, 2**31 // 1000 - 1),  # TCP_TX_DELAY
    43: Told(lambda core: 0),  # TCP_IS_MPTCP
    44: Number("rto_max_ms", 1000, 120_000, knob("tcp_rto_max_ms")),
    45: Number("rto_min_us", 4001, 200_000, knob("tcp_rto_min_us")),
    46: Number("delack_max_us", 4001, 200_000, lambda core: 200_000),
}
