"""Control messages of sendmsg() and recvmsg(): what goes beside the data."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from operator import index
from typing import Any, Final

from ustack.socket.arguments import readable_bytes
from ustack.socket.core import Core, failure
from ustack.socket.datagram import DatagramCore
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
IPV6_PKTINFO: Final = 50
IPV6_HOPLIMIT: Final = 52
IPV6_TCLASS: Final = 67
TCP_CM_INQ: Final = 36
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


def control_messages(core: Core, datagram: Received | None, space: int) -> tuple[list[Ancillary], int]:
    """What options asked for, in Linux's order, as far as it fits ``space`` bytes; and MSG_CTRUNC when it does not."""
    wanted: list[Ancillary] = []
    if isinstance(core, StreamCore):
        if core.options.inq:
            wanted.append((IPPROTO_TCP, TCP_CM_INQ, struct.pack("=i", _inq_hint(core))))
    elif datagram is not None:
        wanted = _about_v4(core, datagram) if is_v4(datagram.source) else _about_v6(core, datagram)
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


def _about_v4(core: Core, datagram: Received) -> list[Ancillary]:
    options = core.options
    found: list[Ancillary] = []
    if options.pktinfo:
        address = datagram.destination[12:]
        found.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", INTERFACE, address, address)))
    if options.recvttl:
        found.append((IPPROTO_IP, IP_TTL, struct.pack("=i", datagram.ttl)))
    if options.recvtos:
        found.append((IPPROTO_IP, IP_TOS, bytes((datagram.tos,))))
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
