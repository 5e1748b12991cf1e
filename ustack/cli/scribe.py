"""Lines of text that nobody who carries traffic has to wait for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

MOST = 10_000
"""Texts that may wait for a slow reader; what comes on top is left out, and counted."""

PATIENCE_S = 2.0
"""So long the end of a command waits for a slow reader."""


class Scribe:
    """Hands texts to ``write`` in a thread of its own, in order.

    A terminal that is stopped, or a pipe that nobody reads, holds up this thread and nobody else. When ``write`` fails,
    the rest is thrown away.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._texts: deque[str] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._lost = 0

    def put(self, text: str) -> None:
        """To be written soon."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._texts) >= MOST:
                self._lost += 1
                return
            if self._lost:
                self._texts.append(f"({self._lost} left out: whoever reads this is too slow)")
                self._lost = 0
            self._texts.append(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ustack scribe", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._texts:
                    if self._is_closed:
                        return
                    self._changed.wait()
                texts = list(self._texts)
                self._texts.clear()
            for text in texts:
                try:
                    self._write(text)
                except (OSError, ValueError):  # ValueError: the file is closed
                    with self._changed:
                        self._is_closed = True
                        self._texts.clear()
                    return

    def close(self) -> None:
        """What is to be written is, as far as the reader takes it in time."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                _stuck.append(self)


_stuck: list[Scribe] = []


def is_stuck() -> bool:
    """Whether a thread hangs in a write for ever: the interpreter cannot end in an orderly way then."""
    return bool(_stuck)
