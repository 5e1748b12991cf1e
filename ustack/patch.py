"""Programs that do not know: within ``patched(host)`` the standard library's sockets lead to ustack for its addresses.

A socket begins as the kernel's. When ``bind()``, ``connect()`` or ``sendto()`` names an address of ustack's, it becomes
ustack's, with the options and the time-out that it had, and under the same descriptor; else it stays the kernel's.
AF_UNIX and all other families are never touched.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ustack.socket.host import Host
from ustack.socket.networks import Networks
from ustack.socket.socket import Socket

_Real: Final = socket.socket
_FAMILIES: Final = (int(socket.AF_INET), int(socket.AF_INET6))


class Redirection:
    """The host that a socket may go to, and the addresses for which it does."""

    def __init__(self, host: Host, networks: Sequence[str] | None) -> None:
        self.host = host
        self.networks = Networks(host.stack, networks)


class EitherSocket(Socket):
    """A socket of the kernel's that may become ustack's. Its methods are the standard library's."""

    __slots__ = ()
    redirection: Redirection | None = None

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002
        _Real.__init__(self, family, type, proto, fileno)
        # Until it becomes ustack's, the place of its Host holds the options that were set; None: it stays as it is.
        is_ours = fileno is None and _Real.family.__get__(self) in _FAMILIES
        self._host = [] if is_ours else None

    def setsockopt(self, *arguments: Any) -> None:
        """Sets the option, and remembers it for the socket that this one may become."""
        _Real.setsockopt(self, *arguments)
        if isinstance(self._host, list):
            self._host.append(arguments)

    def bind(self, address: Any, /) -> None:
        """As socket.bind()."""
        self._decide(address, True)
        self.bind(address) if type(self) is Socket else _Real.bind(self, address)

    def connect(self, address: Any, /) -> None:
        """As socket.connect()."""
        self._decide(address, False)
        self.connect(address) if type(self) is Socket else _Real.connect(self, address)

    def connect_ex(self, address: Any, /) -> int:
        """As socket.connect_ex()."""
        self._decide(address, False)
        return self.connect_ex(address) if type(self) is Socket else _Real.connect_ex(self, address)

    def sendto(self, *arguments: Any) -> int:
        """As socket.sendto()."""
        if len(arguments) > 1:
            self._decide(arguments[-1], False)
        return self.sendto(*arguments) if type(self) is Socket else _Real.sendto(self, *arguments)

    def _decide(self, address: Any, wildcard: bool) -> None:
        """It becomes ustack's when the address is; else it is the kernel's for good."""
        options, redirection = self._host, self.redirection
        if not isinstance(options, list) or redirection is None:
            return
        self._host = None
        if redirection.networks.cover(_numeric(address, int(self.family)), wildcard):
            self._become(redirection.host, options)

    def _become(self, host: Host, options: list[Any]) -> None:
        kind, proto, timeout = self.type, self.proto, self.gettimeout()
        fresh = host.socket(int(self.family), int(kind), int(proto))
        for arguments in options:
            fresh.setsockopt(*arguments)
        old = _Real.detach(self)
        core = fresh._live()
        fresh._core, fresh._closed = None, True
        self.__class__ = Socket  # type: ignore[assignment]
        Socket.__init__(self, core, int(proto), timeout)
        self._host = host
        os.dup2(
            core.descriptor(timeout is None), old, inheritable=False
        )  # who has asked for the number may go on with it
        core.extra_fds.append(old)
        self.take_descriptor(old)


def _numeric(address: Any, family: int) -> str:
    """The address of ``(host, port)`` in numbers: a name is looked up, as the call itself would do."""
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str | bytes | bytearray):
        return ""
    name = address[0] if isinstance(address[0], str) else bytes(address[0]).decode("idna", "replace")
    if name == "":
        return "0.0.0.0"
    try:
        found = socket.getaddrinfo(name, None, family=family)
    except (OSError, UnicodeError):
        return ""
    return str(found[0][4][0])


_OWN: Final = frozenset(vars(EitherSocket))
for _name in dir(_Real):
    _found = getattr(_Real, _name)
    if _name in _OWN or (_name.startswith("__") and _name not in ("__del__", "__repr__", "__enter__", "__exit__")):
        continue
    if callable(_found) or isinstance(_found, property) or type(_found).__name__.endswith("_descriptor"):
        setattr(EitherSocket, _name, _found)


class _Kind(type):
    """``isinstance(x, socket.socket)`` holds for every socket, whichever class stands under that name."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Real)


@contextlib.contextmanager
def patched(host: Host, networks: Sequence[str] | None = None) -> Iterator[None]:
    """``with ustack.patched(host):`` ``socket.socket``, and whatever of the standard library is built on it, leads to
    ``host`` for the addresses of ``networks`` (``["198.18.0.0/15"]``; None: the networks of the host's own addresses;
    ``["0.0.0.0/0", "::/0"]``: all). A server that binds no address in particular is ustack's.

    It holds for all threads. Modules that have taken the class by ``from socket import socket`` before keep the
    kernel's. Raises ValueError for what is no network."""
    redirection = Redirection(host, networks)

    class Redirected(EitherSocket, metaclass=_Kind):
        """Stands in for socket.socket."""

        __slots__ = ()

    Redirected.redirection = redirection
    Redirected.__name__ = Redirected.__qualname__ = "socket"
    Redirected.__module__ = "socket"
    before = socket.socket
    socket.socket = socket.SocketType = Redirected  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        socket.socket = before  # type: ignore[misc]
        socket.SocketType = _Real.__mro__[1]  # type: ignore[assignment]
