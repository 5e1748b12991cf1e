"""One turn of the wheel: what arrived goes into the stack, what is due happens, what leaves is sent.

A Loop knows no thread and never waits; its driver calls it, one call at a time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

from ustack.device.base import Device
from ustack.drops import Drop
from ustack.events import Event
from ustack.wire.frame import RawTransmit, Transmit

SEND_BATCH: Final = 64
"""Transmits handed to the device in one call: one crossing into C for many small segments."""

RETRY: Final = 1_000_000
"""A full device that does not say when it has room again is asked after this many ns."""

FAULTS: Final = 16
"""A device that cannot be read for a moment is asked again; so often in a row, and it counts as gone."""

_BUSY: Final = frozenset((errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM))
_DOWN: Final = frozenset((errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENONET))

_CWR: Final = 0x80


class DeviceError(Exception):
    """The device can carry nothing any more; its only argument is the OSError."""


class Loop:
    """A Stack on a Device. ``clock`` returns ns; ``awaken`` is told each owner that something happened to.

    ``stack`` is a Stack or has the shape of one (compiled code would insist on the class itself).
    """

    def __init__(self, stack: Any, device: Device, clock: Callable[[], int]) -> None:
        self.stack = stack
        self.device = device
        self.clock = clock
        self.awaken: Callable[[Any], None] = _nobody
        self.batch = 0
        """Frames that the last step took."""
        self._kept: list[Transmit | RawTransmit] = []
        self._retry_at = 0
        self._faults = 0
        self._is_plain = type(device).next_deadline is Device.next_deadline
        """The device never asks to be called: not worth a call to hear that."""

    def step(self, now: int) -> bool:
        """One batch in, deadlines, everything out, events told. Returns whether anything had arrived.

        Raises DeviceError when the device is gone.
        """
        stack = self.stack
        try:
            frames = self.device.receive(now)
            self._faults = 0
        except MemoryError:
            frames = []
            stack.counters.drop(Drop.NO_MEMORY)
        except OSError as error:
            self._excuse(error)
            frames = []
        self.batch = len(frames)
        if frames:
            stack.on_frames(frames, now)
        deadline = stack.next_deadline()
        if deadline is not None and deadline <= now:
            stack.on_deadline(now)
        self.flush(now)
        return bool(frames)

    def _excuse(self, error: OSError) -> None:
        """Raises DeviceError unless the device may be readable again soon."""
        self._faults += 1
        if self._faults > FAULTS or (error.errno not in _BUSY and error.errno != errno.ENETDOWN):
            raise DeviceError(error) from error

    def has_work(self) -> bool:
        """``flush`` may have something to do."""
        return bool(self._kept) or self.stack.has_work()

    def flush(self, now: int) -> None:
        """Sends what the stack wants sent, as far as the device takes it, and tells owners what happened.

        To be called after every call on an endpoint. What a full device leaves is kept, and
        the stack is not asked for more until that is gone.
        """
        kept = self._kept
        poll = self.stack.poll_transmit
        while True:
            if not kept or self._resend(now):
                while (transmit := poll(now)) is not None:
                    kept.append(transmit)
                    if len(kept) >= SEND_BATCH and not self._hand_over(now):
                        break
                else:
                    if kept:
                        self._hand_over(now)
            event: Event | None = self.stack.next_event()
            if event is None:
                return
            self._tell(event)  # and whoever is told may have written

    def _hand_over(self, now: int) -> bool:
        """Gives the device what is kept; False when it did not take all."""
        kept = self._kept
        try:
            taken = self.device.send(kept, now)
        except MemoryError:
            taken = 0  # as a full device: once more, soon
        except OSError as error:
            if error.errno in _DOWN:
                taken = len(kept)  # lost, as on any wire: who wants it there sends it again
            elif error.errno in _BUSY:
                taken = 0
            else:
                raise DeviceError(error) from error
        del kept[:taken]
        if kept:
            self._retry_at = now + RETRY
            self.stack.device_is_full(True)
        return not kept

    def _resend(self, now: int) -> bool:
        """Tries again what a full device left. What was acknowledged meanwhile is gone from its ring."""
        self._kept[:] = [transmit for transmit in self._kept if _still_wanted(transmit)]
        if self._kept and not self._hand_over(now):
            return False
        self.stack.device_is_full(False)
        return True

    def _tell(self, event: Event | None) -> None:
        """Tells the owners what happened: ``event`` and all that follow."""
        while event is not None:
            owner = event.endpoint.owner
            if owner is not None:
                try:
                    owner.on_event(event)
                except MemoryError:
                    self.stack.counters.drop(Drop.NO_MEMORY)  # no matter of whoever happens to turn the wheel
                self.awaken(owner)
            event = self.stack.next_event()

    def deadline(self) -> int | None:
        """When ``step`` must be called at the latest, though nothing arrives."""
        first: int | None = self.stack.next_deadline()
        if self._is_plain and not self._kept:
            return first
        second = self.device.next_deadline()
        if self._kept and (second is None or second > self._retry_at):
            second = self._retry_at
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)


def _still_wanted(transmit: Transmit | RawTransmit) -> bool:
    """Takes off a run what its ring has let go of; False when nothing is left."""
    if not isinstance(transmit, Transmit) or transmit.ring is None or not transmit.length:
        return True
    gone = transmit.ring.start - transmit.at
    if gone > 0:
        transmit.seq = (transmit.seq + gone) & 0xFFFFFFFF
        transmit.at += gone
        transmit.length -= gone
        transmit.flags &= ~_CWR
    return transmit.length > 0


def _nobody(owner: Any) -> None:
    """The owner of a loop without sleepers."""
