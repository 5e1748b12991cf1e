# ruff: noqa: N818 - named as the errno reads, like trio's WouldBlock; the builtin beside each has the suffix
"""What ustack raises: one hierarchy, every member an OSError with the errno that a socket user expects.

Each class is also the builtin that ``except`` clauses name, so code written for the kernel's
sockets catches ustack's errors unchanged:

>>> try:
...     raise from_errno(errno.ECONNREFUSED)
... except ConnectionRefusedError as error:
...     print(error)
[Errno 111] Connection refused
"""

from __future__ import annotations

import errno
from typing import ClassVar

_TEXTS: dict[int, str] = {  # glibc's strerror, errno numbers of Linux
    errno.EPERM: "Operation not permitted",
    errno.ENOENT: "No such file or directory",
    errno.EINTR: "Interrupted system call",
    errno.EIO: "Input/output error",
    errno.EBADF: "Bad file descriptor",
    errno.EAGAIN: "Resource temporarily unavailable",
    errno.ENOMEM: "Cannot allocate memory",
    errno.EACCES: "Permission denied",
    errno.EFAULT: "Bad address",
    errno.EBUSY: "Device or resource busy",
    errno.ENODEV: "No such device",
    errno.EINVAL: "Invalid argument",
    errno.EMFILE: "Too many open files",
    errno.ENOSPC: "No space left on device",
    errno.EPIPE: "Broken pipe",
    errno.EDOM: "Numerical argument out of domain",
    errno.EPROTO: "Protocol error",
    errno.ENOTSOCK: "Socket operation on non-socket",
    errno.EDESTADDRREQ: "Destination address required",
    errno.EMSGSIZE: "Message too long",
    errno.EPROTOTYPE: "Protocol wrong type for socket",
    errno.ENOPROTOOPT: "Protocol not available",
    errno.EPROTONOSUPPORT: "Protocol not supported",
    errno.ESOCKTNOSUPPORT: "Socket type not supported",
    errno.EOPNOTSUPP: "Operation not supported",
    errno.EAFNOSUPPORT: "Address family not supported by protocol",
    errno.EADDRINUSE: "Address already in use",
    errno.EADDRNOTAVAIL: "Cannot assign requested address",
    errno.ENETDOWN: "Network is down",
    errno.ENETUNREACH: "Network is unreachable",
    errno.ENETRESET: "Network dropped connection on reset",
    errno.ECONNABORTED: "Software caused connection abort",
    errno.ECONNRESET: "Connection reset by peer",
    errno.ENOBUFS: "No buffer space available",
    errno.EISCONN: "Transport endpoint is already connected",
    errno.ENOTCONN: "Transport endpoint is not connected",
    errno.ESHUTDOWN: "Cannot send after transport endpoint shutdown",
    errno.ETIMEDOUT: "Connection timed out",
    errno.ECONNREFUSED: "Connection refused",
    errno.EHOSTDOWN: "Host is down",
    errno.EHOSTUNREACH: "No route to host",
    errno.EALREADY: "Operation already in progress",
    errno.EINPROGRESS: "Operation now in progress",
    errno.ENONET: "Machine is not on the network",
}


def error_text(code: int) -> str:
    """What strerror(3) says about ``code`` on Linux."""
    return _TEXTS.get(code, f"Unknown error {code}")


class UstackError(OSError):
    """The root. ``UstackError(code)`` fills in the text; a class of its own fills in the code too."""

    code: ClassVar[int] = errno.EIO

    def __init__(self, code: int = 0, text: str = "") -> None:
        number = code or self.code
        super().__init__(number, text or error_text(number))


class WouldBlock(UstackError, BlockingIOError):
    """EAGAIN: nothing now, on a socket that does not wait."""

    code = errno.EAGAIN


class InProgress(UstackError, BlockingIOError):
    """EINPROGRESS: connect() goes on in the background."""

    code = errno.EINPROGRESS


class AlreadyInProgress(UstackError, BlockingIOError):
    """EALREADY: an earlier connect() still goes on."""

    code = errno.EALREADY


class Interrupted(UstackError, InterruptedError):
    """EINTR."""

    code = errno.EINTR


class NotPermitted(UstackError, PermissionError):
    """EACCES, EPERM: a broadcast without SO_BROADCAST, say, or an answer "administratively prohibited"."""

    code = errno.EACCES


class NotFound(UstackError, FileNotFoundError):
    """ENOENT: no congestion control of that name, say."""

    code = errno.ENOENT


class ConnectionRefused(UstackError, ConnectionRefusedError):
    """ECONNREFUSED: RST in answer to a SYN, or ICMP port unreachable."""

    code = errno.ECONNREFUSED


class ConnectionReset(UstackError, ConnectionResetError):
    """ECONNRESET: RST on an established connection."""

    code = errno.ECONNRESET


class ConnectionAborted(UstackError, ConnectionAbortedError):
    """ECONNABORTED: this side gave the connection up."""

    code = errno.ECONNABORTED


class PipeBroken(UstackError, BrokenPipeError):
    """EPIPE, ESHUTDOWN: writing after the writing side was shut down."""

    code = errno.EPIPE


class TimedOut(UstackError, TimeoutError):
    """ETIMEDOUT: the peer stopped answering (R2 of RFC 9293 section 3.8.3, keepalive, TCP_USER_TIMEOUT)."""

    code = errno.ETIMEDOUT


class AddressInUse(UstackError):
    """EADDRINUSE."""

    code = errno.EADDRINUSE


class AddressNotAvailable(UstackError):
    """EADDRNOTAVAIL: not an address of this stack, or no ephemeral port is left."""

    code = errno.EADDRNOTAVAIL


class HostUnreachable(UstackError):
    """EHOSTUNREACH."""

    code = errno.EHOSTUNREACH


class NetworkUnreachable(UstackError):
    """ENETUNREACH: ICMP said so, or there is no address of that family to send from."""

    code = errno.ENETUNREACH


class NotConnected(UstackError):
    """ENOTCONN."""

    code = errno.ENOTCONN


class AlreadyConnected(UstackError):
    """EISCONN."""

    code = errno.EISCONN


class MessageTooLong(UstackError):
    """EMSGSIZE: a datagram beyond what IP carries, or beyond the path MTU when it must not be fragmented."""

    code = errno.EMSGSIZE


class InvalidArgument(UstackError):
    """EINVAL."""

    code = errno.EINVAL


class NotSupported(UstackError):
    """EOPNOTSUPP."""

    code = errno.EOPNOTSUPP


_CLASSES: dict[int, type[UstackError]] = {cls.code: cls for cls in UstackError.__subclasses__()} | {
    errno.EPERM: NotPermitted,
    errno.ESHUTDOWN: PipeBroken,
}


def from_errno(code: int) -> UstackError:
    """The error for a pending errno such as ``Connection.error``, to be raised; ValueError for 0."""
    if code == 0:
        raise ValueError("errno 0 is no error")
    return _CLASSES.get(code, UstackError)(code)
