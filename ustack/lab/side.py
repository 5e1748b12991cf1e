"""One host of the lab: a stack with ordinary sockets, whose calls are written down."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from ustack.counters import Counters
from ustack.lab.language import translate
from ustack.lab.report import Note
from ustack.settings import Settings
from ustack.socket.host import Host
from ustack.socket.tcpinfo import unpack_tcp_info
from ustack.stack.listing import sockets
from ustack.stack.ss import proc_net_tcp, ss
from ustack.tcp.state import State
from ustack.trace.events import Called, span

TCP_INFO_LENGTH = 280
_NOTED = ("bind", "listen", "accept", "connect", "send", "sendall", "sendto", "recv", "recvfrom", "shutdown", "close",
          "setsockopt")  # fmt: skip
"""Calls that are written down; the others only ask."""


class LabSocket:
    """A socket of a side: everything that a socket can do, and each call is written down with what it returned."""

    def __init__(self, side: Side, inner: Any) -> None:
        self._side = side
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _NOTED:
            return found
        return lambda *args: self._side.call(name, found, args)

    def __enter__(self) -> LabSocket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def state(self) -> str:
        """The state of the connection, by TCP_INFO (a socket never sees TIME_WAIT: it is CLOSED then, as on Linux)."""
        return State(self.info()["state"]).name

    def info(self) -> dict[str, int]:
        """TCP_INFO by the names of Linux, without ``tcpi_``: times in microseconds, windows in segments."""
        return unpack_tcp_info(self._inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH))

    @property
    def silent(self) -> Any:
        """The same socket, whose calls are not written down."""
        return self._inner

    def discard(self) -> None:
        """close(), without a note."""
        self._inner.close()

    def read_all(self, size: int = 1 << 20) -> bytes:
        """What has arrived, without waiting; empty when there is nothing."""
        before = self._inner.gettimeout()
        self._inner.settimeout(0)
        try:
            return bytes(self._side.call("recv", self._inner.recv, (size,)))
        except BlockingIOError:
            return b""
        finally:
            self._inner.settimeout(before)


class Side:
    """A host of the lab: ``socket()`` makes sockets of the standard library's kind on it."""

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        host: Host,
        write: Callable[[Called, str], Note],
        now: Callable[[], int],
    ) -> None:
        self.name = name
        self.address = address
        self.settings = settings
        self.host = host
        self._write = write
        self._now = now
        self.open: list[LabSocket] = []

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> LabSocket:
        """As ``socket.socket()``."""
        self._write(Called(self._now(), "", "", "", "socket()"), self.name)
        return self._kept(self.host.socket(family, kind))

    def listen(self, port: int = 80, backlog: int = 128) -> LabSocket:
        """A listening socket."""
        made = self.socket()
        made.silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.silent.bind(("", port))
        made.listen(backlog)
        return made

    def connect(self, to: Side, port: int = 80, timeout: float | None = None) -> LabSocket:
        """A connected socket. Raises what ``connect()`` raises."""
        made = self.socket()
        made.settimeout(timeout)
        made.connect((to.address, port))
        return made

    def start_connecting(self, to: Side, port: int = 80, local_port: int = 0) -> LabSocket:
        """A socket that is connecting: ``connect()`` has returned EINPROGRESS."""
        made = self.socket()
        if local_port:
            made.bind(("", local_port))
        made.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            made.connect((to.address, port))
        made.setblocking(True)
        return made

    def sysctl(self, **settings: Any) -> None:
        """As ``sysctl -w``: other settings from now on."""
        self.settings = self.host.stack.settings = self.settings.replace(**settings)
        for name, value in settings.items():
            self._write(Called(self._now(), "", "", "", f"sysctl -w {name}={value}"), self.name)

    def call(self, name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Calls a function of a socket and writes down what came of it: at once, or once more when it had to wait."""
        began = self._now()
        shown = f"{name}({', '.join(_arguments(name, args))})"
        note = self._write(Called(began, "", "", "", shown), self.name)
        try:
            found = function(*args)
        except OSError as error:
            self._note_result(note, began, shown, error_name(error))
            raise
        if name == "accept":
            found = self._kept(found[0]), found[1]
        self._note_result(note, began, shown, _result(name, found))
        return found

    def _note_result(self, note: Note, began: int, call: str, result: str) -> None:
        now = self._now()
        if now == began:
            note.event = Called(note.event.at, "", "", "", call, result)
        else:
            text = f"{result or 'done'} after {span(now - began)}"
            self._write(Called(now, "", "", "", f"{call.partition('(')[0]}()", text), self.name)

    def exit(self) -> None:
        """The process ends, killed or not: the system closes every socket that it had."""
        self._write(Called(self._now(), "", "", "", translate("the process dies")), self.name)
        self.close()

    def close(self) -> None:
        """Closes what is open, without a note."""
        for one in self.open:
            one.discard()
        self.open.clear()

    def _kept(self, inner: Any) -> LabSocket:
        made = LabSocket(self, inner)
        self.open.append(made)
        return made

    def set_mtu(self, mtu: int) -> None:
        """Bytes of the longest IP packet that this host's link takes (1500 if nothing else is said)."""
        self.host.stack.set_mtu(mtu)

    @property
    def counters(self) -> Counters:
        """What nstat would show here."""
        return self.host.counters

    def listing(self) -> list[str]:
        """What ``ss -tan`` shows here, and for how long each socket has been in its state."""
        return [row.line(self._now()) for row in sockets(self.host.stack.tcp)]

    def tool(self, command: str) -> list[str]:
        """What a tool prints here, in its own columns: ``ss -tan`` with ``o`` and ``i``, ``cat /proc/net/tcp``."""
        tcp, now = self.host.stack.tcp, self._now()
        name, _, flags = command.partition(" ")
        if name == "ss":
            return ss(tcp, now, timers="o" in flags, info="i" in flags, listening="l" in flags)
        return proc_net_tcp(tcp, now)

    def states(self) -> list[str]:
        """The states of all TCP sockets here, listeners first."""
        return [row.state.name for row in sockets(self.host.stack.tcp)]


def error_name(error: OSError) -> str:
    """``ETIMEDOUT``, of an error that a call raised."""
    if error.errno is None:
        return "timed out" if isinstance(error, TimeoutError) else str(error)
    return errno.errorcode.get(error.errno, os.strerror(error.errno))


_HOW = {socket.SHUT_RD: "SHUT_RD", socket.SHUT_WR: "SHUT_WR", socket.SHUT_RDWR: "SHUT_RDWR"}
_FORCED = {32: "SO_SNDBUFFORCE", 33: "SO_RCVBUFFORCE"}
"""socket(7) has them, the standard library has not."""


def _arguments(call: str, args: tuple[Any, ...]) -> list[str]:
    if call == "setsockopt":
        return _names(args)
    if call == "shutdown":
        return [_HOW.get(args[0], repr(args[0]))]
    return [_shown(arg) for arg in args]


def _names(args: tuple[Any, ...]) -> list[str]:
    """The arguments of setsockopt(), with the names of Linux: ``SOL_SOCKET, SO_LINGER, {1, 0}``."""
    level, option, value = args
    levels = {socket.SOL_SOCKET: ("SOL_SOCKET", "SO_"), socket.IPPROTO_TCP: ("IPPROTO_TCP", "TCP_"),
              socket.IPPROTO_IP: ("IPPROTO_IP", "IP_")}  # fmt: skip
    level_name, prefix = levels.get(level, (str(level), ""))
    names = [
        name
        for name in dir(socket)
        if prefix
        and name.startswith(prefix)
        and getattr(socket, name) == option
        and not name.startswith(("SO_J1939", "SO_VM"))
    ]
    if isinstance(value, bytes) and len(value) == 8:
        value = "{{{}, {}}}".format(*struct.unpack("ii", value))
    elif isinstance(value, bytes):
        value = repr(value.decode("latin-1"))
    if level == socket.SOL_SOCKET and option in _FORCED:
        names = [_FORCED[option]]
    return [level_name, names[0] if names else str(option), str(value)]


def _shown(arg: object) -> str:
    if isinstance(arg, bytes | bytearray | memoryview):
        return f"{len(arg)} bytes"
    return repr(arg)


def _result(name: str, found: Any) -> str:
    if isinstance(found, bytes):
        return f"{len(found)} bytes" if found else "end of stream"
    if name == "recvfrom":
        return f"{len(found[0])} bytes from {found[1][0]}:{found[1][1]}"
    if name == "accept":
        return f"connection from {found[1][0]}:{found[1][1]}"
    return "" if found is None else str(found)
