"""Drives a stack from an event loop: the device's descriptor and one timer are all that the loop watches.

Whatever is called on an endpoint between two turns of the event loop leaves together, in one flush at the end of the
turn; what is called by those whom a step tells leaves with that step.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from mypy_extensions import mypyc_attr

from ustack.device.base import Device
from ustack.driver.loop import DeviceError, Loop
from ustack.stack.stack import Stack

BUSY_STEPS: Final = 4
"""Batches that are taken in one turn of the event loop before others get theirs."""

BUSY_FRAMES: Final = 8
"""After a batch of so many the device is read again at once: that took so long that more has come."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Driver:
    """What an AsyncHost asks of whoever runs its stack. ``failed`` is told once when the device is gone."""

    events: asyncio.AbstractEventLoop
    lock: AbstractContextManager[Any]
    failed: Callable[[OSError], None]
    is_closed: bool

    def now(self) -> int:
        """ns, on the stack's clock."""
        raise NotImplementedError

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable = None) -> bool:
        """No call may wait in an event loop. Raises RuntimeError unless ``ready()`` already."""
        raise NotImplementedError

    def wake(self, waiter: Hashable) -> None:
        """Nobody sleeps in an event loop."""

    def defer(self, action: Callable[[], object]) -> None:
        """Calls ``action`` in the next turn of the event loop."""
        raise NotImplementedError

    def flush(self) -> None:
        """What was just called on an endpoint leaves, at the end of this turn of the event loop at the latest."""
        raise NotImplementedError

    def close(self) -> None:
        """The event loop watches nothing of ours any more. Twice is harmless."""
        raise NotImplementedError


class AsyncDriver(Driver):
    """For one stack, in one event loop, on that loop's thread."""

    def __init__(self, stack: Stack, device: Device, events: asyncio.AbstractEventLoop) -> None:
        self.stack = stack
        self.device = device
        self.events = events
        self.lock = nullcontext()
        self.failed: Callable[[OSError], None] = lambda error: None
        self.is_closed = False
        self._loop = Loop(stack, device, time.monotonic_ns)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._is_stepping = False
        self._instant = 0
        """While a step or a flush runs: when it began."""
        self._is_flush_due = False
        self._descriptor = device.fileno()
        if self._descriptor >= 0:
            events.add_reader(self._descriptor, self._step)

    def now(self) -> int:
        # For those whom a step tells it is the instant of the step: the clock is read once a batch.
        return self._instant if self._is_stepping else time.monotonic_ns()

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable = None) -> bool:
        self._flush()
        if ready():
            return True
        raise RuntimeError("this call would block the event loop: use ustack.aio's transports, or setblocking(False)")

    def defer(self, action: Callable[[], object]) -> None:
        if not self.events.is_closed():
            self.events.call_soon(action)

    def flush(self) -> None:  # what those call who are told in a step leaves with the step
        if not self._is_stepping and not self._is_flush_due and not self.is_closed:
            self._is_flush_due = True
            self.events.call_soon(self._flush)

    def poke(self) -> None:
        """The device has something that no descriptor tells of."""
        if not self.is_closed:
            self.events.call_soon(self._step)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self.is_closed or self._is_stepping:
            return
        self._instant = time.monotonic_ns()
        self._is_stepping = True
        try:
            self._loop.flush(self._instant)
        except DeviceError as gone:
            self._fail(gone)
            return
        finally:
            self._is_stepping = False
        self._arm()

    def _step(self) -> None:
        if self.is_closed or self._is_stepping:
            return
        self._is_stepping = True
        try:
            for _ in range(BUSY_STEPS):
                self._instant = time.monotonic_ns()
                if not self._loop.step(self._instant):
                    break
                if self._descriptor >= 0 and self._loop.batch < BUSY_FRAMES:
                    break  # its descriptor tells when there is more
        except DeviceError as gone:
            self._fail(gone)
            return
        finally:
            self._is_stepping = False
        self._arm()

    def _arm(self) -> None:
        """One timer holds the next deadline; one that comes later is left where it is, and moved when it fires."""
        deadline = self._loop.deadline()
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        delay = max(deadline - self.now(), 0) / 1e9
        self._timer_at = deadline
        self._timer = self.events.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.is_closed:
            return
        deadline = self._loop.deadline()
        if deadline is not None and deadline <= self.now():
            self._step()
        else:
            self._arm()

    def _fail(self, gone: DeviceError) -> None:
        self.close()
        self.failed(gone.args[0])

    def close(self) -> None:
        """The event loop watches nothing of ours any more, and the device is given back. Twice is harmless."""
        if self.is_closed:
            return
        with contextlib.suppress(DeviceError):  # resets of connections that were open
            self._loop.flush(self.now())
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0 and not self.events.is_closed():
            self.events.remove_reader(self._descriptor)
        self.device.close()
