"""CPython's own test_socket on ustack: ``python -m tests.socket.cpython_suite [-v] [CLASS[.test] ...]``.

The suite is the one of the interpreter that runs this (package ``test``). Its module ``socket`` is replaced by one
whose class ``socket`` makes sockets of a single host, which talks to itself over 127.0.0.1 and ::1. What is left out,
and why, stands below; everything else must pass.
"""

from __future__ import annotations

import faulthandler
import socket as kernel
import sys
import types
import unittest
from importlib import import_module
from typing import Any

import ustack
from ustack.device.memory import MemoryPair
from ustack.socket.core import Core
from ustack.socket.socket import Socket

CLASSES = [
    "GeneralModuleTests",
    "BasicTCPTest",
    "BasicUDPTest",
    "SendmsgUDPTest",
    "RecvmsgUDPTest",
    "RecvmsgIntoUDPTest",
    "SendmsgUDP6Test",
    "RecvmsgUDP6Test",
    "RecvmsgIntoUDP6Test",
    "RecvmsgRFC3542AncillaryUDP6Test",
    "RecvmsgIntoRFC3542AncillaryUDP6Test",
    "SendmsgTCPTest",
    "RecvmsgTCPTest",
    "RecvmsgIntoTCPTest",
    "InterruptedRecvTimeoutTest",
    "InterruptedSendTimeoutTest",
    "TCPCloserTest",
    "NonBlockingTCPTests",
    "FileObjectClassTestCase",
    "UnbufferedFileObjectClassTestCase",
    "LineBufferedFileObjectClassTestCase",
    "SmallBufferedFileObjectClassTestCase",
    "UnicodeReadFileObjectClassTestCase",
    "UnicodeWriteFileObjectClassTestCase",
    "UnicodeReadWriteFileObjectClassTestCase",
    "NetworkConnectionNoServer",
    "NetworkConnectionAttributesTest",
    "NetworkConnectionBehaviourTest",
    "TCPTimeoutTest",
    "UDPTimeoutTest",
    "BufferIOTest",
    "ContextManagersTest",
    "InheritanceTest",
    "NonblockConstantTest",
    "SendfileUsingSendTest",
    "CreateServerTest",
    "CreateServerFunctionalTest",
]

LEFT_OUT: dict[str, str] = {
    "testFromFd": "socket.fromfd() is for descriptors of the kernel",
    "testCloseException": "no two sockets own one descriptor",
    "test_socket_close": "socket.close(fd) is for descriptors of the kernel",
    "test_socket_fileno": "asks for a kernel's socket, also AF_UNIX, behind a descriptor",
    "test_SocketType_is_socketobject": "about the module _socket",
    "test__sendfile_use_sendfile": "about a private method",
    "test_socket_methods": "about a private method",
    "test_create_connection_all_errors": "localhost is always ::1 and 127.0.0.1",
    "test_create_connection_timeout": "puts a mock in the place of socket.socket",
    "SendfileUsingSendTest.testNonRegularFile": "about a private method",
    "testSourceAddress": "its clean-up closes the socket while its other thread still asks for the name",
    "test_unknown_socket_family_repr": "AF_INET and AF_INET6 only",
}
"""Test -> reason."""

_host: ustack.Host


class _Socket(Socket):
    """``socket.socket`` of the one host; subclasses of the suite's own keep their class."""

    def __init__(self, family: Any = -1, type: Any = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002
        if isinstance(family, Core):  # accept() and dup()
            super().__init__(family, type, proto if proto != -1 else None)
            return
        found = family if isinstance(family, Socket) else _host.socket(family, type, proto, fileno)
        core = found._core
        assert core is not None
        super().__init__(core, found.proto, found.gettimeout())
        self._own_fd, found._own_fd = found._own_fd, -1
        found._core = None

    _sendfile_use_send = _sendfile_use_sendfile = Socket.sendfile


def module() -> types.ModuleType:
    """A module like ``socket``, on the host."""
    made = types.ModuleType("socket")
    made.__dict__.update(kernel.__dict__)
    made.__dict__.update(
        socket=_Socket,
        SocketType=_Socket,
        create_connection=lambda *given, **named: _Socket(_host.create_connection(*given, **named)),
        create_server=lambda *given, **named: _Socket(_host.create_server(*given, **named)),
        has_dualstack_ipv6=lambda: True,
    )
    return made


def main(arguments: list[str]) -> int:
    """Runs the classes or tests that are named, or all; the exit status."""
    global _host
    suite: Any = import_module("test.test_socket")  # not every interpreter ships it

    faulthandler.dump_traceback_later(600, exit=True)
    pair = MemoryPair()
    with ustack.open_device(pair.left, "10.0.0.1/24", "127.0.0.1/8", "::1/128", "fd00::1/64") as _host:
        suite.socket = module()
        helper: Any = import_module("test.support.socket_helper")
        helper.socket = suite.socket  # find_unused_port() must ask this host, not the kernel
        with _host.create_server(("127.0.0.1", 0)) as server:  # starts the guard: the suite counts threads
            _host.create_connection(server.getsockname()).close()
        wanted = [name for name in arguments if not name.startswith("-")] or CLASSES
        tests = unittest.defaultTestLoader.loadTestsFromNames(wanted, suite)
        for test in flat(tests):
            reason = LEFT_OUT.get(".".join(test.id().split(".")[-2:])) or LEFT_OUT.get(test.id().split(".")[-1])
            if reason is not None and wanted is CLASSES:
                setattr(test, test._testMethodName, unittest.skip(reason)(lambda: None))
        result = unittest.TextTestRunner(verbosity=2 if "-v" in arguments else 1).run(tests)
    pair.close()
    return 0 if result.wasSuccessful() else 1


def flat(tests: unittest.TestSuite) -> list[Any]:
    found: list[Any] = []
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            found += flat(test)
        else:
            found.append(test)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
