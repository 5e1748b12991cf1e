"""The calls of ``Socket`` that move data: the recv and send families, makefile() and sendfile()."""

from __future__ import annotations

import io
import os
import socket
import stat
from collections.abc import Iterable
from operator import index
from typing import Any, BinaryIO, Final

from ustack.socket.address import Address, parse, present
from ustack.socket.ancillary import Ancillary, apply, check_pieces, control_messages, listed
from ustack.socket.arguments import fill, is_int, is_plain, judge, readable_bytes, writable_bytes
from ustack.socket.base import TO_READ, TO_WRITE, SocketBase
from ustack.socket.core import Core
from ustack.socket.datagram import DatagramCore
from ustack.socket.stream import StreamCore
from ustack.socket.text import MSG_FASTOPEN, MSG_OOB, MSG_TRUNC
from ustack.udp import Received

SENDFILE_BLOCK: Final = 1 << 18
MSG_CMSG_CLOEXEC: Final = 0x40000000
"""Stays in the flags that recvmsg() tells."""


class _Arrival:
    """What one receiving call brought: how many bytes, from where, with which msg_flags."""

    def __init__(self, count: int, address: object, flags: int, datagram: Received | None = None) -> None:
        self.count = count
        self.address = address
        self.flags = flags
        self.datagram = datagram


class _Scratch(bytearray):
    """Stands in for a buffer that has no plain view, until the data has come."""


def _space_of(buffer: Any) -> memoryview:
    view = writable_bytes(buffer)
    return view if view is not None else memoryview(_Scratch(memoryview(buffer).nbytes))


def _put(buffer: Any, view: memoryview, count: int) -> None:
    """``count`` bytes have come into ``view``, which ``_space_of(buffer)`` gave: they belong into ``buffer``."""
    if type(view.obj) is _Scratch:
        fill(buffer, view[:count])


def _let_go(*views: memoryview) -> None:
    """A call has failed: its traceback may live on, but the application's buffer can be resized again.

    Immutable bytes need no such care; the connection may still hold a view of them."""
    for view in views:
        if type(view.obj) is not bytes:
            view.release()


class Transfer(SocketBase):
    """Sending and receiving."""

    __slots__ = ()

    # Receiving

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """At most ``bufsize`` bytes; b"" at the end of a stream."""
        if not (is_int(bufsize) and bufsize > 0 and is_int(flags)):
            judge(self._family, self._kind, "recv", bufsize, flags)
            bufsize, flags = index(bufsize), index(flags)
            if bufsize == 0:
                return b""
        with self._lock, self._live() as core:
            if flags == 0 and isinstance(core, StreamCore):
                if not self._timeout:
                    return core.read(bufsize, self._timeout)
                return self._patiently(core, lambda: core.read(bufsize, 0), TO_READ)
            return self._take(core, bufsize, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """The data and where it came from (None for a stream)."""
        bufsize, flags = self._sizes("recvfrom", bufsize, flags)
        with self._lock, self._live() as core:
            data, arrival = self._take(core, bufsize, flags)
        return data, arrival.address

    def recv_into(self, buffer: object, nbytes: int = 0, flags: int = 0) -> int:
        """Into ``buffer`` (``nbytes`` of it; 0: all of it); how many bytes came."""
        view, flags = self._window("recv_into", buffer, nbytes, flags)
        if not len(view):
            return 0
        try:
            with self._lock, self._live() as core:
                if isinstance(core, StreamCore):
                    count = self._receive_text(core, view, flags)
                else:
                    count = self._receive(core, view, flags).count
        except BaseException:
            _let_go(view)
            raise
        _put(buffer, view, count)
        return count

    def recvfrom_into(self, buffer: object, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        view, flags = self._window("recvfrom_into", buffer, nbytes, flags)
        try:
            with self._lock, self._live() as core:
                arrival = self._receive(core, view, flags)
        except BaseException:
            _let_go(view)
            raise
        _put(buffer, view, arrival.count)
        return arrival.count, arrival.address

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Ancillary], int, Any]:
        """Data, ancillary data, msg_flags, address."""
        bufsize, ancbufsize, flags = self._sizes("recvmsg", bufsize, ancbufsize, flags)
        with self._lock, self._live() as core:
            data, arrival = self._take(core, bufsize, flags)
            ancillary, cut = control_messages(core, arrival.datagram, ancbufsize, arrival.count)
        return data, ancillary, arrival.flags | cut, arrival.address

    def recvmsg_into(
        self, buffers: Iterable[object], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Ancillary], int, Any]:
        """Scatter into several buffers; as recvmsg(), with the number of bytes instead of the data."""
        pieces: Any = list(buffers) if isinstance(buffers, Iterable) else buffers
        judge(self._family, self._kind, "recvmsg_into", pieces, ancbufsize, flags)
        ancbufsize, flags = index(ancbufsize), index(flags)
        views = [memoryview(buffer) for buffer in pieces]
        try:
            with self._lock, self._live() as core:
                check_pieces(len(views))
                data, arrival = self._take(core, sum(view.nbytes for view in views), flags)
                ancillary, cut = control_messages(core, arrival.datagram, ancbufsize, arrival.count)
        except BaseException:
            _let_go(*views)
            raise
        at = 0
        for view in views:
            fill(view, data[at : at + view.nbytes])
            at += view.nbytes
        return arrival.count, ancillary, arrival.flags | cut, arrival.address

    def _sizes(self, call: str, *values: Any) -> tuple[int, ...]:
        """Sizes and flags as they are; whatever is not plain is judged first."""
        if all(is_int(value) and value >= 0 for value in values):
            return values
        judge(self._family, self._kind, call, *values)
        return tuple(map(index, values))

    def _window(self, call: str, buffer: Any, nbytes: int, flags: int) -> tuple[memoryview, int]:
        """The part of ``buffer`` that a receiving call may fill, and the flags."""
        if not (is_plain(buffer, to_write=True) and is_int(nbytes) and 0 <= nbytes <= len(buffer) and is_int(flags)):
            judge(self._family, self._kind, call, buffer, nbytes, flags)
        view = _space_of(buffer)
        size = index(nbytes)
        return view[:size] if size else view, index(flags)

    def _take(self, core: Core, size: int, flags: int) -> tuple[bytes, _Arrival]:
        """``_receive`` into new bytes."""
        space = bytearray(size)
        with memoryview(space) as view:
            arrival = self._receive(core, view, flags)
        return bytes(space[: min(arrival.count, size)]), arrival

    def _receive_text(self, core: StreamCore, view: memoryview, flags: int) -> int:
        """recv(2) from a stream, with the socket's time-out."""
        if not self._timeout:
            if flags:
                return core.receive(view, flags, self._timeout)
            return core.read_into(view, self._timeout)
        return self._patiently(core, lambda: core.receive(view, flags, 0), TO_READ)

    def _receive(self, core: Core, view: memoryview, flags: int) -> _Arrival:
        """One recvmsg(2), with the socket's time-out."""
        kept = flags & MSG_CMSG_CLOEXEC
        if isinstance(core, StreamCore):
            count = self._receive_text(core, view, flags)
            return _Arrival(count, None, kept | (flags & MSG_OOB))
        assert isinstance(core, DatagramCore)
        if not self._timeout:
            found = core.receive(flags, self._timeout)
        else:
            found = self._patiently(core, lambda: core.receive(flags, 0), TO_READ)
        if found is None:
            return _Arrival(0, None, kept)
        count = min(len(found.data), len(view))
        view[:count] = found.data[:count]
        kept |= MSG_TRUNC if count < len(found.data) else 0
        if flags & MSG_TRUNC:
            count = len(found.data)
        return _Arrival(count, present(core.family, found.source, found.source_port), kept, found)

    # Sending

    def send(self, data: object, flags: int = 0, /) -> int:
        """How many bytes went into the send buffer: all of them when the socket has no time-out."""
        view, flags = self._text("send", data, flags)
        try:
            with self._lock, self._live() as core:
                return self._send(core, view, flags)
        except BaseException:
            _let_go(view)
            raise

    def _text(self, call: str, data: Any, flags: int) -> tuple[memoryview, int]:
        """The bytes of an argument, and the flags; whatever is not plain is judged first."""
        if is_plain(data) and is_int(flags):
            return memoryview(data), flags
        judge(self._family, self._kind, call, data, flags)
        return readable_bytes(data), index(flags)

    def _send(self, core: Core, view: memoryview, flags: int, deadline: int | None = None) -> int:
        assert isinstance(core, (StreamCore, DatagramCore))
        if not self._timeout:
            return core.send(view, flags, self._timeout)
        return self._patiently(core, lambda: core.send(view, flags, 0), TO_WRITE, deadline)

    def sendall(self, data: object, flags: int = 0, /) -> None:
        """Returns when the last byte is in the send buffer; the time-out bounds the whole call."""
        view, flags = self._text("sendall", data, flags)
        try:
            with self._lock, self._live() as core:
                deadline = core.now() + self._timeout if self._timeout else None
                while True:
                    sent = self._send(core, view, flags, deadline)
                    view = view[sent:]
                    if not view:
                        return
        except BaseException:
            _let_go(view)
            raise

    def sendto(self, data: object, *rest: Any) -> int:
        """``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        flags = rest[0] if len(rest) == 2 else 0
        if not 1 <= len(rest) <= 2 or type(data) is not bytes or not is_int(flags):
            judge(self._family, self._kind, "sendto", data, *rest)
        to = parse(self._family, self._kind, rest[-1], "sendto", b"")
        view = readable_bytes(data)
        try:
            with self._lock, self._live() as core:
                return self._send_to(core, view, index(flags), to)
        except BaseException:
            _let_go(view)
            raise

    def _send_to(self, core: Core, view: memoryview, flags: int, to: Address | None) -> int:
        if isinstance(core, DatagramCore) and to is not None:
            return core.send_to(view, flags, to)
        if flags & MSG_FASTOPEN and isinstance(core, StreamCore):
            if not self._timeout:
                return core.send_to(view, flags, self._timeout, to)
            return self._patiently(core, lambda: core.send_to(view, flags, 0, to), TO_WRITE)
        return self._send(core, view, flags)  # TCP passes over the address

    def sendmsg(
        self, buffers: Iterable[object], ancdata: Iterable[Any] = (), flags: int = 0, address: object = None, /
    ) -> int:
        """Gather several buffers into one send; IP_TOS and IP_TTL as ancillary data of a datagram."""
        pieces: Any = list(buffers) if isinstance(buffers, Iterable) else buffers
        control: Any = list(ancdata) if isinstance(ancdata, Iterable) else ancdata
        judge(self._family, self._kind, "sendmsg", pieces, control, flags)
        flags = index(flags)
        to = None if address is None else parse(self._family, self._kind, address, "sendmsg", (), (), 0)
        whole = readable_bytes(pieces[0]) if len(pieces) == 1 else memoryview(b"".join(map(readable_bytes, pieces)))
        messages = listed(control)
        try:
            with self._lock, self._live() as core:
                check_pieces(len(pieces))
                changed = apply(core, messages)
                try:
                    return self._send_to(core, whole, flags, to)
                finally:
                    for field, value in changed:
                        setattr(core.options, field, value)
        except BaseException:
            _let_go(whole)
            raise

    # Files

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file over the socket, as the standard library's: only 'r', 'w' and 'b' in ``mode``."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        binary = "b" in mode
        raw = socket.SocketIO(self, ("r" if reading else "") + ("w" if writing else ""))  # type: ignore[arg-type]
        self._io_refs += 1
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        if size == 0:
            if not binary:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffer: io.BufferedRWPair | io.BufferedReader | io.BufferedWriter
        if reading and writing:
            buffer = io.BufferedRWPair(raw, raw, size)
        elif reading:
            buffer = io.BufferedReader(raw, size)
        else:
            buffer = io.BufferedWriter(raw, size)
        if binary:
            return buffer
        # typeshed's TextIOWrapper does not know that a BufferedRWPair has all it needs
        text = io.TextIOWrapper(buffer, io.text_encoding(encoding), errors, newline)  # type: ignore[type-var]
        text.mode = mode  # type: ignore[misc]
        return text

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """Send a binary file from ``offset`` on; how many bytes went. There is no system call for it here: the
        file is read in blocks. A regular file is read at ``offset`` whatever its position; that is left behind the
        last byte sent."""
        self._check_sendfile(file, count)
        if self._timeout == 0:
            raise ValueError("non-blocking sockets are not supported")
        if self._core is None and _is_regular(file):
            raise ValueError("Invalid file descriptor: -1")  # what the standard library's selector says
        if offset or _is_regular(file):
            file.seek(offset)
        total = 0
        try:
            while count is None or total < count:
                block = file.read(SENDFILE_BLOCK if count is None else min(count - total, SENDFILE_BLOCK))
                if not block:
                    break
                view = memoryview(block)
                while view:
                    sent = self.send(view)
                    total += sent
                    view = view[sent:]
            return total
        finally:
            if total > 0 and hasattr(file, "seek"):
                file.seek(offset + total)

    def _check_sendfile(self, file: object, count: object) -> None:
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("file should be opened in binary mode")
        if self._kind != socket.SOCK_STREAM:
            raise ValueError("only SOCK_STREAM type sockets are supported")
        if count is None:
            return
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")


def _is_regular(file: BinaryIO) -> bool:
    """os.sendfile() would take it: the standard library then reads at ``offset``."""
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        return False
