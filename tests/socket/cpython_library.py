"""CPython's tests of what stands upon its sockets: ``python -m tests.socket.cpython_library [-v] MODULE [NAME ...]``.

Servers, clients and event loops of the standard library find a module ``socket`` whose class makes sockets of one host
(see ``cpython_suite.py``), before they are imported. AF_UNIX stays the kernel's. What is left out stands below.
"""

from __future__ import annotations

import faulthandler
import socket as kernel
import sys
import unittest
from importlib import import_module
from typing import Any

import ustack
from tests.socket import cpython_suite
from ustack.device.memory import MemoryPair

MODULES = [
    "test_socketserver",
    "test_httpservers",
    "test_httplib",
    "test_urllib2_localnet",
    "test_xmlrpc",
    "test_smtplib",
    "test_ftplib",
    "test_poplib",
    "test_imaplib",
    "test_telnetlib",
    "test_asynchat",
    "test_asyncore",
    "test_timeout",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_server",
    "test_asyncio.test_streams",
    "test_asyncio.test_events",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_sendfile",
    "test_asyncio.test_buffered_proto",
]

TLS = "the module ssl wraps descriptors of the kernel; with a stack of one's own TLS is an SSLObject"
FORK = "a child of fork() cannot use the parent's stack"
LEFT_OUT: dict[str, str] = {
    "test_ForkingTCPServer": FORK,
    "test_ForkingUDPServer": FORK,
    "test_response_fileno": "makes a second socket of one descriptor",
    "test_sendfile_prevents_bare_write": "asyncio reads and sends by itself, and then other writes may come between",
    "test_local_bad_hostname": TLS,
    "test_local_good_hostname": TLS,
    "test_local_unknown_cert": TLS,
    "test_stls": TLS,
    "test_stls_context": TLS,
}
"""Test -> reason."""
OF_TLS = ("ssl", "tls", "test_https")
"""In the name of a test or its class: about TLS."""


class _Socket(cpython_suite._Socket):
    def __new__(cls, family: Any = -1, *given: Any, **named: Any) -> Any:
        if family == kernel.AF_UNIX:
            return kernel.socket(family, *given, **named)
        return super().__new__(cls)


def install(host: ustack.Host) -> None:
    """From here on ``import socket`` finds the host's."""
    cpython_suite._host = host
    cpython_suite._Socket = _Socket  # type: ignore[misc]
    sys.modules["socket"] = made = cpython_suite.module()
    for module in list(sys.modules.values()):
        if getattr(module, "socket", None) is kernel and module.__name__.partition(".")[0] not in ("ustack", "tests"):
            module.socket = made  # type: ignore[attr-defined]
    with host.create_server(("127.0.0.1", 0)) as server:  # starts the guard: the suites count threads
        host.create_connection(server.getsockname()).close()


def left_out(test: str) -> str:
    """Why; empty when it has to pass."""
    group, name = test.split(".")[-2:]
    if name in LEFT_OUT:
        return LEFT_OUT[name]
    return TLS if any(word in (group + "." + name).lower() for word in OF_TLS) else ""


def main(arguments: list[str]) -> int:
    """Runs a module's tests, or those that are named; the exit status."""
    name, *wanted = [each for each in arguments if each != "-v"]
    faulthandler.dump_traceback_later(300, exit=True)
    pair = MemoryPair()
    with ustack.open_device(pair.left, "10.0.0.1/24", "127.0.0.1/8", "::1/128", "fd00::1/64") as host:
        install(host)
        suite = import_module(f"test.{name}")
        loader = unittest.defaultTestLoader
        tests = loader.loadTestsFromNames(wanted, suite) if wanted else loader.loadTestsFromModule(suite)
        for test in cpython_suite.flat(tests):
            reason = left_out(test.id())
            if reason and not wanted:
                setattr(test, test._testMethodName, unittest.skip(reason)(lambda: None))
        result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(tests)
    pair.close()
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
