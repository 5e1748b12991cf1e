"""What iperf3 says on its control connection: a cookie, one byte for each state, JSON behind a length.

Client and server walk through the same states; the server names each next one, except the end of the test and the
very end, which the client names. Seen on the wire of iperf 3.12 and described in its wiki, "IperfProtocolStates".
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, Protocol

DEFAULT_PORT = 5201
COOKIE_SIZE = 37
"""Bytes: 36 letters and digits, then a NUL."""

COOKIE_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
LARGEST_JSON = 1 << 20
"""Bytes of parameters or results that a peer may send: 128 streams' results are far below."""


class State(IntEnum):
    """The states, as the byte that announces them."""

    TEST_START = 1
    TEST_RUNNING = 2
    TEST_END = 4
    PARAM_EXCHANGE = 9
    CREATE_STREAMS = 10
    SERVER_TERMINATE = 11
    CLIENT_TERMINATE = 12
    EXCHANGE_RESULTS = 13
    DISPLAY_RESULTS = 14
    IPERF_START = 15
    IPERF_DONE = 16
    SERVER_ERROR = 254
    ACCESS_DENIED = 255


class Flow(Protocol):
    """What is asked of a socket: the kernel's and ustack's both have it."""

    def send(self, data: Any, /) -> int: ...
    def sendall(self, data: Any, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def recv_into(self, buffer: Any, /) -> int: ...
    def setsockopt(self, level: int, name: int, value: Any, /) -> None: ...
    def getsockopt(self, level: int, name: int, size: int = ..., /) -> Any: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...
    def close(self) -> None: ...


class ProtocolError(Exception):
    """The other end broke the protocol, went away, or refused."""


BROKEN = (ProtocolError, TimeoutError, ConnectionError)
"""How a test ends when the fault is the other end's, or the network's."""


def recv_exact(flow: Flow, size: int) -> bytes:
    """Exactly so many bytes. Raises ProtocolError when the peer ends before."""
    data = bytearray()
    while len(data) < size:
        piece = flow.recv(size - len(data))
        if not piece:
            raise ProtocolError("the control connection was closed by the other end")
        data += piece
    return bytes(data)


def send_state(flow: Flow, state: State) -> None:
    """Announces the next state."""
    flow.sendall(bytes([state]))


def recv_state(flow: Flow) -> State:
    """The next state. Raises ProtocolError for an unknown one, and for a server's refusal or failure."""
    value = recv_exact(flow, 1)[0]
    try:
        state = State(value)
    except ValueError:
        raise ProtocolError(f"no such state: {value}") from None
    if state is State.ACCESS_DENIED:
        raise ProtocolError("the server is busy with another test: try again later")
    if state is State.SERVER_TERMINATE:
        raise ProtocolError("the server was stopped")
    if state is State.SERVER_ERROR:
        code, errno = struct.unpack("!ii", recv_exact(flow, 8))
        raise ProtocolError(f"the server failed: iperf error {code}, errno {errno}")
    return state


def expect_state(flow: Flow, *wanted: State) -> State:
    """The next state, which must be one of these. Raises ProtocolError."""
    state = recv_state(flow)
    if state not in wanted:
        raise ProtocolError(f"expected {' or '.join(state.name for state in wanted)}, got {state.name}")
    return state


def send_json(flow: Flow, value: dict[str, Any]) -> None:
    """A JSON object behind its length, 4 bytes in network order."""
    text = json.dumps(value).encode()
    flow.sendall(struct.pack("!I", len(text)) + text)


def recv_json(flow: Flow) -> dict[str, Any]:
    """One JSON object. Raises ProtocolError when it is too long or none."""
    (size,) = struct.unpack("!I", recv_exact(flow, 4))
    if size > LARGEST_JSON:
        raise ProtocolError(f"{size} bytes of JSON are too many")
    try:
        value = json.loads(recv_exact(flow, size))
    except (ValueError, RecursionError):
        raise ProtocolError("what should be JSON is none") from None
    if not isinstance(value, dict):
        raise ProtocolError("the JSON is no object")
    return value


def make_cookie(random: bytes) -> bytes:
    """The name of a test from 36 random bytes: the letters that iperf3 uses, then a NUL."""
    letters = "".join(COOKIE_LETTERS[byte % len(COOKIE_LETTERS)] for byte in random[: COOKIE_SIZE - 1])
    return letters.encode() + b"\0"


def stream_id(index: int) -> int:
    """The number that iperf3 gives to its n-th stream: 1, 3, 4, 5, ..., and both ends must agree."""
    return 1 if index == 0 else index + 2
