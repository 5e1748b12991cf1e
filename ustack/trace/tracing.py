"""Any number of traces of one Stack at a time. None can stop the traffic: one that fails ends with a warning."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Self

from ustack.stack.observer import Observer
from ustack.stack.stack import Stack
from ustack.tcp.timers import Waiter
from ustack.trace.events import Event
from ustack.trace.watch import Watch
from ustack.wire.frame import Frame, RawTransmit, Transmit


class Trace:
    """One trace that runs: ``close()`` ends it, and so does the end of a ``with`` statement."""

    def __init__(self, watches: _Watches, watch: Watch, complain: Callable[[str], object]) -> None:
        self._watches = watches
        self.watch = watch
        self.complain = complain

    def close(self) -> None:
        """No more events. Twice is harmless."""
        self._watches.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def trace(
    stack: Stack,
    tell: Callable[[Event], object],
    *,
    counters: bool = False,
    complain: Callable[[str], object] | None = None,
) -> Trace:
    """Calls ``tell`` with each event of ``stack`` from now on, on the thread that runs it: ``tell`` must be quick.

    ``counters``: every counter that moves is an event, too. What ``tell`` raises ends the trace, not the traffic:
    ``complain`` is told once (without it, a RuntimeWarning).
    """
    watches = stack.observer
    if not isinstance(watches, _Watches):
        watches = _Watches(stack)
    found = Trace(watches, Watch(stack, tell, counters=counters, calls=True), complain or _warn)
    watches.traces.append(found)
    stack.observer = watches
    return found


class _Watches(Observer):
    """Passes every step on to each trace."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.traces: list[Trace] = []

    def remove(self, gone: Trace) -> None:
        """One trace less; without any the Stack is not observed any more."""
        self.traces = [one for one in self.traces if one is not gone]
        if not self.traces and self._stack.observer is self:
            self._stack.observer = None

    def _all(self, call: Callable[[Watch], None]) -> None:
        for one in self.traces:
            try:
                call(one.watch)
            except Exception as error:
                self.remove(one)
                why = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
                with contextlib.suppress(Exception):
                    one.complain(f"the trace has ended: {why}. The traffic goes on.")

    def before_frame(self, frame: Frame, now: int) -> None:
        self._all(lambda watch: watch.before_frame(frame, now))

    def after_frame(self, frame: Frame, now: int) -> None:
        self._all(lambda watch: watch.after_frame(frame, now))

    def before_deadline(self, waiter: Waiter, now: int) -> None:
        self._all(lambda watch: watch.before_deadline(waiter, now))

    def after_deadline(self, waiter: Waiter, now: int) -> None:
        self._all(lambda watch: watch.after_deadline(waiter, now))

    def before_send(self, now: int) -> None:
        self._all(lambda watch: watch.before_send(now))

    def after_send(self, transmit: Transmit | RawTransmit | None, now: int) -> None:
        self._all(lambda watch: watch.after_send(transmit, now))


def _warn(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=2)
