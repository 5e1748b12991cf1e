"""A real descriptor for a socket that has none: what ``fileno()`` gives to select, poll and epoll.

A stream socketpair of the kernel stands in. The application holds one end; the other is ours. The
application's end is readable when a byte of ours waits in it, and not writable when its own send buffer (made as
small as the kernel allows) is full: we fill and drain both from this side.

==================  =====================================================================
wanted              done
==================  =====================================================================
POLLIN              one byte lies in the application's end
no POLLIN           that byte is taken out again
no POLLOUT          the application's end has sent more than a quarter of its buffer
POLLOUT             we have read what it sent
POLLRDHUP           our end is shut down for writing (for good: an end of stream never goes back)
POLLHUP             ... and for reading
a new edge          another byte is put in before the old one is taken out, so that EPOLLET
                    sees every arrival and nobody ever sees the socket unreadable in between
==================  =====================================================================

POLLERR, and the POLLHUP of a socket that never was connected, cannot be made this way: they show as POLLIN
(select() treats them so on Linux). Urgent data is the kernel's own out-of-band byte, POLLPRI, which brings a
POLLIN with it.

sendfile(2) and splice(2) into the descriptor fail with EINVAL, as into every file with O_APPEND: what they wrote would
be lost, while asyncio, for one, takes the refusal as a hint to read and send by itself.

Nothing exists before the first ``fileno()``; then the socket layer calls :meth:`Readiness.show` after each event
and call.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
from typing import Final

IN: Final = select.POLLIN
OUT: Final = select.POLLOUT
ERR: Final = select.POLLERR
HUP: Final = select.POLLHUP
RDHUP: Final = select.POLLRDHUP
PRI: Final = select.POLLPRI

_NOW: Final = socket.MSG_DONTWAIT
_FILL: Final = bytes(2048)
"""One such buffer is charged more than a quarter of the smallest SO_SNDBUF (4608), what AF_UNIX calls full."""


class Readiness:
    """The pair. ``fd`` is the application's. Not thread-safe: the caller holds the driver's lock."""

    def __init__(self) -> None:
        self.theirs, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        fcntl.fcntl(self.theirs, fcntl.F_SETFL, os.O_APPEND)
        self._readable = False
        self._writable = True
        self._urgent = False
        self._shut = 0

    @property
    def fd(self) -> int:
        return self.theirs.fileno()

    def set_blocking(self, blocking: bool) -> None:
        """What O_NONBLOCK of the descriptor says: nobody reads from it, but some look."""
        self.theirs.setblocking(blocking)

    def show(self, mask: int, edges: int = 0) -> None:
        """Make the descriptor look like ``mask`` (poll's bits). ``edges``: the bits that are new again (EPOLLET)."""
        readable = bool(mask & (IN | ERR | HUP))
        writable = bool(mask & (OUT | ERR | HUP))
        if readable and (not self._readable or edges & IN):
            self._signal()
        elif not readable and self._readable:
            self._take(self.theirs)
        self._readable = readable
        if writable and (not self._writable or edges & OUT):
            self._allow(again=self._writable)
        elif not writable and self._writable:
            self._fill()
        self._writable = writable
        self._show_urgent(bool(mask & PRI))
        if mask & RDHUP:
            self._shut_down(mask)

    def _signal(self) -> None:
        with contextlib.suppress(OSError):  # shut down: it is readable for ever
            self._ours.send(b"r")
            if self._readable:
                self.theirs.recv(1, _NOW)

    def _fill(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.theirs.send(_FILL, _NOW)

    def _allow(self, *, again: bool) -> None:
        if again:  # only a write-space event of the kernel's makes a new edge
            with contextlib.suppress(OSError):
                self.theirs.send(b"w", _NOW)
        self._take(self._ours)

    def _show_urgent(self, urgent: bool) -> None:
        if urgent == self._urgent:
            return
        self._urgent = urgent
        with contextlib.suppress(OSError):  # a kernel older than 5.15 has no such byte
            if urgent:
                self._ours.send(b"!", socket.MSG_OOB)
            else:
                self.theirs.recv(1, socket.MSG_OOB | _NOW)
                self._take(self.theirs)  # the mark stays in the queue and reads as POLLIN
                if self._readable:
                    self._ours.send(b"r")

    def _shut_down(self, mask: int) -> None:
        wanted = 3 if mask & HUP else 1
        if not self._shut & 1:
            self._ours.shutdown(socket.SHUT_WR)
        if wanted & 2 and not self._shut & 2:
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RD)
        self._shut |= wanted

    @staticmethod
    def _take(end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while end.recv(65536, _NOW):
                pass

    def close(self) -> None:
        """Give both descriptors back. Whoever still polls the application's end sees what the kernel shows then."""
        self._ours.close()
        self.theirs.close()
