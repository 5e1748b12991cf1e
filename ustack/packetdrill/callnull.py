"""Calls with a null pointer where a buffer or a structure belongs: what Linux says to them (EFAULT, at its time)."""

from __future__ import annotations

from typing import Final

from ustack.packetdrill.calls import Caller, Outcome, Prepared
from ustack.packetdrill.structs import integer
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tree import Expression, Symbol, SystemCall

_AT_ONCE: Final = {
    "writev": 1, "readv": 1, "sendmsg": 1, "recvmsg": 1, "poll": 0, "epoll_ctl": 3, "epoll_wait": 1, "bind": 1,
    "connect": 1, "pipe": 0, "pipe2": 0, "open": 0,
}  # fmt: skip
"""The argument that the kernel reads or writes before it looks at the socket's state."""

_WHEN_COPYING: Final = {"read": 1, "recv": 1, "recvfrom": 1, "write": 1, "send": 1, "sendto": 1}
"""The argument that matters only when there is something to copy."""


def is_null(value: Expression) -> bool:
    """``NULL``."""
    return isinstance(value, Symbol) and value.name == "NULL"


def prepare_null(caller: Caller, call: SystemCall) -> Prepared | None:
    """The call if its buffer is NULL; None if it is an ordinary one."""
    name, arguments = call.name, call.arguments
    if name in _AT_ONCE and is_null(arguments[_AT_ONCE[name]]):
        if name == "epoll_ctl" and integer(arguments[1]) == SYMBOLS["EPOLL_CTL_DEL"]:
            return None
        fd = -1 if name in ("poll", "pipe", "pipe2", "open") else caller.descriptor(arguments[0])
        return Prepared(call, lambda: Outcome(caller.system.null_structure(name, fd)))
    if name in _WHEN_COPYING and is_null(arguments[_WHEN_COPYING[name]]):
        fd, count = caller.descriptor(arguments[0]), integer(arguments[2])
        flags = integer(arguments[3]) if len(arguments) > 3 else 0
        writes = name in ("write", "send", "sendto")
        return Prepared(call, lambda: Outcome(caller.system.null_buffer(fd, count, flags, writes)))
    if name == "getsockopt" and (is_null(arguments[3]) or is_null(arguments[4])):
        fd, level, option = caller.descriptor(arguments[0]), integer(arguments[1]), integer(arguments[2])
        length = None if is_null(arguments[4]) else integer(arguments[4])
        return Prepared(call, lambda: Outcome(caller.system.null_option(fd, level, option, length)))
    return None
