"""TLS on ustack's sockets: ``SSLContext.wrap_socket()`` works on them as on the kernel's.

The standard library's ``SSLSocket`` lets OpenSSL read from and write to a descriptor. Here OpenSSL works in memory
(``MemoryBIO``), and the bytes are moved through the socket; all the rest is SSLSocket's own code.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar

from ustack.socket.base import TO_READ, TO_WRITE
from ustack.socket.socket import Socket
from ustack.socket.text import MSG_DONTWAIT
from ustack.units import SECOND

T = TypeVar("T")
READ_SIZE: Final = 64 * 1024
"""Bytes of the wire that are asked for at a time: four TLS records."""
NEVER: Final = 1 << 62
_original: Final = ssl.SSLSocket._create  # type: ignore[attr-defined]


class _Engine:
    """Takes the place of OpenSSL's object with a descriptor: the same calls, which move bytes through a socket.

    A call has the socket's time-out as a whole. Without one (0) it raises SSLWantReadError or SSLWantWriteError, and is
    to be made again, as OpenSSL asks for; what it has encrypted already is kept for that.
    """

    def __init__(self, owner: TLSSocket, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._owner = owner
        self._guard = threading.Lock()
        """OpenSSL's object is one thread's at a time; nobody waits for the network with it held."""
        self._sending = threading.Lock()
        self._unsent = b""
        self._written = 0
        """Bytes of a write that is encrypted, but not sent as a whole: the same write is to come again."""
        context: Any = owner.context
        self._ssl = context._wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=owner.server_hostname,
            owner=owner, session=owner._session,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ssl, name)

    @property
    def context(self) -> ssl.SSLContext:
        """The context in use: an SNI callback may set another."""
        found: ssl.SSLContext = self._ssl.context
        return found

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        self._ssl.context = context

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, to be used for another connection."""
        found: ssl.SSLSession | None = self._ssl.session
        return found

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        self._ssl.session = session

    def read(self, size: int, buffer: Any = None) -> Any:
        """Plain text. Raises what OpenSSL raises."""
        arguments = (size,) if buffer is None else (size, buffer)
        limit = self._limit()
        while True:
            try:
                with self._guard:
                    found = self._ssl.read(*arguments)
                self._send_what_fits()
                return found
            except ssl.SSLWantReadError:
                self._send_what_fits()
                self._fill(limit)
            except ssl.SSLError:
                self._send_what_fits()
                raise

    def write(self, data: Any) -> int:
        """Encrypts and sends; how many bytes of plain text that was."""
        limit = self._limit()
        self._flush(limit)
        if not self._written:
            self._written = self._pump(lambda: int(self._ssl.write(data)), limit, sends=False)
            self._flush(limit)
        written, self._written = self._written, 0  # else the write that could not be sent as a whole is here again
        return written

    def do_handshake(self) -> None:
        """The handshake."""
        self._pump(self._ssl.do_handshake)

    def shutdown(self) -> TLSSocket:
        """close_notify both ways; the socket, which is plain again."""
        self._pump(self._ssl.shutdown)
        self._owner.leftover += self._incoming.read()
        return self._owner

    def _limit(self) -> int:
        """The instant at which the time-out is over (ns, the stack's clock); NEVER without one, 0 for no waiting."""
        timeout = self._owner.gettimeout()
        if timeout is None:
            return NEVER
        with self._owner._lock, self._owner._live() as core:
            return core.now() + round(timeout * SECOND) if timeout else 0

    def _pump(self, call: Callable[[], T], limit: int = -1, sends: bool = True) -> T:
        """``call``, and what it wants to send and to receive, until it is done."""
        limit = self._limit() if limit < 0 else limit
        while True:
            try:
                with self._guard:
                    found = call()
            except ssl.SSLWantReadError:
                self._flush(limit)
                self._fill(limit)
                continue
            except ssl.SSLError:
                self._send_what_fits()
                raise
            if sends:
                self._flush(limit)
            return found

    def _fill(self, limit: int) -> None:
        """Bytes of the wire, or its end."""
        try:
            data = self._within(limit, lambda: Socket.recv(self._owner, READ_SIZE, MSG_DONTWAIT), TO_READ)
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)") from None
        except TimeoutError:
            raise TimeoutError("The read operation timed out") from None
        with self._guard:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self, limit: int) -> None:
        """Sends what is encrypted, one thread at a time."""
        if not self._unsent and not self._outgoing.pending:
            return
        with self._sending:
            while self._unsent or self._outgoing.pending:
                self._unsent = self._unsent or self._outgoing.read()
                try:
                    sent = self._within(limit, lambda: Socket.send(self._owner, self._unsent, MSG_DONTWAIT), TO_WRITE)
                except BlockingIOError:
                    sentence = "The operation did not complete (write)"
                    raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, sentence) from None
                except TimeoutError:
                    raise TimeoutError("The write operation timed out") from None
                self._unsent = self._unsent[sent:]

    def _send_what_fits(self) -> None:
        """What is encrypted leaves as far as the peer takes it now: an alert, an answer to a new key. A reader does not
        wait for that, and not for a writer in another thread."""
        if (self._unsent or self._outgoing.pending) and self._sending.acquire(blocking=False):
            self._sending.release()
            with contextlib.suppress(OSError):
                self._flush(0)

    def _within(self, limit: int, call: Callable[[], T], mask: int) -> T:
        """``call`` without blocking, again and again until ``limit``."""
        while True:
            try:
                return call()
            except BlockingIOError:
                if not limit:
                    raise
            with self._owner._lock, self._owner._live() as core:
                deadline = None if limit == NEVER else limit
                if not core.wait(lambda core=core: bool(core.poll() & mask), deadline):  # type: ignore[misc]
                    raise TimeoutError("timed out")


class TLSSocket(ssl.SSLSocket, Socket):  # type: ignore[misc]  # both have socket.socket's methods
    """A ustack socket that speaks TLS. Made by ``SSLContext.wrap_socket()``, never directly."""

    _context: ssl.SSLContext
    _session: ssl.SSLSession | None
    _sslobj: Any
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool
    _connected: bool
    leftover: bytes
    """What followed TLS on the wire, and came with its end."""

    def __init__(self, *arguments: object, **named: object) -> None:
        raise TypeError(f"{type(self).__name__} does not have a public constructor. Instances are returned by "
                        "SSLContext.wrap_socket().")  # fmt: skip

    @classmethod
    def _create(
        cls,
        sock: Socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Self:
        """Takes the socket's place: ``sock`` is detached, as by the standard library."""
        assert context is not None
        _check(sock, server_side, server_hostname, context, session)
        self = cls.__new__(cls)
        Socket.__init__(self, sock._live(), sock.proto, sock.gettimeout())
        self._host, self._own_fd = sock._host, sock._own_fd
        sock._core, sock._own_fd, sock._closed = None, -1, True
        try:
            self._context = context
            self._session = session
            self._sslobj = None
            self.leftover = b""
            self.server_side = server_side
            self.server_hostname = context._encode_hostname(server_hostname)  # type: ignore[attr-defined]
            self.do_handshake_on_connect = do_handshake_on_connect
            self.suppress_ragged_eofs = suppress_ragged_eofs
            self._connected = self._has_peer()
            if self._connected:
                self._sslobj = _Engine(self, server_side)
                if do_handshake_on_connect:
                    if self.gettimeout() == 0.0:
                        raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
                    self.do_handshake()
        except BaseException:
            self.close()
            raise
        return self

    def _has_peer(self) -> bool:
        try:
            self.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            return False
        return True

    def _real_connect(self, addr: Any, connect_ex: bool) -> int | None:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        self._sslobj = _Engine(self, False)
        try:
            if connect_ex:
                code = Socket.connect_ex(self, addr)
            else:
                code = 0
                Socket.connect(self, addr)
            if not code:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except (OSError, ValueError):
            self._sslobj = None
            raise
        return code if connect_ex else None

    def connect(self, addr: Any, /) -> None:
        """Connects, and makes the handshake."""
        self._real_connect(addr, False)

    def connect_ex(self, addr: Any, /) -> int:
        """The same, but returns the errno of connect()."""
        return self._real_connect(addr, True) or 0

    def accept(self) -> tuple[Any, Any]:
        """The next connection, with TLS on it."""
        with self._lock, self._live() as core:
            plain = Socket(core, self._proto, self.gettimeout())
            plain._host = self._host
        try:
            found, address = plain.accept()
        finally:
            plain._core = None
        return self.context.wrap_socket(
            found,
            do_handshake_on_connect=self.do_handshake_on_connect,
            suppress_ragged_eofs=self.suppress_ragged_eofs,
            server_side=True,
        ), address

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Plain text; after unwrap() what follows TLS on the wire."""
        if self._sslobj is None and self.leftover and not flags:
            found, self.leftover = self.leftover[:buflen], self.leftover[buflen:]
            return found
        return super().recv(buflen, flags)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """The same, into a buffer."""
        if self._sslobj is None and self.leftover and not flags:
            view = memoryview(buffer).cast("B")
            data = self.recv(min(nbytes or len(view), len(view)))
            view[: len(data)] = data
            return len(data)
        return super().recv_into(buffer, nbytes, flags)

    def _real_close(self) -> None:
        self._sslobj = None
        Socket._real_close(self)

    def detach(self) -> int:
        """Raises ValueError: the descriptor alone is worth nothing without TLS's state."""
        raise ValueError("a TLS socket of ustack cannot be detached: unwrap() gives the plain socket")


def _check(
    sock: Socket,
    server_side: bool,
    server_hostname: str | None,
    context: ssl.SSLContext,
    session: ssl.SSLSession | None,
) -> None:
    """What SSLSocket refuses, in its words."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        raise NotImplementedError("only stream sockets are supported")
    if server_side:
        if server_hostname:
            raise ValueError("server_hostname can only be specified in client mode")
        if session is not None:
            raise ValueError("session can only be specified in client mode")
    if context.check_hostname and not server_hostname:
        raise ValueError("check_hostname requires server_hostname")


def _create(cls: type[ssl.SSLSocket], sock: Any, *arguments: Any, **named: Any) -> ssl.SSLSocket:
    """SSLSocket._create, which makes a TLSSocket of a ustack socket."""
    if isinstance(sock, Socket):
        return TLSSocket._create(sock, *arguments, **named)
    made: ssl.SSLSocket = _original.__func__(cls, sock, *arguments, **named)
    return made


def install() -> None:
    """From now on every SSLContext wraps ustack's sockets, too; what it does with others stays as it is."""
    if ssl.SSLSocket._create.__func__ is not _create:  # type: ignore[attr-defined]
        ssl.SSLSocket._create = classmethod(_create)  # type: ignore[attr-defined]
