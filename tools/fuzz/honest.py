"""Two Stacks and a network that may do anything; applications with all sorts of manners.

One case is a function of its seed. Whatever the network does, each end gets the exact bytes or a clean error, and
afterwards nothing is left on either Stack. On good links it must be efficient too.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from tools.fuzz.choice import SETTINGS
from tools.fuzz.invariants import check_empty, check_stack, require
from tools.fuzz.text import text
from ustack import native
from ustack.device.impairment import Impairment
from ustack.events import Event, Owner
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.sim.network import SimHost, SimLink, SimNetwork
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import SHUT_WR, Connection
from ustack.tcp.listener import Listener
from ustack.tcp.state import State
from ustack.wire.address import ANY, parse_address
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet

MS = 1_000_000
SECOND = 1000 * MS
HOUR = 3600 * SECOND
PORT = 80


@dataclasses.dataclass(frozen=True)
class Manners:
    """How an application uses its connection. Times are ns."""

    length: int = 0
    """Bytes that it writes."""
    write_size: int = 1 << 20
    think: int = 0
    """Between two writes."""
    read_size: int = 1 << 20
    read_pause: int = 0
    """Between two reads; 0: reads whatever comes at once."""
    end: str = "shutdown"
    """"shutdown": half close, read to the end, close. "close": close when all is written. "abort": RST then."""
    quits_at: int = 0
    """Bytes read after which it loses patience and closes; 0: never."""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def is_polite(self) -> bool:
        return self.end == "shutdown" and not self.quits_at


class Person(Owner):
    """An application with its manners and one connection."""

    def __init__(self, host: SimHost, manners: Manners) -> None:
        self.host = host
        self.manners = manners
        self.connection: Connection | None = None
        self.written = 0
        self.read = 0
        self.may_write_at = 0
        self.may_read_at = 0
        self.error: int | None = None
        self.has_shut = False
        self.is_over = False
        self.saw_end = False
        self.progress_at = host.now
        self.longest_stall = 0
        self.lost_patience = False

    def own(self, connection: Connection) -> None:
        self.connection = connection
        connection.owner = self
        for name, value in self.manners.options:
            setattr(connection.options, name, value)
            connection.option_changed(name, self.host.now)
        self.act()

    def on_event(self, event: Event) -> None:
        self.act()

    def wake(self) -> None:
        """The clock's call after a pause."""
        self.act()
        self.host.flush()

    def act(self) -> None:
        """Does all that its manners let it do now."""
        connection = self.connection
        if connection is None or self.is_over:
            return
        try:
            self._write(connection)
            self._read(connection)
        except OSError as error:
            self._leave(connection, error.errno or -1)
            return
        if connection.error:
            self._leave(connection, connection.error)
        else:
            self._end(connection)

    def _progress(self) -> None:
        now = self.host.now
        self.longest_stall = max(self.longest_stall, now - self.progress_at)
        self.progress_at = now

    def _write(self, connection: Connection) -> None:
        now, manners = self.host.now, self.manners
        while self.written < manners.length and now >= self.may_write_at and not self.has_shut:
            size = min(manners.write_size, manners.length - self.written)
            if connection.waits_for_write():
                taken = connection.open_with(memoryview(text(self.written, size)), now)
            else:
                taken = connection.write(text(self.written, size), now)
            if not taken:
                return
            self.written += taken
            if manners.think:
                self.may_write_at = now + manners.think
                self.host.network.clock.at(self.may_write_at, self.wake)

    def _read(self, connection: Connection) -> None:
        now, manners = self.host.now, self.manners
        while now >= self.may_read_at:
            data = connection.read(manners.read_size, now)
            if not data:
                break
            require(data == text(self.read, len(data)), "wrong bytes delivered", (self.read, len(data)))
            self.read += len(data)
            self._progress()
            if manners.read_pause:
                self.may_read_at = now + manners.read_pause
                self.host.network.clock.at(self.may_read_at, self.wake)
        if connection.at_eof() and not self.saw_end:
            self.saw_end = True
            self._progress()

    def _end(self, connection: Connection) -> None:
        now, manners = self.host.now, self.manners
        if manners.quits_at and self.read >= manners.quits_at:
            self._leave(connection, None)
            return
        if self.written < manners.length or connection.state in (State.SYN_SENT, State.SYN_RECEIVED):
            return
        if manners.end == "abort":
            connection.abort(now)
            self.is_over = True
        elif manners.end == "close":
            self._leave(connection, None)
        elif not self.has_shut:
            self.has_shut = True
            connection.shutdown(SHUT_WR, now)
        if self.has_shut and self.saw_end:
            self._leave(connection, None)

    def _leave(self, connection: Connection, error: int | None) -> None:
        self.error = error
        self.is_over = True
        connection.close(self.host.now)


class Waiter(Owner):
    """A listener that gives every connection to a Person with the same manners."""

    def __init__(self, host: SimHost, manners: Manners, backlog: int) -> None:
        self.host = host
        self.manners = manners
        self.people: list[Person] = []
        own = SocketOptions()
        own.fastopen_qlen = 3
        host.stack.host.fast_open.make_key()
        self.listener: Listener = host.stack.listen(ANY, PORT, backlog, own, host.now)
        self.listener.owner = self

    def on_event(self, event: Event) -> None:
        while (connection := self.listener.accept(self.host.now)) is not None:
            person = Person(self.host, self.manners)
            self.people.append(person)
            person.own(connection)


class CountingNetwork(SimNetwork):
    """Counts the text that the links lose, and all packets."""

    def __init__(self) -> None:
        super().__init__()
        self.lost_text = 0
        self.lost_packets = 0
        self.packets = 0
        self.busiest = 0
        self._second = 0
        self._in_second = 0
        self.story: list[str] | None = None

    def note(self, sender: SimHost, other: SimHost, packet: bytes, copies: int) -> None:
        self.packets += 1
        if copies == 0:
            self.lost_packets += 1
            frame = parse_packet(packet)
            if isinstance(frame, Segment):
                self.lost_text += frame.payload_length
        second = self.now // SECOND
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        self.busiest = max(self.busiest, self._in_second)
        if self.story is not None:
            self._tracing = True
            self.trace = self.story
            super().note(sender, other, packet, copies)


@dataclasses.dataclass(frozen=True)
class Case:
    """One case in full. ``kind``: "clean", "lossy", "reordered" or "wild"."""

    kind: str
    there: Impairment
    back: Impairment
    settings: tuple[tuple[tuple[str, Any], ...], ...] = ((), ())
    manners: tuple[Manners, Manners] = (Manners(), Manners())
    family: int = 4
    mtus: tuple[int, int] = (1500, 1500)
    native: bool = False
    backlog: int = 8
    clients: int = 1
    fast_open: bool = False
    """The clients' first text leaves with the SYN, where a cookie is at hand or none is asked for."""
    partitions: tuple[tuple[int, int], ...] = ()
    """(begin, end) ns after the start; end 0: it never heals."""

    @property
    def heals(self) -> bool:
        return all(end for _, end in self.partitions)


class Play:
    """A case on its stage."""

    def __init__(self, case: Case) -> None:
        self.case = case
        network = self.network = CountingNetwork()
        self.hosts = []
        for number, name in enumerate(("left", "right")):
            settings = Settings().replace(**dict(case.settings[number]))
            rings: RingMaker = native.NativeRings() if case.native else RingMaker()
            stack = Stack(settings, entropy=name.encode() * 8, rings=rings)
            stack.set_mtu(case.mtus[number])
            receiver = native.Receiver(1 << 20, 512) if case.native else None
            addresses = (f"10.0.0.{number + 1}/24", f"fd00::{number + 1}/64")
            self.hosts.append(network.add_host(name, stack, *addresses, receiver=receiver))
        self.link: SimLink = network.join(self.hosts[0], self.hosts[1], case.there, case.back, mtu=max(case.mtus))
        for begin, end in case.partitions:
            network.clock.after(begin, lambda: self._set_link(False))
            if end:
                network.clock.after(end, lambda: self._set_link(True))
        self.waiter = Waiter(self.hosts[1], case.manners[1], case.backlog)
        remote = parse_address("10.0.0.2" if case.family == 4 else "fd00::2")
        self.clients = []
        for _ in range(case.clients):
            person = Person(self.hosts[0], case.manners[0])
            own = SocketOptions()
            own.fastopen_connect = case.fast_open and case.manners[0].length > 0  # else nobody sends the SYN
            person.own(self.hosts[0].stack.connect(ANY, 0, remote, PORT, own, network.now))
            self.clients.append(person)
        self.steps = 0

    def _set_link(self, is_up: bool) -> None:
        self.link.is_up = is_up

    def people(self) -> list[Person]:
        return [*self.clients, *self.waiter.people]

    def _is_over(self) -> bool:
        self.steps += 1
        if self.steps % 64 == 0:
            for host in self.hosts:
                check_stack(host.stack, self.network.now)
        return all(person.is_over for person in self.clients) and all(p.is_over for p in self.waiter.people)

    def run(self) -> None:
        """To the very end, with all checks."""
        network, case = self.network, self.case
        network.flush()
        began = network.now
        network.run_until(self._is_over, network.now + 24 * HOUR)
        self._lose_patience()
        network.flush()
        require(self._is_over(), "an application waits for ever", self.describe())
        self.took = network.now - began
        # A listener may still make connections of late segments: nobody serves those.
        self.waiter.listener.close(network.now)
        network.flush()
        for _ in range(3):
            network.run_until(self._everybody_left, network.now + 24 * HOUR)
        network.run_until_quiet(network.now + 24 * HOUR)
        for host in self.hosts:
            check_stack(host.stack, network.now)
            check_empty(host.stack)
        self._check_bytes()
        if case.kind != "wild":
            self._check_efficiency()

    def _lose_patience(self) -> None:
        """Who only waits for a peer whose last word was lost, waits for ever, and rightly (there is no keepalive)."""
        for person in self.people():
            connection = person.connection
            if person.is_over or connection is None or self.case.kind != "wild":
                continue
            require(
                connection.sender.scoreboard.is_empty and connection.sender.unsent() == 0,
                "waits with work to do",
                self.describe(),
            )
            require(not connection.options.keepalive, "keepalive does not end it", self.describe())
            person.is_over = person.lost_patience = True
            connection.close(self.network.now)

    def _everybody_left(self) -> bool:
        return all(person.is_over for person in self.people())

    def _check_bytes(self) -> None:
        case = self.case
        left, right = case.manners
        polite = left.is_polite and right.is_polite and case.heals
        for person in self.people():
            other = right if person in self.clients else left
            require(person.read <= other.length, "more bytes than were written")
            if polite and case.kind != "wild":
                require(person.error is None, "an error on a fair link", person.error)
            if polite and person.error is None and not person.lost_patience:
                require(
                    person.saw_end and person.read == other.length, "bytes are missing", (person.read, other.length)
                )

    def _check_efficiency(self) -> None:
        case, network = self.case, self.network
        mss = min(case.mtus)
        resent = sum(
            person.connection.sender.totals.bytes_retrans for person in self.people() if person.connection is not None
        )
        slow = any(manners.read_pause for manners in case.manners)
        has_sack = all(dict(settings).get("tcp_sack", 1) for settings in case.settings)
        if case.kind == "clean":
            self._check_clean(slow)
        elif not has_sack:  # a timeout sends everything again, and each reordering is a loss
            pass
        elif case.kind == "lossy":
            probes = sum(host.stack.counters["TCPLossProbes"] for host in self.hosts)  # a slow reader's delayed ACKs
            bound = 2 * network.lost_text + (12 + probes) * max(case.mtus)
            require(resent <= bound, "resent far more than was lost", (resent, network.lost_text))
        elif case.kind == "reordered" and not self._receivers_dropped():
            total = sum(manners.length for manners in case.manners) * case.clients
            require(resent <= total // 4 + 40 * mss, "resent much for nothing", (resent, total))
        pause = max(m.read_pause + m.think for m in case.manners)
        stall = max(person.longest_stall for person in self.people())
        require(slow or stall <= 30 * SECOND + 3 * pause, "a long stall on a fair link", stall / SECOND)

    def _receivers_dropped(self) -> int:
        """How often a receiver whose buffer was full let go of text, which is to be sent again then."""
        names = ("OfoPruned", "RcvPruned", "TCPOFODrop", "TCPRcvQDrop")
        return sum(host.stack.counters[name] for host in self.hosts for name in names)

    def _check_clean(self, slow: bool) -> None:
        """Nothing is lost: nothing is sent twice, and nobody is reset."""
        names = []
        if not self.case.there.rate and not self.case.back.rate:  # a queue that grows looks like a loss to any TCP
            names += ["TCPTimeouts", "TcpOutRsts"]
            if not slow:  # a slow reader's delayed ACK may look like a tail loss
                names += ["TCPLossProbes", "TCPWinProbe"]
                refused = any(host.stack.counters["TCPFastOpenActiveFail"] for host in self.hosts)
                names += [] if refused else ["TcpRetransSegs"]  # a SYN's text that is not taken leaves again
        for name in names:
            got = [host.stack.counters[name] for host in self.hosts]
            require(not any(got), f"{name} on a clean link", got)

    def describe(self) -> str:
        """Who is where, for messages."""
        return "; ".join(
            f"{p.connection} written {p.written}/{p.manners.length} read {p.read} over {p.is_over}"
            for p in self.people()
        )


# Choosing


def _settings(rng: random.Random) -> tuple[tuple[str, Any], ...]:
    names = {"tcp_timewait_length", "tcp_max_orphans", "tcp_abort_on_overflow", "tcp_retries2", "tcp_max_tw_buckets"}
    some = tuple((name, rng.choice(values)) for name, values in SETTINGS if name not in names and rng.random() < 0.3)
    return (*some, ("tcp_fastopen", 0x607), ("tcp_ecn", 3)) if rng.random() < 0.5 else some


def _manners(rng: random.Random, rude: float) -> Manners:
    length = rng.choice((0, 1, 1000, 20_000, 20_000, 150_000, 600_000))
    size = rng.choice((1, 100, 1448, 10_000, 1 << 20, 1 << 20))
    if length / size > 300:
        size = length // 300 + 1
    think = rng.choice((0, 0, 0, MS, 300 * MS))
    if think and length / size > 50:
        size = length // 50 + 1
    pause = rng.choice((0, 0, 0, MS, 100 * MS))
    read_size = rng.choice((1000, 1 << 20)) if not pause else rng.choice((5000, 100_000))
    end = rng.choice(("close", "abort")) if rng.random() < rude else "shutdown"
    options: list[tuple[str, Any]] = []
    if rng.random() < 0.3:
        options.append(("nodelay", True))
    if rng.random() < 0.2:
        options.append(("keepalive", True))
    if rng.random() < 0.15:
        options.append(("sndbuf", rng.choice((4608, 100_000, 1 << 20))))
    if rng.random() < 0.1:
        options.append(("maxseg", rng.choice((100, 536, 1300))))
    quits_at = rng.choice((1, 10_000)) if rng.random() < rude else 0
    return Manners(length, size, think, read_size, pause, end, quits_at, tuple(options))


def random_case(seed: int) -> Case:
    """The case of this seed."""
    rng = random.Random(seed)
    kind = rng.choice(("clean", "lossy", "reordered", "wild", "wild"))
    delay = rng.choice((0, MS // 2, 5 * MS, 50 * MS, 150 * MS))
    links = []
    for _ in range(2):
        model = Impairment(delay=delay, limit=100_000, seed=rng.randrange(1 << 30))
        if rng.random() < 0.5:
            model = model.replace(rate=rng.choice((5_000_000, 100_000_000)))
        if kind == "lossy":
            model = model.replace(loss=rng.choice((0.001, 0.01, 0.03, 0.05)))
        elif kind == "reordered":
            model = model.replace(reorder=rng.choice((0.01, 0.1)), duplicate=rng.choice((0, 0.02)), jitter=delay // 10)
        elif kind == "wild":
            model = _wild(rng, model)
        links.append(model)
    settings = (_settings(rng), _settings(rng))
    has_cookies = dict(settings[1]).get("tcp_syncookies") == 2  # one does not survive the loss of the first text
    rude = 0.3 if kind == "wild" else 0.0
    partitions: tuple[tuple[int, int], ...] = ()
    if kind == "wild" and rng.random() < 0.3:
        begin = rng.randrange(2 * SECOND)
        partitions = ((begin, rng.choice((0, begin + rng.randrange(60 * SECOND)))),)
    return Case(
        kind,
        links[0],
        links[1],
        settings,
        (_manners(rng, rude), _manners(rng, rude)),
        rng.choice((4, 4, 6)),
        rng.choice(((1500, 1500), (1500, 1500), (1280, 9000), (9000, 9000), (1400, 1400))),
        rng.random() < 0.5,
        rng.choice((8, 8, 1)) if kind == "wild" else 8,
        rng.choice((1, 1, 1, 4)),
        rng.random() < 0.5 and not has_cookies,
        partitions,
    )


def _wild(rng: random.Random, model: Impairment) -> Impairment:
    def sometimes(value: float) -> float:
        return value if rng.random() < 0.4 else 0.0

    return model.replace(
        loss=sometimes(rng.uniform(0, 0.2)),
        burst=(sometimes(0.01), rng.uniform(0.1, 0.9)),
        duplicate=sometimes(rng.uniform(0, 0.1)),
        reorder=sometimes(rng.uniform(0, 0.3)),
        corrupt=sometimes(rng.uniform(0, 0.05)),
        mark=sometimes(0.05),
        jitter=rng.choice((0, model.delay // 5)),
        limit=rng.choice((3, 30, 1000)),
    )


def run_case(seed: int) -> Exception | None:
    """What went wrong in the case of this seed; None: nothing."""
    try:
        Play(random_case(seed)).run()
    except Exception as error:  # whatever it is: it is what we look for
        return error
    return None
