"""What ustack raises: exactly the builtin class that the kernel's sockets raise for an errno, with its text.

No class of ustack's own stands between, for programs compare types: ``type(error) is BlockingIOError`` (redis-py).

>>> try:
...     raise from_errno(errno.ECONNREFUSED)
... except ConnectionRefusedError as error:
...     print(error)
[Errno 111] Connection refused
"""

from __future__ import annotations

import errno

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


def from_errno(code: int) -> OSError:
    """The error for an errno, to be raised: the builtin class that ``OSError(code, text)`` chooses.

    ValueError for 0, which is no error."""
    if code == 0:
        raise ValueError("errno 0 is no error")
    return OSError(code, error_text(code))
