"""PUT: a file comes in whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from http import HTTPStatus
from pathlib import Path

from ustack.cli.httpd.exchange import BodyError, Exchange
from ustack.cli.text import size_text


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
        if target.is_dir() or self.path.endswith("/"):
            return HTTPStatus.CONFLICT, "that is a folder; name a file: curl -T FILE http://HOST/NAME"
        if "Content-Range" in self.headers:
            return HTTPStatus.BAD_REQUEST, "a part of a file cannot be stored (RFC 9110 section 14.5)"
        coding = self.headers.get("Transfer-Encoding", "").strip().lower()
        if coding not in ("", "chunked"):
            return HTTPStatus.NOT_IMPLEMENTED, f"the transfer coding {coding} is unknown here"
        if not coding and not self.headers.get("Content-Length", "").strip().isdecimal():
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
        is_new = not target.exists()
        try:
            self._store(target)
        except BodyError:
            raise
        except (TimeoutError, ConnectionError):
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
                    self._receive(file, int(self.headers["Content-Length"]))
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _receive(self, file: io.FileIO, length: int) -> None:
        piece = self._buffer(max(length, 1))
        left = length
        while left:
            count = self.rfile.readinto1(piece[: min(left, len(piece))])
            if not count:
                raise BodyError(f"the upload broke off after {size_text(self._moved)}: nothing was stored")
            _write_all(file, piece[:count])
            self._moved += count
            left -= count

    def _receive_chunks(self, file: io.FileIO) -> None:
        """The chunked coding of RFC 9112 section 7.1."""
        while True:
            line = self.rfile.readline(1024)
            try:
                length = int(line.partition(b";")[0].strip() or b"x", 16)
            except ValueError:
                raise BodyError("a chunk without a length") from None
            if length <= 0:
                break
            self._receive(file, length)
            if self.rfile.readline(3).strip():
                raise BodyError("a chunk longer than it says")
        for _ in range(100):  # trailers
            if self.rfile.readline(65537).strip() == b"":
                return
        raise BodyError("too many trailers")


def _write_all(file: io.FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) or 0 :]
