"""Two hosts with drivers of their own, for tests that need threads: ustack's on a pair in memory, or the kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ustack
from tests.socket.socket_world import KernelWorld, World
from ustack.device.memory import MemoryPair

PATIENCE = 30
"""Seconds that nothing here takes: a test that waits longer hangs."""


class LiveWorld(World):
    """As World, but time is real and the hosts run by themselves."""

    def __init__(self) -> None:
        self.pair = MemoryPair()
        self.server = ustack.open_device(self.pair.left, "10.0.0.1/24", "fd00::1/64")
        self.client = ustack.open_device(self.pair.right, "10.0.0.2/24", "fd00::2/64")
        self.opened = []

    def settle(self) -> None:
        raise NotImplementedError("real hosts settle when they like")

    def pair_of_streams(self, family: int = 2) -> tuple[Any, Any]:
        listener = self.listener(family)
        client = self.socket(family)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        return client, self.keep(server)

    def close(self) -> None:
        for found in self.opened:
            found.close()
        self.server.close()
        self.client.close()


class LiveKernel(KernelWorld):
    """The kernel's hosts are live anyway."""


class Worker:
    """A thread whose result, or exception, is asked for."""

    def __init__(self, job: Callable[..., Any], *arguments: Any) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(job, arguments), daemon=True)
        self._thread.start()

    def _run(self, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self.result = job(*arguments)
        except BaseException as error:
            self.error = error

    def finish(self) -> Any:
        """What the job returned; raises what it raised."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the thread hangs"
        if self.error is not None:
            raise self.error
        return self.result
