"""GET and HEAD: files, parts of files, listings of folders."""

from __future__ import annotations

import email.utils
import errno
import html
import io
import mimetypes
import os
import secrets
import stat
import time
import urllib.parse
from http import HTTPStatus
from pathlib import Path

from ustack.cli.httpd.byteranges import UnsatisfiableError, parse_ranges
from ustack.cli.httpd.exchange import GRACE_S, IDLE_TIMEOUT_S, SLOWEST, SMALL, BodyError, Exchange, kind_of
from ustack.cli.text import size_text


class Downloads(Exchange):
    """The part of a connection that sends files."""

    def do_GET(self) -> None:  # noqa: N802 (http.server finds it by this name)
        self._serve(self._answer_file)

    def do_HEAD(self) -> None:  # noqa: N802 (http.server finds it by this name)
        self._serve(self._answer_file)

    def _answer_file(self) -> None:
        target = self._target()
        if target is None:
            self.refuse(HTTPStatus.FORBIDDEN, "that is outside of what is served here")
            return
        kind = kind_of(target)
        if stat.S_ISDIR(kind):
            if not self._path().endswith("/"):
                location = self._path().lstrip("/") + "/"
                self.refuse(HTTPStatus.MOVED_PERMANENTLY, "it is a folder", ("Location", "/" + location))
                return
            index = target / "index.html"
            kind = kind_of(index)
            if not stat.S_ISREG(kind) or not self._is_inside(index):
                self._answer_listing(target)
                return
            target = index
        if kind and not stat.S_ISREG(kind):  # to open a FIFO or a device may block, or do something
            self.refuse(HTTPStatus.FORBIDDEN, "that is no file")
            return
        try:
            file = open(target, "rb", buffering=0, opener=_open)  # noqa: SIM115 (closed below)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                self.refuse(HTTPStatus.NOT_FOUND, "there is no such file")
            else:
                self.refuse(HTTPStatus.FORBIDDEN, str(error.strerror))
        else:
            with file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    self._answer_open_file(target, file)
                else:
                    self.refuse(HTTPStatus.FORBIDDEN, "that is no file")

    def _answer_open_file(self, target: Path, file: io.FileIO) -> None:
        facts = os.fstat(file.fileno())
        size = facts.st_size
        tag = f'"{facts.st_mtime_ns:x}-{size:x}"'
        changed = email.utils.formatdate(facts.st_mtime, usegmt=True)
        common = [("ETag", tag), ("Last-Modified", changed), ("Accept-Ranges", "bytes")]
        if self._is_fresh(tag, facts.st_mtime):
            self._head(HTTPStatus.NOT_MODIFIED, 0, *common)
            return
        kind = mimetypes.guess_type(target.name)[0] or "application/octet-stream"
        wanted = self.headers.get("Range", "") if self.headers.get("If-Range", tag) in (tag, changed) else ""
        try:
            ranges = parse_ranges(wanted, size) if wanted and self.command == "GET" else []
        except UnsatisfiableError:
            outside = ("Content-Range", f"bytes */{size}")
            self.refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes", outside)
            return
        if len(ranges) > 1:
            self._answer_parts(file, ranges, size, kind, common)
            return
        common.append(("Content-Type", kind))
        start, end = ranges[0] if ranges else (0, size)
        if ranges:
            common.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        self._head(HTTPStatus.PARTIAL_CONTENT if ranges else HTTPStatus.OK, end - start, *common)
        if self.command == "GET":
            self._send_file(file, start, end)

    def _is_fresh(self, tag: str, changed: float) -> bool:
        """Whether the client's copy is good (RFC 9110 section 13.2.2): then 304."""
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return tags.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in tags.split(","))
        since = self.headers.get("If-Modified-Since")
        if since is None:
            return False
        try:
            return int(changed) <= email.utils.parsedate_to_datetime(since).timestamp()
        except (TypeError, ValueError, OverflowError):
            return False

    def _answer_parts(
        self, file: io.FileIO, ranges: list[tuple[int, int]], size: int, kind: str, common: list[tuple[str, str]]
    ) -> None:
        """Several ranges: multipart/byteranges (RFC 9110 section 14.6)."""
        boundary = secrets.token_hex(12)
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode()
            for start, end in ranges
        ]
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(end - start for start, end in ranges) + len(tail)
        parts = ("Content-Type", f"multipart/byteranges; boundary={boundary}")
        self._head(HTTPStatus.PARTIAL_CONTENT, length, *common, parts)
        for head, (start, end) in zip(heads, ranges, strict=True):
            self.wfile.write(head)
            self._send_file(file, start, end)
        self.wfile.write(tail)

    def _send_file(self, file: io.FileIO, start: int, end: int) -> None:
        """The bytes [start, end) of the file, in large pieces."""
        file.seek(start)
        if end - start <= SMALL:
            body = file.read(end - start) or b""
            self.wfile.write(body)
            self._moved += len(body)
            self._check_length(len(body), end - start)
            return
        self.wfile.flush()
        left = end - start
        while left:
            piece = self._buffer(left)
            begun = time.monotonic()
            count = file.readinto(piece[: min(left, len(piece))]) or 0
            if not count:
                break
            self.connection.settimeout(GRACE_S + count / SLOWEST)
            self.connection.sendall(piece[:count])
            self._moved += count
            left -= count
            self._pace(begun)
        self.connection.settimeout(IDLE_TIMEOUT_S)
        self._check_length(end - start - left, end - start)

    def _check_length(self, sent: int, promised: int) -> None:
        if sent < promised:  # all that is left is to end the connection, so that the client sees it
            raise BodyError("the file became shorter while it was read")

    def _answer_listing(self, folder: Path) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: (not entry.is_dir(), entry.name.lower()))
        except OSError as error:
            self.refuse(HTTPStatus.FORBIDDEN, str(error.strerror))
            return
        here = html.escape(urllib.parse.unquote(self._path(), errors="replace"))
        lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>{here}</title></head>"]
        lines.append(f"<body><h1>{here}</h1><table>")
        if folder != self.settings.directory:
            lines.append('<tr><td><a href="../">../</a></td><td></td></tr>')
        for entry in entries:
            if not entry.name.startswith("."):
                lines.append(_listing_row(entry))
        lines.append("</table></body></html>\n")
        body = "\n".join(lines).encode("utf-8", "surrogateescape")
        self._head(HTTPStatus.OK, len(body), ("Content-Type", "text/html; charset=utf-8"))
        if self.command == "GET":
            self.wfile.write(body)
            self._moved += len(body)


def _open(path: str, flags: int) -> int:
    """What has become a FIFO since it was looked at is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _listing_row(entry: os.DirEntry[str]) -> str:
    is_folder = entry.is_dir()
    try:
        size = "" if is_folder else size_text(entry.stat().st_size)
    except OSError:
        size = "?"
    name = entry.name + ("/" if is_folder else "")
    link = urllib.parse.quote(name, errors="surrogateescape")
    return f'<tr><td><a href="./{link}">{html.escape(name)}</a></td><td>{size}</td></tr>'
