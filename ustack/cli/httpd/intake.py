"""What comes in on a connection: never waited for longer than agreed, never more of a head than agreed."""

from __future__ import annotations

import http.client
import io
import re
import time
from email.message import Message
from typing import Any

HEAD_SIZE = 1 << 16
"""Bytes of all header lines of a request together."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_LENGTH = re.compile(r"[0-9]+\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\r\n]*)?\r?\n\Z")
_HUGE_DIGITS = 18


class Intake(io.RawIOBase):
    """Reads a socket until ``deadline`` (``time.monotonic()``), which a sender of one byte each minute cannot move."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError after the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return int(self._connection.recv_into(buffer))


class Head:
    """The file that a request's header lines are read from: HEAD_SIZE bytes at most.

    ``has_bare_cr``: a CR stood inside of a line (RFC 9112 section 2.2), which the standard library's parser takes for
    the line's end, so that a value could hide a header from whatever stands in between."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.has_bare_cr = False
        self._left = HEAD_SIZE

    def readline(self, limit: int = -1) -> bytes:
        """Raises LineTooLong, which http.server answers with 431."""
        line: bytes = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header")
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            self.has_bare_cr = True
        return line


def head_fault(headers: Message, version: str) -> str:
    """What is wrong with a request's headers by RFC 9112 sections 3.2, 5 and 6; "" when nothing is.

    Two readings of where a request ends are how requests are smuggled past a proxy: each is refused.
    """
    if headers.defects:
        return "a header line is none"
    for name, value in headers.items():
        if not _TOKEN.match(name) or any(c in value for c in "\r\n\0"):
            return "a header line is none"
    hosts = headers.get_all("Host", [])
    if len(hosts) > 1 or (not hosts and version >= "HTTP/1.1"):
        return "a request names one Host"
    lengths = headers.get_all("Content-Length", [])
    if not all(_LENGTH.match(length.strip()) for length in lengths):
        return "Content-Length is a number"
    if len({length.strip() for length in lengths}) > 1:
        return "two different Content-Lengths"
    if "Transfer-Encoding" in headers:
        if lengths:
            return "Content-Length and Transfer-Encoding exclude each other"
        if version < "HTTP/1.1":
            return "HTTP/1.0 knows no Transfer-Encoding"
    return ""


def content_length(headers: Message) -> int:
    """Bytes of the body, by a header that ``head_fault`` has found right; -1 without one."""
    text = headers.get("Content-Length", "").strip()
    return number(text) if text else -1


def number(digits: str) -> int:
    """What digits say; more of them than any file has bytes are all the same."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _HUGE_DIGITS else 10**_HUGE_DIGITS


def chunk_size(line: bytes) -> int:
    """The bytes of a chunk by its whole first line (RFC 9112 section 7.1). Raises ValueError."""
    match = _CHUNK.match(line)
    if match is None:
        raise ValueError("a chunk without a length")
    return int(match[1], 16)
