"""Control messages of sendmsg() and recvmsg(): what goes beside the data."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterable
from operator import index
from typing import Any, Final

from ustack.socket.arguments import readable_bytes
from ustack.socket.core import Core, failure
from ustack.socket.datagram import DatagramCore
from ustack.socket.option import STAMPS
from ustack.socket.stream import StreamCore
from ustack.udp import Received
from ustack.wire.address import is_v4

MSG_CTRUNC: Final = int(socket.MSG_CTRUNC)
MOST_PIECES: Final = 1024
IPPROTO_IP: Final = 0
IPPROTO_TCP: Final = 6
IPPROTO_IPV6: Final = 41
IP_TOS: Final = 1
IP_TTL: Final = 2
IP_PKTINFO: Final = 8
IP_ORIGDSTADDR: Final = 20
IPV6_PKTINFO: Final = 50
IPV6_HOPLIMIT: Final = 52
IPV6_TCLASS: Final = 67
TCP_CM_INQ: Final = 36
SOL_SOCKET: Final = 1
SO_PRIORITY: Final = 12
SO_MARK: Final = 36
SO_RXQ_OVFL: Final = 40
SO_RCVMARK: Final = 75
SO_RCVPRIORITY: Final = 82
NANOSECONDS: Final = (35, 64)
"""Of the time stamps, SO_TIMESTAMPNS and SO_TIMESTAMPNS_NEW; the others tell microseconds."""
INTERFACE: Final = 1
"""The number of a Host's one interface in IP_PKTINFO."""

Ancillary = tuple[int, int, bytes]
"""cmsg_level, cmsg_type, cmsg_data."""

_FIELDS: Final = {
    (IPPROTO_IP, IP_TOS): "tos",
    (IPPROTO_IP, IP_TTL): "ttl",
    (IPPROTO_IPV6, IPV6_TCLASS): "tclass",
    (IPPROTO_IPV6, IPV6_HOPLIMIT): "hops",
}


def check_pieces(count: int) -> None:
    """How many buffers one call may name (UIO_MAXIOV). Raises EMSGSIZE."""
    if count > MOST_PIECES:
        raise failure(errno.EMSGSIZE)


def control_messages(core: Core, datagram: Received | None, space: int, count: int = 0) -> tuple[list[Ancillary], int]:
    """What options asked for, in Linux's order, as far as it fits ``space`` bytes; and MSG_CTRUNC when it does not.

    ``count``: bytes that the call brought."""
    wanted: list[Ancillary] = []
    if isinstance(core, StreamCore):
        if count and core.connection is not None:
            wanted += _stamp(core, core.connection.receiver.last_text_at)
        if core.options.inq:
            wanted.append((IPPROTO_TCP, TCP_CM_INQ, struct.pack("=i", _inq_hint(core))))
    elif datagram is not None:
        wanted = _about_any(core, datagram)
        wanted += _about_v4(core, datagram) if is_v4(datagram.source) else _about_v6(core, datagram)
    fitting: list[Ancillary] = []
    for message in wanted:
        if space < socket.CMSG_LEN(len(message[2])):
            return fitting, MSG_CTRUNC
        space -= socket.CMSG_SPACE(len(message[2]))
        fitting.append(message)
    return fitting, 0


def _inq_hint(core: StreamCore) -> int:
    """Bytes that the next calls can read; a FIN counts as one, so that the application asks again (tcp_inq_hint())."""
    connection = core.connection
    return core.unread() + int(connection is not None and connection.received_fin())


def _stamp(core: Core, at: int) -> list[Ancillary]:
    """The wall clock's time at the instant ``at``, as a timeval or a timespec. Of a stream: when the last text came."""
    form = core.stored.get(STAMPS, 0)
    if not form:
        return []
    seconds, rest = divmod(time.time_ns() - core.now() + at, 1_000_000_000)
    return [(SOL_SOCKET, form, struct.pack("=qq", seconds, rest if form in NANOSECONDS else rest // 1000))]


def _about_any(core: Core, datagram: Received) -> list[Ancillary]:
    """What SOL_SOCKET tells (__sock_recv_cmsgs). Packets from outside have neither mark nor priority."""
    found = _stamp(core, datagram.at)
    if datagram.drops and core.stored.get((SOL_SOCKET, SO_RXQ_OVFL)):
        found.append((SOL_SOCKET, SO_RXQ_OVFL, struct.pack("=I", datagram.drops & 0xFFFFFFFF)))
    for option, kind in ((SO_RCVMARK, SO_MARK), (SO_RCVPRIORITY, SO_PRIORITY)):
        if core.stored.get((SOL_SOCKET, option)):
            found.append((SOL_SOCKET, kind, bytes(4)))
    return found


def _about_v4(core: Core, datagram: Received) -> list[Ancillary]:
    options = core.options
    found: list[Ancillary] = []
    if options.recvpktinfo6 and core.family == socket.AF_INET6:
        found.append((IPPROTO_IPV6, IPV6_PKTINFO, datagram.destination + struct.pack("=I", INTERFACE)))
    if options.pktinfo:
        address = datagram.destination[12:]
        found.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", INTERFACE, address, address)))
    if options.recvttl:
        found.append((IPPROTO_IP, IP_TTL, struct.pack("=i", datagram.ttl)))
    if options.recvtos:
        found.append((IPPROTO_IP, IP_TOS, bytes((datagram.tos,))))
    if core.stored.get((IPPROTO_IP, IP_ORIGDSTADDR)):
        name = struct.pack("=H", socket.AF_INET) + datagram.destination_port.to_bytes(2, "big")
        found.append((IPPROTO_IP, IP_ORIGDSTADDR, name + datagram.destination[12:] + bytes(8)))
    return found


def _about_v6(core: Core, datagram: Received) -> list[Ancillary]:
    options = core.options
    found: list[Ancillary] = []
    if options.recvpktinfo6:
        found.append((IPPROTO_IPV6, IPV6_PKTINFO, datagram.destination + struct.pack("=I", INTERFACE)))
    if options.recvhoplimit:
        found.append((IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("=i", datagram.ttl)))
    if options.recvtclass:
        found.append((IPPROTO_IPV6, IPV6_TCLASS, struct.pack("=i", datagram.tos)))
    return found


def listed(ancdata: Iterable[Any]) -> list[Ancillary]:
    """The control messages of an application's sendmsg(), which nothing is wrong with."""
    return [(index(level), index(kind), bytes(readable_bytes(data))) for level, kind, data in ancdata]


def apply(core: Core, messages: list[Ancillary]) -> list[tuple[str, int]]:
    """Set the options that control messages name, for one send; what to put back afterwards. Raises EINVAL."""
    changed: list[tuple[str, int]] = []
    for level, kind, data in messages:
        field = _FIELDS.get((level, kind))
        if isinstance(core, DatagramCore) and field is not None:
            value = _octet(level, kind, data)
            if value >= 0:
                changed.append((field, getattr(core.options, field)))
                setattr(core.options, field, value)
        elif level == socket.SOL_SOCKET or isinstance(core, DatagramCore):
            raise failure(errno.EINVAL)
    return changed


def _octet(level: int, kind: int, data: bytes) -> int:
    """A TOS or a TTL out of a control message; -1 (IPv6): as the socket's option says. Raises EINVAL."""
    value = int.from_bytes(data[:4], "little", signed=len(data) >= 4)
    lengths = (1, 4) if (level, kind) == (IPPROTO_IP, IP_TOS) else (4,)
    least = -1 if level == IPPROTO_IPV6 else int(kind == IP_TTL)
    if len(data) not in lengths or not least <= value <= 255:
        raise failure(errno.EINVAL)
    return value
