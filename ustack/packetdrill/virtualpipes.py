"""Pipes, files of zeros, splice() and sendfile() in virtual time."""

from __future__ import annotations

import errno
from typing import Final

from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tcpinfo import TCP_INFO_SIZE, read_tcp_info
from ustack.packetdrill.virtualbase import DONTWAIT, O_NONBLOCK, VirtualBase, failed
from ustack.packetdrill.virtualfiles import Opened, Pipe, PipeEnd, Zeros

_SOL_TCP: Final = SYMBOLS["SOL_TCP"]
_TCP_INFO: Final = SYMBOLS["TCP_INFO"]
_MORE: Final = SYMBOLS["MSG_MORE"]


class Pipes(VirtualBase):
    """What is no socket, and what moves bytes between the two kinds."""

    def pipe(self, flags: int) -> tuple[int, int]:
        made = Pipe()
        ends = self._number(), self._number()
        self.files[ends[0]], self.files[ends[1]] = PipeEnd(made, False), PipeEnd(made, True)
        for fd in ends:
            self.flags[fd] = flags & O_NONBLOCK
        return ends

    def open(self, path: str, flags: int, mode: int) -> int:
        opened = self.disk.open(path, flags)
        fd = self._number()
        self.files[fd] = opened
        return fd

    def _pipe_end(self, fd: int, writes: bool) -> Pipe | None:
        end = self.files.get(fd)
        return end.pipe if isinstance(end, PipeEnd) and end.writes is writes else None

    def _read_file(self, fd: int, size: int) -> bytes:
        """read() of a descriptor that is no socket."""
        file = self.files[fd]
        if isinstance(file, PipeEnd):
            pipe = self._pipe_end(fd, False)
            if pipe is None:
                raise failed(errno.EBADF)
            if not pipe.count and size and self._limit(fd) == 0:
                raise failed(errno.EAGAIN)
            count = min(size, pipe.count)
            pipe.count -= count
            return bytes(count)
        return bytes(file.read(size))

    def _write_file(self, fd: int, size: int) -> int:
        file = self.files[fd]
        if isinstance(file, PipeEnd):
            pipe = self._pipe_end(fd, True)
            if pipe is None:
                raise failed(errno.EBADF)
            count = min(size, pipe.room())
            if not count and size:
                raise failed(errno.EAGAIN)
            pipe.count += count
            return count
        return file.write(size)

    def splice(self, source: int, destination: int, count: int, flags: int) -> int:
        self._check_open(source)
        self._check_open(destination)
        into, out = self._pipe_end(destination, True), self._pipe_end(source, False)
        wait = DONTWAIT if flags & SYMBOLS["SPLICE_F_NONBLOCK"] else 0
        if into is not None:
            return self._into_pipe(into, source, count)
        if out is None:
            raise failed(errno.EINVAL)
        if not out.count:
            raise failed(errno.EAGAIN)
        if destination in self.files:
            sent = self._write_file(destination, min(count, out.count))
        else:
            more = _MORE if flags & SYMBOLS["SPLICE_F_MORE"] else 0
            sent = self.send(destination, bytes(min(count, out.count)), wait | more, None)
        out.count -= sent
        return sent

    def _into_pipe(self, into: Pipe, source: int, count: int) -> int:
        """SPLICE_F_NONBLOCK is for the pipe; a socket blocks as its own O_NONBLOCK says (tcp_splice_read())."""
        if not into.room():
            raise failed(errno.EAGAIN)
        count = min(count, into.room())
        if source in self.files:
            moved = len(self._read_file(source, count))
        elif (core := self.stream(source)) is not None and core.at_mark() and core.unread():
            if self._limit(source) == 0:
                raise failed(errno.EAGAIN)
            return 0  # tcp_read_sock() stops at an urgent byte
        else:
            moved = len(self.receive(source, count, 0)[0])
        into.count += moved
        return moved

    def send_file(self, destination: int, source: int, offset: int | None, count: int) -> int:
        self._check_open(source)
        self._check_open(destination)
        if destination in self.files:
            self._write_file(destination, 0)  # EBADF where it may not be written
        file = self.files.get(source)
        if not isinstance(file, Zeros | Opened):
            raise failed(errno.EINVAL if offset is None else errno.ESPIPE)
        if offset is not None and offset < 0:
            raise failed(errno.EINVAL)
        begin = offset if offset is not None else file.at if isinstance(file, Opened) else 0
        there = file.read(count, begin)
        if not there:
            return 0
        # At the end of the file, with more asked for, whole segments go out as with MSG_MORE, and a rest is pushed.
        info = read_tcp_info(self.get_option(destination, _SOL_TCP, _TCP_INFO, TCP_INFO_SIZE))
        whole = not (info["tcpi_notsent_bytes"] + there) % info["tcpi_snd_mss"]
        sent = self.send(destination, bytes(there), _MORE if there < count and whole else 0, None)
        if offset is None and isinstance(file, Opened):
            file.at += sent
        return sent
