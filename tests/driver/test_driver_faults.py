"""A device that fails: for a moment, and the stack lives on; for good, and every wait ends with the reason."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from tests.driver.driver_world import HERE, THERE, Caller, TinyStack, datagram, until, world
from ustack.device.memory import MemoryPair
from ustack.driver.loop import FAULTS, RETRY, DeviceError, Loop
from ustack.wire.frame import RawTransmit

PASSING = [errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINTR]
DOWN = [errno.EIO, errno.ENETDOWN, errno.ENETUNREACH]
GONE = [errno.ENODEV, errno.EBADF, errno.EBADFD, errno.ENXIO]


class Fault:
    """A loop over a device whose calls fail as told."""

    def __init__(self) -> None:
        self.pair = MemoryPair()
        self.stack = TinyStack(HERE, THERE)
        anything: Any = self.stack
        self.loop = Loop(anything, self.pair.left, lambda: 0)
        self.receive, self.send = self.pair.left.receive, self.pair.left.send
        self.code = 0
        self.pair.left.receive = self._receive  # type: ignore[method-assign]
        self.pair.left.send = self._send  # type: ignore[method-assign]

    def _receive(self, now: int) -> Any:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return self.receive(now)

    def _send(self, transmits: Any, now: int) -> int:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return self.send(transmits, now)

    def write(self) -> None:
        self.stack.outbox.append(RawTransmit(datagram(HERE, THERE, 1, b"x")))


@pytest.mark.parametrize("code", [*PASSING, errno.ENETDOWN])
def test_a_device_that_cannot_be_read_for_a_moment(code: int) -> None:
    fault = Fault()
    endpoint = fault.stack.open(1)
    fault.pair.right.write_packets([datagram(THERE, HERE, 1, b"x")], 0)
    for _ in range(3):
        fault.code = code
        for _ in range(FAULTS):
            assert not fault.loop.step(0)
        fault.code = 0
        fault.loop.step(0)
    assert list(endpoint.inbox) == [b"x"]


@pytest.mark.parametrize("code", [*PASSING, errno.ENETDOWN])
def test_and_not_for_ever(code: int) -> None:
    fault = Fault()
    fault.code = code
    for _ in range(FAULTS):
        fault.loop.step(0)
    with pytest.raises(DeviceError):
        fault.loop.step(0)


@pytest.mark.parametrize("code", PASSING)
def test_what_a_busy_device_does_not_take_is_sent_later(code: int) -> None:
    fault = Fault()
    fault.write()
    fault.code = code
    fault.loop.flush(0)
    assert fault.loop.deadline() == RETRY
    fault.code = 0
    fault.loop.step(RETRY)
    assert len(fault.pair.right.receive(0)) == 1


@pytest.mark.parametrize("code", DOWN)
def test_what_a_network_that_is_down_does_not_take_is_lost(code: int) -> None:
    fault = Fault()
    fault.write()
    fault.code = code
    fault.loop.flush(0)
    assert fault.loop.deadline() is None
    fault.code = 0
    fault.write()
    fault.loop.flush(0)
    assert len(fault.pair.right.receive(0)) == 1


@pytest.mark.parametrize("code", GONE)
@pytest.mark.parametrize("way", ["receive", "send"])
def test_a_device_that_is_gone_ends_every_wait_with_the_reason(code: int, way: str) -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        callers = [Caller(lambda endpoint=endpoint: here.receive(endpoint)) for endpoint in (first, second)]
        until(lambda: here.is_polling() and here.followers() == 1)

        def fail(*_: object) -> Any:
            raise OSError(code, os.strerror(code))

        setattr(here.pair.left, way, fail)
        if way == "receive":
            here.arrive(b"x", 1)
        else:
            here.send(first, b"x")
        for caller in callers:
            with pytest.raises(OSError, match="the device is gone") as caught:
                caller.result()
            assert caught.value.errno == errno.EIO
            assert os.strerror(code) in str(caught.value)
        with here.driver.lock, pytest.raises(OSError, match="the device is gone"):
            here.driver.flush()
