"""What the descriptors of one socket share, with the semantics of Linux's system calls.

Three layers make a socket. Stack, Connection and UdpEndpoint never block. A *core* is the kernel's ``struct sock``: it
adds blocking, errno and poll's mask, exactly as Linux's calls do. ``socket.Socket`` is what the
standard library's ``socketmodule.c`` is: timeouts, exceptions, Python's conventions. Tools that need the system call
itself (the packetdrill runner) use the core.

Every method of a core is called with ``net.driver.lock`` held, and may let go of it while it waits.
``limit`` is how long a call may block, in nanoseconds: 0 not at all (O_NONBLOCK), None as long as
SO_RCVTIMEO or SO_SNDTIMEO says (and for ever when that is not set).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self

from ustack.errors import from_errno
from ustack.events import Event, EventKind, Owner
from ustack.socket.address import Address
from ustack.socket.readiness import HUP, IN, OUT, RDHUP, Readiness
from ustack.sockopts import PMTUDISC_DONT, SocketOptions
from ustack.stack.stack import Stack

ELSEWHERE: Final = "this stack belongs to the process that opened it; a child of fork() cannot use it: open one here"

RCV_SHUTDOWN: Final = 1
SEND_SHUTDOWN: Final = 2

NEW_EDGE: Final = {
    EventKind.READABLE: IN,
    EventKind.ACCEPTABLE: IN,
    EventKind.URGENT: IN,
    EventKind.PEER_CLOSED: IN | RDHUP,
    EventKind.WRITABLE: OUT,
    EventKind.ESTABLISHED: OUT,
    EventKind.ERROR: IN | OUT,
    EventKind.RESET: IN | OUT,
    EventKind.TIMED_OUT: IN | OUT,
    EventKind.CLOSED: IN | OUT | HUP,
}


def failure(code: int) -> OSError:
    """The error for ``code``: of the builtin class that the standard library raises."""
    return from_errno(code)


class Driver(Protocol):
    """What a core needs of a driver: ``driver.thread.ThreadDriver``, or one with a clock that jumps."""

    @property
    def lock(self) -> AbstractContextManager[Any]: ...

    def now(self) -> int: ...

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable) -> bool: ...

    def flush(self) -> None: ...

    def wake(self, waiter: Hashable) -> None: ...

    def defer(self, action: Callable[[], object]) -> None: ...


class Attachment:
    """What all sockets of one Host share."""

    def __init__(self, stack: Stack, driver: Driver, device_name: str = "") -> None:
        self.stack = stack
        self.driver = driver
        self.device_name = device_name
        self.closed = False
        self.is_elsewhere = False
        """This is the child of a fork(): the stack lives on in the parent."""
        self.cores: set[Core] = set()
        self.detached: dict[int, Core] = {}
        """Sockets that were detach()ed, by the number of their descriptor."""
        self._cookies = 0

    def shut_down(self) -> None:
        """The Host closes: connections are reset, blocked calls end with ENETDOWN."""
        try:
            for core in list(self.cores):
                core.options.linger_s = 0
                core.close()
            self.driver.flush()
        finally:
            self.closed = True
            for core in list(self.cores):
                self.driver.wake(core)
                core.discard()
            self.detached.clear()

    def forked(self) -> None:
        """In the child of a fork(): nothing here may touch what is the parent's."""
        self.closed = self.is_elsewhere = True
        for core in list(self.cores):
            core.discard()
        self.detached.clear()

    def gone(self) -> OSError:
        """Why there is no stack any more, to be raised."""
        if self.is_elsewhere:
            return OSError(errno.ENETDOWN, ELSEWHERE)
        return failure(errno.ENETDOWN)

    def cookie(self) -> int:
        """SO_COOKIE: a number that no other socket of this Host has had."""
        self._cookies += 1
        return self._cookies


class Core(Owner):
    """The common part of a stream and a datagram socket."""

    kind = 0
    protocol = 0

    def __init__(self, net: Attachment, family: int) -> None:
        self.net = net
        self.family = family
        self.options = SocketOptions()
        if net.stack.settings.ip_no_pmtu_disc:
            self.options.mtu_discover = PMTUDISC_DONT
        self.stored: dict[tuple[int, int], int] = {}
        """Options that change nothing here and are only remembered."""
        self.error = 0
        self.shut = 0
        self.rcvtimeo = 0
        """SO_RCVTIMEO, ns; 0: none."""
        self.sndtimeo = 0
        self.linger_s = 0
        """l_linger as last set: getsockopt shows it even when SO_LINGER is off."""
        self.references = 1
        """Socket objects (dup()) and detached descriptors that hold this socket."""
        self.readiness: Readiness | None = None
        self.cookie = 0
        self.extra_fds: list[int] = []
        """The descriptors of duplicates, closed with the core at the latest."""
        self._calls = 0
        self._released = False
        net.cores.add(self)

    def __enter__(self) -> Self:
        """An application's call begins, under the lock. Like a call on Linux it keeps the socket alive: a close() by
        another thread, while this one waits, takes effect at the end of it."""
        self._calls += 1
        return self

    def __exit__(self, *exc: object) -> None:
        """The call ends, still under the lock."""
        self._calls -= 1
        if self._released and not self._calls:
            self._finish()
        else:
            self.refresh()

    # Waiting

    def now(self) -> int:
        return self.net.driver.now()

    def deadline(self, limit: int | None, option: int) -> int | None:
        """The instant at which a blocking call gives up; ``option`` is the socket's own time-out."""
        if limit is None:
            limit = option
        return self.now() + limit if limit else None

    def wait(self, ready: Callable[[], bool], deadline: int | None) -> bool:
        """Block until ``ready()`` (true) or the deadline (false). Raises ENETDOWN when the Host is closed."""
        driver = self.net.driver
        driver.flush()
        done = driver.wait(ready, deadline, self)
        if self.net.closed:
            raise self.net.gone()
        return done

    def on_event(self, event: Event) -> None:
        """The driver tells what happened to this socket's endpoint. Called with the lock held."""
        if self.readiness is not None:
            self.readiness.show(self.poll(), NEW_EDGE.get(event.kind, 0))

    def close_descriptor(self, fd: int) -> None:
        """Give back the descriptor of one duplicate, unless the whole socket's end has done so."""
        if fd in self.extra_fds:
            self.extra_fds.remove(fd)
            os.close(fd)

    def refresh(self) -> None:
        """After a call of the application: sending what is to be sent, and the descriptor's looks."""
        self.net.driver.flush()
        if self.readiness is not None:
            self.readiness.show(self.poll())

    def descriptor(self, blocking: bool = True) -> int:
        """The number that select, poll and epoll may watch; made at the first call."""
        if self.readiness is None:
            self.readiness = Readiness()
            self.readiness.set_blocking(blocking)
            self.readiness.show(self.poll())
        return self.readiness.fd

    # The end

    def release(self) -> None:
        """One holder less; the last one closes."""
        self.references -= 1
        if self.references > 0:
            return
        self._released = True
        if not self._calls:
            self._finish()

    def _finish(self) -> None:
        if self not in self.net.cores:
            return
        try:
            self.close()
            self.net.driver.flush()
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget the core, give its descriptors back."""
        self.net.cores.discard(self)
        if self.readiness is not None:
            self.readiness.close()
            self.readiness = None
        while self.extra_fds:
            os.close(self.extra_fds.pop())

    # What a kind of socket defines

    def poll(self) -> int:
        """poll(2)'s mask, POLLERR and POLLHUP included."""
        raise NotImplementedError

    def bind(self, address: bytes, port: int) -> None:
        raise NotImplementedError

    def connect(self, address: bytes, port: int, limit: int | None) -> None:
        raise NotImplementedError

    def listen(self, backlog: int) -> None:
        raise failure(errno.EOPNOTSUPP)

    def accept(self, limit: int | None) -> Core:
        raise failure(errno.EOPNOTSUPP)

    def disconnect(self) -> None:
        """connect(2) to AF_UNSPEC."""
        raise NotImplementedError

    def shutdown(self, how: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Give the endpoint up (close(2)); nothing blocks but SO_LINGER."""
        raise NotImplementedError

    def local_name(self) -> Address:
        raise NotImplementedError

    def peer_name(self) -> Address:
        """Raises ENOTCONN."""
        raise NotImplementedError

    def accepted_from(self) -> Address:
        """Whom accept(2) names: also a peer that has reset the connection meanwhile."""
        return self.peer_name()

    def take_error(self) -> int:
        """The pending errno, which is then forgotten."""
        code, self.error = self.error, 0
        return code

    def take_any_error(self) -> int:
        """SO_ERROR: the pending errno; without one the soft error that was noted last (Linux's sk_err_soft)."""
        return self.take_error()

    def is_live(self) -> bool:
        """An endpoint exists that an option may concern."""
        return False

    def option_changed(self, name: str) -> None:
        """Field ``name`` of ``options`` has a new value."""

    def unread(self) -> int:
        """SIOCINQ."""
        return 0

    def unsent(self) -> int:
        """SIOCOUTQ."""
        return 0

    def wildcard(self) -> bytes:
        """The local address of a socket that is not bound."""
        raise NotImplementedError
