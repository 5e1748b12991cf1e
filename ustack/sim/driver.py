"""The socket layer in virtual time: whoever waits makes the simulated time pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from ustack.sim.network import SimHost


class SimDriver:
    """A driver (see :mod:`ustack.driver`) for one host of a simulated network; single-threaded."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.lock = nullcontext()

    def now(self) -> int:
        return self.host.now

    def flush(self) -> None:
        self.host.flush()

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: object = None) -> bool:
        """Runs the network until ``ready()`` (True) or the instant ``deadline`` (False).

        Raises RuntimeError when nothing will ever happen and there is no deadline: the wait would be for ever.
        """
        if self.host.network.run_until(ready, deadline):
            return True
        if deadline is None:
            raise RuntimeError("this wait would never end: nothing is left to happen in the simulated network")
        clock = self.host.network.clock
        clock.now = max(clock.now, deadline)
        return False

    def wake(self, waiter: object) -> None:
        """Nobody sleeps here."""

    def defer(self, action: Callable[[], object]) -> None:
        """Calls ``action`` as the next event."""
        self.host.network.clock.after(0, action)

    def close(self) -> None:
        """Nothing is held."""
