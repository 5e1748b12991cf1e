"""PUT: a file comes in whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
import time
from http import HTTPStatus
from pathlib import Path

from ustack.cli.httpd.exchange import GRACE_S, SLOWEST, BadBodyError, BodyError, Exchange, kind_of
from ustack.cli.httpd.intake import chunk_size, content_length
from ustack.cli.text import size_text

CHUNK_LINE = 1024
TRAILERS, TRAILER_LINE = 100, 8192
"""Lines after the last chunk, and bytes of each."""


class Uploads(Exchange):
    """The part of a connection that stores files."""

    def do_PUT(self) -> None:  # noqa: N802 (http.server finds it by this name)
        self._serve(self._answer_upload)

    def handle_expect_100(self) -> bool:
        """curl asks before it sends a large body: say no at once where it cannot be stored."""
        refused = self._upload_refusal() if self.command == "PUT" else None
        if refused is not None:
            self.close_connection = True
            self._serve(lambda: self.refuse(*refused))
            return False
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        self.wfile.flush()
        return True

    def _upload_refusal(self) -> tuple[HTTPStatus, str] | None:
        """Why an upload to this target is refused; None when it is welcome."""
        target = self._target()
        if self.settings.read_only:
            return HTTPStatus.METHOD_NOT_ALLOWED, "uploads are switched off (--read-only)"
        if target is None:
            return HTTPStatus.FORBIDDEN, "that is outside of what is served here"
        kind = kind_of(target)
        if stat.S_ISDIR(kind) or self._path().endswith("/"):
            return HTTPStatus.CONFLICT, "that is a folder; name a file: curl -T FILE http://HOST/NAME"
        if kind and not stat.S_ISREG(kind):
            return HTTPStatus.CONFLICT, "that is no file"
        if "Content-Range" in self.headers:
            return HTTPStatus.BAD_REQUEST, "a part of a file cannot be stored (RFC 9110 section 14.5)"
        coding = ", ".join(self.headers.get_all("Transfer-Encoding", [])).strip().lower()
        if coding not in ("", "chunked"):
            return HTTPStatus.NOT_IMPLEMENTED, f"the transfer coding {coding} is unknown here"
        if not coding and content_length(self.headers) < 0:
            return HTTPStatus.LENGTH_REQUIRED, "say how long the file is"
        return None

    def _answer_upload(self) -> None:
        refused = self._upload_refusal()
        target = self._target()
        if refused is not None or target is None:
            self.close_connection = True
            status, reason = refused or (HTTPStatus.FORBIDDEN, "")
            allow = [("Allow", "GET, HEAD")] if status is HTTPStatus.METHOD_NOT_ALLOWED else []
            self.refuse(status, reason, *allow)
            return
        is_new = not kind_of(target)
        try:
            self._store(target)
        except BadBodyError as error:
            self.close_connection = True
            self.refuse(HTTPStatus.BAD_REQUEST, f"{error}: nothing was stored")
            return
        except TimeoutError:
            self.close_connection = True
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the upload is too slow: nothing was stored")
            return
        except ConnectionError:
            raise BodyError("the upload broke off: nothing was stored") from None
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            status = HTTPStatus.INSUFFICIENT_STORAGE if full else HTTPStatus.FORBIDDEN
            self.close_connection = True
            self.refuse(status, str(error.strerror))
            return
        self._head(HTTPStatus.CREATED if is_new else HTTPStatus.NO_CONTENT, 0)

    def _store(self, target: Path) -> None:
        """The body under a name of its own until it is whole: nobody sees half a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                os.fchmod(descriptor, 0o666 & ~self.settings.umask)
                if "Transfer-Encoding" in self.headers:
                    self._receive_chunks(file)
                else:
                    self._receive(file, content_length(self.headers))
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _receive(self, file: io.FileIO, length: int) -> None:
        left = length
        while left:
            piece = self._buffer(left)
            begun = time.monotonic()
            self._allow(GRACE_S + min(left, len(piece)) / SLOWEST)
            count = self.rfile.readinto1(piece[: min(left, len(piece))])
            if not count:
                raise BadBodyError(f"the upload broke off after {size_text(self._moved)}")
            _write_all(file, piece[:count])
            self._moved += count
            left -= count
            if count == len(piece):
                self._pace(begun)

    def _receive_chunks(self, file: io.FileIO) -> None:
        """The chunked coding of RFC 9112 section 7.1."""
        self._allow(GRACE_S)
        while True:
            try:
                length = chunk_size(self.rfile.readline(CHUNK_LINE))
            except ValueError as error:
                raise BadBodyError(str(error)) from None
            if not length:
                break
            self._receive(file, length)
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise BadBodyError("a chunk longer than it says")
        for _ in range(TRAILERS):
            line = self.rfile.readline(TRAILER_LINE)
            if line in (b"\r\n", b"\n"):
                return
            if not line.endswith(b"\n"):
                break
        raise BadBodyError("the trailers do not end")


def _write_all(file: io.FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) or 0 :]
