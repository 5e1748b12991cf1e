"""asyncio programs in virtual time: an event loop whose clock is a simulated network's.

Nothing sleeps: when all tasks wait, the clock jumps to the next event of the network or the next timer of the loop. The
same seed gives the same run, to the byte.

>>> async def main(net):                                              # doctest: +SKIP
...     client, server = net.host("client"), net.host("server")
...     link = net.join(client, server, "delay=20ms,loss=5%")
...     await server.start_server(serve, port=80)
...     reader, writer = await client.open_connection(server.address, 80)
...     link.cut(); await asyncio.sleep(10); link.heal()
>>> ustack.sim.aio.run(main, seed=7)                                  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import nullcontext
from math import ceil
from typing import Any, TypeVar

from ustack.aio.driver import Driver
from ustack.aio.host import AsyncHost
from ustack.device.impairment import parse_impairment
from ustack.settings import Settings
from ustack.sim.apps import make_stack
from ustack.sim.network import SimHost, SimLink, SimNetwork
from ustack.units import SECOND
from ustack.wire.address import format_address

T = TypeVar("T")
LAST_PACKETS = 20
"""So many lines of the trace go with what a run raises."""


class NeverEndsError(RuntimeError):
    """Every task waits for something that can never happen: no packet is on its way, and no timer runs."""


class _VirtualSelector(selectors.SelectSelector):
    """Where an event loop would sleep, the network's clock jumps."""

    def __init__(self, network: SimNetwork) -> None:
        super().__init__()
        self._network = network
        self.loop: SimLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        """Runs the network until it gives the loop something to do, or for ``timeout`` seconds of its clock."""
        ready = super().select(0)
        loop = self.loop
        if ready or loop is None or (timeout is not None and timeout <= 0):
            return ready
        network = self._network
        limit = None if timeout is None else network.now + max(ceil(timeout * SECOND), 1)
        if network.run_until(loop.has_ready, limit):
            return ready
        if limit is None:
            raise NeverEndsError("every task waits, no packet is on its way and no timer runs: this would never end")
        network.clock.now = max(network.now, limit)
        return ready


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop in the time of ``network``. ``time()`` is its clock, in seconds.

    What would run in a thread runs at once, in no time: ``run_in_executor``, and names, which are those of the hosts.
    """

    def __init__(self, network: SimNetwork) -> None:
        selector = _VirtualSelector(network)
        super().__init__(selector)
        selector.loop = self
        self._network = network
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds on the network's clock."""
        return self._network.now / SECOND

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Calls ``func`` now: a thread would have a time of its own, another in each run."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    async def getaddrinfo(self, host: Any, port: Any, **how: Any) -> list[Any]:
        """Names are those of the network's hosts. Raises socket.gaierror for another."""
        for place in self._network.hosts:
            if place.name == host:
                host = format_address(min(place.addresses))
        return socket.getaddrinfo(host, port, flags=how.pop("flags", 0) | socket.AI_NUMERICHOST, **how)

    def has_ready(self) -> bool:
        """Some callback is to be called now."""
        return bool(self._ready)  # type: ignore[attr-defined]


class SimAsyncDriver(Driver):
    """Lets an AsyncHost live on a host of a simulated network."""

    def __init__(self, place: SimHost, events: asyncio.AbstractEventLoop) -> None:
        self.events = events
        self.lock = nullcontext()
        self.failed: Callable[[OSError], None] = lambda error: None
        self.is_closed = False
        self._place = place
        self._is_flush_due = False

    def now(self) -> int:
        return self._place.now

    def flush(self) -> None:
        if not self._is_flush_due and not self.is_closed:
            self._is_flush_due = True
            self.events.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._place.flush()

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable = None) -> bool:
        raise RuntimeError("this call would block the event loop: use the transports of ustack.aio")

    def defer(self, action: Callable[[], object]) -> None:
        self.events.call_soon(action)

    def close(self) -> None:
        if not self.is_closed:
            self._place.flush()
            self.is_closed = True


class SimAsyncHost(AsyncHost):
    """A host of the simulated network: all of :class:`ustack.aio.AsyncHost`, and its ``name`` and ``address``."""

    def __init__(self, place: SimHost, events: asyncio.AbstractEventLoop) -> None:
        super().__init__(place.stack, SimAsyncDriver(place, events))
        self.place = place
        self.name = place.name
        self.address = format_address(min(place.addresses))
        """Its first address."""


class Link:
    """A wire between two hosts."""

    def __init__(self, sim: SimLink, seed: int) -> None:
        self.sim = sim
        self._seed = seed

    def cut(self) -> None:
        """Whatever is sent from now on is lost."""
        self.sim.is_up = False

    def heal(self) -> None:
        """The wire carries again."""
        self.sim.is_up = True

    def change(self, impairment: str) -> None:
        """Another behaviour from now on, both ways: ``delay=20ms,loss=5%,reorder=1%``."""
        self.sim.change(_impairment(impairment, self._seed))


class Net:
    """Hosts and links in virtual time. ``seed`` decides every loss and every random number of the stacks."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.network = SimNetwork(trace=True)
        self.loop = SimLoop(self.network)
        self.hosts: list[SimAsyncHost] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return (self.network.now - self.network.start) / SECOND

    @property
    def trace(self) -> list[str]:
        """A line for each packet that was sent: when, by whom, to whom, what, and whether it was lost."""
        return self.network.trace

    def host(self, name: str, *addresses: str, settings: Mapping[str, Any] | Settings | None = None) -> SimAsyncHost:
        """A host; without ``addresses`` (``10.0.0.1/24``) it gets the next of 10.0.0.0/24. Raises ValueError for a
        setting that is none."""
        if not isinstance(settings, Settings):
            settings = Settings().replace(**(settings or {}))
        place = self.network.add_host(
            name,
            make_stack(f"{name}, seed {self.seed}", settings),
            *(addresses or [f"10.0.0.{len(self.hosts) + 1}/24"]),
        )
        made = SimAsyncHost(place, self.loop)
        self.hosts.append(made)
        return made

    def join(self, left: SimAsyncHost, right: SimAsyncHost, impairment: str = "delay=1ms", *, mtu: int = 1500) -> Link:
        """A link between two hosts, the same both ways (``delay=20ms,loss=5%,rate=10Mbit``). Raises ValueError."""
        for one in (left, right):
            one.stack.set_mtu(mtu)
        return Link(self.network.join(left.place, right.place, _impairment(impairment, self.seed)), self.seed)


def _impairment(text: str, seed: int) -> Any:
    """The seed of the network is the link's, unless it has one of its own."""
    found = parse_impairment(text)
    return found if "seed=" in text else found.replace(seed=seed)


def run(main: Callable[[Net], Awaitable[T]], *, seed: int = 0) -> T:
    """Runs ``main(net)`` to its end in a network of its own, and closes that. Raises what ``main`` raises, and
    NeverEndsError when all that is left is to wait for ever."""
    net = Net(seed)
    try:
        return net.loop.run_until_complete(main(net))
    except Exception as error:
        last = "".join(f"\n  {line}" for line in net.trace[-LAST_PACKETS:])
        error.add_note(f"seed {seed}, {net.now:.6f} s; the last packets:{last}")
        raise
    finally:
        net.loop.set_exception_handler(lambda loop, context: None)  # what is cut off here is nobody's fault
        net.loop.run_until_complete(_end(net))
        net.loop.close()


async def _end(net: Net) -> None:
    """Hosts close, and what still runs is cancelled."""
    for host in net.hosts:
        await host.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
