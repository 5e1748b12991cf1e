"""One run: some bulk flows share a bottleneck for a while. A function of its case alone, so that any core can do it."""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any

from ustack.congestion import ALGORITHMS, CongestionControl
from ustack.device.impairment import Impairment
from ustack.events import Event, Owner
from ustack.lab.flows import jain
from ustack.plot.decisions import Story
from ustack.plot.panel import Samples
from ustack.settings import Settings
from ustack.sim.apps import make_stack
from ustack.sim.network import SimHost, SimNetwork
from ustack.sockopts import SocketOptions
from ustack.tcp.connection.connection import Connection
from ustack.trace.snapshot import of_connection
from ustack.units import MILLISECOND, SECOND
from ustack.wire.address import ANY, parse_address

PORT = 80
EVERY = 10 * MILLISECOND
"""Between two looks at the flows."""
_PIECE = bytes(1 << 16)
_ROOM = 64 << 20
"""tcp_rmem and tcp_wmem: no buffer of an end limits a flow, only the path and the algorithm do."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run. Times ns, rates bit/s. ``delay`` is one way; ``buffer`` packets that wait for the rate."""

    controls: tuple[str, ...]
    """One for each flow: a name of ``congestion.ALGORITHMS`` or of ``sources``."""
    rate: int
    delay: int
    loss: float
    buffer: int
    duration: int
    seed: int = 0
    sources: tuple[tuple[str, str], ...] = ()
    """Name and source text of the user's own classes: another machine need not have the file."""
    keeps: bool = False
    """Keep what a picture needs, too."""

    def is_alone(self) -> bool:
        """One flow has the bottleneck for itself."""
        return len(self.controls) == 1


@dataclasses.dataclass
class FlowResult:
    """What became of one flow."""

    control: str
    goodput: float
    """Bits of text a second that the receiver read."""
    resent: int
    """Segments."""
    rtt_mean: float
    """ns, of the smoothed RTT over the time."""
    rtt_max: float
    story: Story | None = None


@dataclasses.dataclass
class Result:
    """What became of a run."""

    case: Case
    flows: list[FlowResult]
    jain: float
    """Jain's index of fairness: 1, all have the same; 1/n, one has all."""
    used: float
    """Share of the bottleneck's rate that was goodput."""
    dropped: int
    """Packets for which the queue had no room."""
    queue_mean: float
    """Packets."""
    queue: list[tuple[int, float]]


class Source(Owner):
    """Writes without end."""

    def __init__(self, host: SimHost, connection: Connection) -> None:
        self.host = host
        self.connection = connection
        connection.owner = self

    def on_event(self, event: Event) -> None:
        while self.connection.writable():
            if not self.connection.write(memoryview(_PIECE), self.host.now):
                break
        self.connection.await_room()


class Sink(Owner):
    """Accepts, reads at once, and counts by the sender's port."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.read: dict[int, int] = {}
        self.listener = host.stack.listen(ANY, PORT, 128, SocketOptions(), host.now)
        self.listener.owner = self

    def on_event(self, event: Event) -> None:
        if event.endpoint is self.listener:
            while (connection := self.listener.accept(self.host.now)) is not None:
                connection.owner = self
                self._drain(connection)
        elif isinstance(event.endpoint, Connection):
            self._drain(event.endpoint)

    def _drain(self, connection: Connection) -> None:
        port = connection.remote[1]
        while data := connection.read(1 << 20, self.host.now):
            self.read[port] = self.read.get(port, 0) + len(data)


def run(case: Case) -> Result:
    """Runs a case. Raises what a user's own class raises."""
    network = SimNetwork()
    room = {"tcp_rmem": (4096, _ROOM, _ROOM), "tcp_wmem": (4096, 1 << 20, _ROOM)}
    settings = Settings().replace(**room)
    left = network.add_host("left", make_stack(f"left {case.seed}", settings), "10.0.0.1/24")
    right = network.add_host("right", make_stack(f"right {case.seed}", settings), "10.0.0.2/24")
    forth = Impairment(rate=case.rate, delay=case.delay, loss=case.loss, limit=case.buffer, seed=case.seed)
    link = network.join(left, right, forth, Impairment(delay=case.delay, seed=case.seed), 1500)
    sink = Sink(right)
    watch = _Watch(case, network, left, link.path_from(left))
    network.run_for(case.duration)
    goodputs = [sink.read.get(one.connection.local[1], 0) * 8 * SECOND / case.duration for one in watch.sources]
    flows = [watch.result(index, goodput) for index, goodput in enumerate(goodputs)]
    counts = link.path_from(left).counts
    return Result(
        case, flows, jain(goodputs), sum(goodputs) / case.rate, counts["overflowed"], watch.mean_queue(),
        watch.queue.points if case.keeps else [],
    )  # fmt: skip


class _Watch:
    """Starts the flows, 100 ms after each other, and looks at them every EVERY."""

    def __init__(self, case: Case, network: SimNetwork, host: SimHost, path: Any) -> None:
        self.case = case
        self.network = network
        self.host = host
        self.path = path
        self.sources: list[Source] = []
        self.stories = [Story(name) for name in case.controls]
        self.queue = Samples()
        self._looks = 0
        self._waiting = 0
        for index, name in enumerate(case.controls):
            network.clock.after(index * 100 * MILLISECOND, functools.partial(self._start, name))
        network.clock.after(EVERY, self._look)

    def _start(self, name: str) -> None:
        options = SocketOptions()
        options.congestion_class = control_of(name, self.case.sources)
        connection = self.host.stack.connect(ANY, 0, parse_address("10.0.0.2"), PORT, options, self.host.now)
        self.sources.append(Source(self.host, connection))
        self.host.flush()

    def _look(self) -> None:
        now = self.network.now
        for source, story in zip(self.sources, self.stories, strict=False):
            story.see(now - self.network.start, of_connection(source.connection))
        waiting = self.path.waiting(now)
        self.queue.add(now - self.network.start, waiting)
        self._looks += 1
        self._waiting += waiting
        self.network.clock.after(EVERY, self._look)

    def mean_queue(self) -> float:
        """Packets that waited, over the time."""
        return self._waiting / max(1, self._looks)

    def result(self, index: int, goodput: float) -> FlowResult:
        """Of one flow."""
        sender = self.sources[index].connection.sender
        story = self.stories[index]
        times = [value for _, value in story.srtt.points]
        mean = sum(times) / len(times) if times else 0.0
        name = self.case.controls[index]
        return FlowResult(name, goodput, sender.scoreboard.total_retrans, mean, max(times, default=0.0),
                          story if self.case.keeps else None)  # fmt: skip


def control_of(name: str, sources: tuple[tuple[str, str], ...]) -> type[CongestionControl]:
    """The class of a name. Raises ValueError with a sentence."""
    for known, text in sources:
        if known == name:
            return load(known, text)
    if name not in ALGORITHMS:
        raise ValueError(f"{name} is no congestion control: {', '.join(sorted(ALGORITHMS))}, or FILE.py:CLASS")
    return ALGORITHMS[name]


def load(name: str, text: str) -> type[CongestionControl]:
    """The class after the colon of ``name``, from the text of its file. Raises ValueError with a sentence."""
    path, _, wanted = name.rpartition(":")
    module = types.ModuleType("ustack_own_control")
    module.__file__ = path
    try:
        exec(compile(text, path, "exec"), module.__dict__)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from None
    found = getattr(module, wanted, None)
    if not isinstance(found, type) or not issubclass(found, CongestionControl):
        raise ValueError(f"{path} has no class {wanted} that is a ustack.congestion.CongestionControl")
    return found
