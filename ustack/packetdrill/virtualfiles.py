"""Pipes and files of zeros, for splice() and sendfile() in virtual time. All payloads are zeros: a count is enough."""

from __future__ import annotations

import errno
import fnmatch
import os
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.shellfiles import DELETED, KEPT, MUST_GO
from ustack.packetdrill.symbols import SYMBOLS

PIPE_SIZE: Final = 65536
"""Linux's default capacity of a pipe, bytes."""
_READ_ONLY: Final = SYMBOLS["O_RDONLY"]
_WRITE_ONLY: Final = SYMBOLS["O_WRONLY"]
_ACCESS: Final = SYMBOLS["O_ACCMODE"]


class Pipe:
    """Bytes between two descriptors."""

    def __init__(self) -> None:
        self.count = 0

    def room(self) -> int:
        return PIPE_SIZE - self.count


class PipeEnd:
    """One descriptor of a pipe."""

    def __init__(self, pipe: Pipe, writes: bool) -> None:
        self.pipe = pipe
        self.writes = writes


class Zeros:
    """/dev/zero: as many zeros as anybody wants, and it takes all that is written."""

    def read(self, count: int, at: int | None = None) -> int:
        return count

    def write(self, count: int) -> int:
        return count


class Regular:
    """A file of zeros on the disk that exists in virtual time only."""

    def __init__(self, size: int) -> None:
        self.size = size


class Opened:
    """A descriptor of a Regular file: access and position."""

    def __init__(self, file: Regular, flags: int) -> None:
        self.file = file
        self.access = flags & _ACCESS
        self.appends = bool(flags & SYMBOLS["O_APPEND"])
        self.at = 0

    def read(self, count: int, at: int | None = None) -> int:
        """How many bytes are read from ``at`` (which moves nothing) or from the position. Raises EBADF."""
        if self.access == _WRITE_ONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        begin = self.at if at is None else at
        found = max(min(count, self.file.size - begin), 0)
        if at is None:
            self.at += found
        return found

    def write(self, count: int) -> int:
        """Raises EBADF."""
        if self.access == _READ_ONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.at = (self.file.size if self.appends else self.at) + count
        self.file.size = max(self.file.size, self.at)
        return count


File = PipeEnd | Zeros | Opened


class Disk:
    """The files that a script's commands and calls make. Nothing of the machine's own is read, written or deleted."""

    def __init__(self) -> None:
        self.files: dict[str, Regular] = {}

    def change(self, path: str, size: int) -> bool:
        """Carry out an effect of a shell line; False: the file had to be there."""
        if size in (DELETED, MUST_GO):
            gone = fnmatch.filter(self.files, path)
            for name in gone:
                del self.files[name]
            return bool(gone) or size == DELETED
        file = self.files.setdefault(path, Regular(0))
        if size != KEPT:
            file.size = size
        return True

    def open(self, path: str, flags: int) -> File:
        """Raises ENOENT, EEXIST, and Unsupported for a file of the machine's own."""
        if path == "/dev/zero":
            return Zeros()
        file = self.files.get(path)
        creates = flags & SYMBOLS["O_CREAT"]
        if file is None and os.path.exists(path):
            raise Unsupported(f'open("{path}"): in virtual time a script has the files that it makes, and /dev/zero')
        if file is None and not creates:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if file is not None and creates and flags & SYMBOLS["O_EXCL"]:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        if file is None:
            file = self.files[path] = Regular(0)
        if flags & SYMBOLS["O_TRUNC"]:
            file.size = 0
        return Opened(file, flags)
