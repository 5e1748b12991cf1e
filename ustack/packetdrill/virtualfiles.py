"""Pipes and files of zeros, for splice() and sendfile() in virtual time. All payloads are zeros: a count is enough."""

from __future__ import annotations

from typing import Final

PIPE_SIZE: Final = 65536
"""Linux's default capacity of a pipe, bytes."""


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
    """A file that holds as many zeros as anybody wants: /dev/zero."""


File = PipeEnd | Zeros
