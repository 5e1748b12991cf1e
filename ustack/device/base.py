"""What a device is: a source and a sink of IP packets that never blocks.

A device that moves packets one by one overrides :meth:`Device.read_packets` and
:meth:`Device.write_packets` and is done: parsing, merging and cutting come from here. One that knows a
faster way (TUN, a memory pair) overrides :meth:`Device.receive` and :meth:`Device.send` as well. Wrappers
call ``packetwise()`` on what they wrap, so that they see what a wire would carry.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence

from ustack import native
from ustack.wire.frame import Frame, RawTransmit, Transmit

RECEIVE_BATCH = 512
"""Packets in one batch: enough for runs, few enough that timers and waiters get their turn."""


class Device:
    """Base of all devices. One stack holds it; every method is called under that stack's lock."""

    mtu: int = 1500

    def __init__(self) -> None:
        self._receiver = native.Receiver()
        self._left_over: list[bytes] = []

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`receive` has something; -1 when there is none."""
        return -1

    def end_batch(self) -> None:
        """Called under the lock before ``wait``: what ``receive`` returned last is done with."""

    def wait(self, fds: Sequence[int], timeout_ns: int) -> int:
        """Waits as :func:`ustack.native.wait`, *without* the stack's lock; ``fds[0]`` is ours.

        A device may read a batch ahead meanwhile, which the next ``receive`` returns.
        """
        return native.wait(fds, timeout_ns)

    def receive(self, now: int) -> list[Frame]:
        """One batch of what arrived, [] when there is nothing. Frames are valid until the next call."""
        packets = self.read_packets(now)
        return self._receiver.receive_packets(packets) if packets else []

    def send(self, transmits: Sequence[Transmit | RawTransmit], now: int) -> int:
        """Takes records in order and returns how many; fewer than all when the device is full."""
        if self._left_over and not self._write_left_over(now):
            return 0
        for taken, transmit in enumerate(transmits):
            packets = native.cut(transmit)
            written = self.write_packets(packets, now)
            if written < len(packets):
                if not written:
                    return taken
                self._left_over = packets[written:]
                return taken + 1
        return len(transmits)

    def _write_left_over(self, now: int) -> bool:
        """Whether the tail of a run that was cut off by a full device has gone at last."""
        del self._left_over[: self.write_packets(self._left_over, now)]
        return not self._left_over

    def read_packets(self, now: int) -> list[bytes]:
        """At most a batch of whole IP packets."""
        raise NotImplementedError

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        """Writes whole IP packets in order and returns how many; fewer than all when the device is full."""
        raise NotImplementedError

    def next_deadline(self) -> int | None:
        """When ``receive`` must be called even though the descriptor is not readable."""
        return None

    def packetwise(self) -> None:
        """From now on every packet crosses on its own, no larger than the MTU: no offload."""

    def close(self) -> None:
        """Gives descriptors and memory back. A second call does nothing."""

    def forked(self) -> None:
        """In the child of a fork() the device is the parent's: let go of it, and touch nothing that is shared."""


class WrappedDevice(Device):
    """A device around a device: looks at, changes or delays the packets that pass."""

    def __init__(self, inner: Device) -> None:
        super().__init__()
        inner.packetwise()
        self.inner = inner
        self.mtu = inner.mtu

    def fileno(self) -> int:
        return self.inner.fileno()

    def read_packets(self, now: int) -> list[bytes]:
        return self.inner.read_packets(now)

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        return self.inner.write_packets(packets, now)

    def next_deadline(self) -> int | None:
        return self.inner.next_deadline()

    def close(self) -> None:
        self.inner.close()

    def forked(self) -> None:
        self.inner.forked()


class ObservingDevice(WrappedDevice):
    """Looks at the packets that pass, and never stands in their way.

    Whatever goes wrong in :meth:`observe` ends the observation for good: ``complain`` is told once, and the packets
    pass on unseen.
    """

    def __init__(self, inner: Device, what: str, complain: Callable[[str], object] | None = None) -> None:
        super().__init__(inner)
        self._what = what
        self._complain = complain or _warn
        self.has_failed = False

    def observe(self, packets: Sequence[bytes], now: int, incoming: bool) -> None:
        """Packets that the inner device has carried."""
        raise NotImplementedError

    def _show(self, packets: Sequence[bytes], now: int, incoming: bool) -> None:
        if packets and not self.has_failed:
            try:
                self.observe(packets, now, incoming)
            except Exception as error:
                self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """No more is observed."""
        if not self.has_failed:
            self.has_failed = True
            why = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
            with contextlib.suppress(Exception):
                self._complain(f"{self._what} has ended: {why}. The traffic goes on.")

    def read_packets(self, now: int) -> list[bytes]:
        packets = self.inner.read_packets(now)
        self._show(packets, now, True)
        return packets

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        written = self.inner.write_packets(packets, now)
        self._show(packets[:written], now, False)
        return written


def _warn(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=2)
