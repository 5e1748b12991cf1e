"""The world of virtual time: one ustack Stack behind its sans-IO boundary, and a clock that jumps.

Nothing sleeps. Time goes from one deadline of the Stack to the next, or to the next event of the script. A call that
blocks runs in a thread of its own, but only ever one of the two threads runs: the call hands the
baton back when it would wait. So a script gives the same result in every run.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Final

from ustack.congestion import check_name
from ustack.drops import DROP_RULES
from ustack.packetdrill.calls import Outcome, Prepared
from ustack.packetdrill.claims import unclaimed
from ustack.packetdrill.config import Config
from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.host import BLOCKING, Host, Pending
from ustack.packetdrill.knobs import apply
from ustack.packetdrill.shell import Effects, understand
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tcpinfo import TCP_INFO_SIZE, read_tcp_info
from ustack.packetdrill.tree import Script
from ustack.packetdrill.virtualsystem import VirtualSystem
from ustack.settings import Settings
from ustack.socket.core import NEW_EDGE, Attachment, Core
from ustack.stack.stack import Stack
from ustack.tcp.timers import OFF, LossTimer, Timer
from ustack.wire.address import parse_address
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

ORIGIN: Final = 1_000_000_000_000
"""The Stack's clock at the script's time 0, ns: not 0, as no clock of a host is."""
ENTROPY: Final = bytes(range(1, 65))
_STUCK: Final = 10_000


class _Abandoned(BaseException):
    """Unwinds a call that still blocks when its script is over."""


class _Thread:
    """A blocking call and the baton between it and the runner."""

    def __init__(self, pending: Pending, run: Callable[[], None]) -> None:
        self.pending = pending
        self.ready: Callable[[], bool] = lambda: False
        self.deadline: int | None = None
        self.abandoned = False
        self.finished = False
        self._runner = threading.Semaphore(0)
        self._call = threading.Semaphore(0)
        self._run = run
        self.thread = threading.Thread(target=self._main, daemon=True, name="packetdrill-call")

    def start(self) -> None:
        self.thread.start()
        self._runner.acquire()

    def _main(self) -> None:
        try:
            with contextlib.suppress(_Abandoned):
                self._run()
        finally:
            self.finished = True
            self._runner.release()

    def yield_to_runner(self) -> None:
        """In the call's thread: wait for the baton."""
        self._runner.release()
        self._call.acquire()
        if self.abandoned:
            raise _Abandoned

    def resume(self) -> None:
        """In the runner's thread: let the call go on until it waits or ends."""
        self._call.release()
        self._runner.acquire()


class VirtualDriver:
    """What the socket cores take for a driver."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self.lock = contextlib.nullcontext()

    def now(self) -> int:
        return self._host.clock

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable) -> bool:
        return self._host.block(ready, deadline)

    def flush(self) -> None:
        self._host.flush()

    def wake(self, waiter: Hashable) -> None:
        """Nobody sleeps here."""

    def defer(self, action: Callable[[], object]) -> None:
        action()


@functools.lru_cache(maxsize=64)
def read_defaults(path: Path) -> list[Effects]:
    """A ``defaults.sh`` that exists may set more than the usual; of it only the sysctls count."""
    if path.suffix != ".sh" or not path.is_file():
        return []
    lines = path.read_text(errors="replace").replace("\\\n", " ").splitlines()
    return [effects for line in lines if line.strip().startswith("sysctl") for effects in understand(line)]


def machines_algorithm(knob: Path = Path("/proc/sys/net/ipv4/tcp_congestion_control")) -> str:
    """The congestion control that this machine's kernel begins with, and a script that sets none, with ``--live``.

    ustack's default where the kernel's is unknown here."""
    try:
        name = knob.read_text().strip()
        check_name(name)
    except (OSError, ValueError):
        return Settings().tcp_congestion_control
    return name


class VirtualHost(Host):
    """One Stack, made for one script."""

    def __init__(self, config: Config, settings: Settings | None = None) -> None:
        self.config = config
        self.clock = ORIGIN
        self.stack = Stack(settings or Settings(tcp_congestion_control=machines_algorithm()), entropy=ENTROPY)
        self.stack.set_mtu(config.mtu)
        self.stack.add_address(parse_address(config.local), config.prefix)
        self.driver = VirtualDriver(self)
        self.net = Attachment(self.stack, self.driver, "tun0")
        self.calls = VirtualSystem(self.net, self.block)
        self.system = self.calls
        self._emitted: collections.deque[tuple[int, bytes]] = collections.deque()
        self._thread: _Thread | None = None
        self._in_call = False
        self._patience: int | None = None
        self.trace: Callable[[str], None] | None = None

    # Time

    def now(self) -> int:
        return self.clock - ORIGIN

    def flush(self) -> None:
        """Everything that the stack wants sent is sent; everybody is told what happened."""
        stack, emitted, clock = self.stack, self._emitted, self.clock
        while (transmit := stack.poll_transmit(clock)) is not None:
            for packet in cut(transmit):
                emitted.append((clock - ORIGIN, packet))
        while (event := stack.next_event()) is not None:
            owner = event.endpoint.owner
            if isinstance(owner, Core):
                owner.on_event(event)
                self.calls.happened(owner, NEW_EDGE.get(event.kind, 0))

    def _due(self, limit: int) -> int | None:
        """The next instant, up to ``limit`` (the stack's clock), at which something happens by itself."""
        first = self.stack.next_deadline()
        thread = self._thread
        if thread is not None and not thread.finished and thread.deadline is not None:
            first = thread.deadline if first is None else min(first, thread.deadline)
        return None if first is None or first > limit else max(first, self.clock)

    def _step(self, at: int) -> None:
        self.clock = at
        self.stack.on_deadline(at)
        self.flush()
        self._wake_call()

    def _run(self, limit: int, enough: Callable[[], bool]) -> bool:
        """Let time pass until ``enough()`` or ``limit``; the clock does not go on to the limit by itself."""
        stuck = 0
        while not enough():
            at = self._due(limit)
            if at is None:
                return enough()
            stuck = stuck + 1 if at == self.clock else 0
            if stuck > _STUCK:
                raise Mismatch(f"the stack asks for the same instant again and again: {self.now() / 1e9:.6f}")
            self._step(at)
        return True

    def wait_until(self, at: int) -> None:
        limit = at + ORIGIN
        self._run(limit, lambda: False)
        self.clock = max(self.clock, limit)

    def take(self, limit: int) -> tuple[int, bytes] | None:
        emitted = self._emitted
        if not self._run(limit + ORIGIN, lambda: bool(emitted)):
            self.clock = max(self.clock, limit + ORIGIN)
            return None
        return emitted.popleft()

    def waiting(self) -> list[tuple[int, bytes]]:
        return list(self._emitted)

    def inject(self, packet: bytes, segment_size: int) -> None:
        frame = parse_packet(packet)
        if segment_size and isinstance(frame, Segment):
            frame.segment_size = segment_size
            # It counts as one segment, as on Linux: what comes from a TUN device does not say how many it was cut from.
            frame.segs = 1
        self.stack.on_frames([frame], self.clock)
        self.flush()
        self._wake_call()

    # Calls

    def block(self, ready: Callable[[], bool], deadline: int | None) -> bool:
        """A call waits. In its own thread it gives the baton away; in the runner's it lets time pass."""
        thread = self._thread
        if thread is not None and threading.current_thread() is thread.thread:
            self.flush()
            if ready():
                return True
            thread.ready, thread.deadline = ready, deadline
            thread.yield_to_runner()
            return ready()
        limit = self._patience if self._patience is not None else self.clock
        if deadline is not None:
            limit = min(limit, deadline)
        done = self._run(limit, ready)
        if not done:
            self.clock = max(self.clock, limit)
            if deadline is None or deadline > limit:
                raise Mismatch("the call blocks: write 'TIME...END' before a call that does", hints=[BLOCKING])
        return done

    def _wake_call(self) -> None:
        thread = self._thread
        if thread is None or thread.finished or self._in_call:
            return
        if thread.ready() or (thread.deadline is not None and thread.deadline <= self.clock):
            self._in_call = True
            thread.deadline = None
            thread.ready = lambda: False
            thread.resume()
            self._in_call = False
            self.flush()

    def call(self, prepared: Prepared, limit: int) -> Outcome:
        self._patience = limit + ORIGIN
        outcome = prepared.attempt()
        self.flush()
        self._refuse_unclaimed(prepared, outcome)
        return outcome

    def _refuse_unclaimed(self, prepared: Prepared, outcome: Outcome) -> None:
        """An option that ustack does not have is not a failed script but an unsupported one."""
        call = prepared.call
        if outcome.errno not in (SYMBOLS["ENOPROTOOPT"], SYMBOLS["EOPNOTSUPP"]) or call.errno is not None:
            return
        if call.name in ("setsockopt", "getsockopt"):
            raise Unsupported(f"{call.name}({getattr(call.arguments[2], 'name', 'option')})")

    def begin(self, prepared: Prepared) -> Pending:
        pending = Pending(prepared, self.now())

        def run() -> None:
            try:
                outcome = prepared.attempt()
            except _Abandoned:
                raise
            except BaseException as failure:  # handed to the runner's thread
                pending.failure = failure
                outcome = Outcome(-1)
            pending.finished_at = self.now()
            pending.outcome = outcome

        self._thread = _Thread(pending, run)
        self._in_call = True
        self._thread.start()
        self._in_call = False
        self.flush()
        return pending

    def settle(self, pending: Pending, limit: int) -> bool:
        if not self._run(limit + ORIGIN, lambda: pending.outcome is not None):
            self.clock = max(self.clock, limit + ORIGIN)
            return False
        return True

    # Commands

    def command(self, text: str, path: str) -> None:
        folder = Path(path).resolve().parent if path else Path.cwd()
        for effects in understand(text):
            if effects.own_script:
                self._read_script(folder / effects.own_script, effects.text)
            self._apply(effects, folder)

    def _read_script(self, path: Path, command: str) -> None:
        if not path.is_file():
            raise Unsupported(f"command: {command}", "there is no such file")
        self.command(path.read_text(errors="replace"), str(path))

    def _apply(self, effects: Effects, folder: Path) -> None:
        more = [effect for script in effects.scripts for effect in read_defaults(folder / script)]
        self.stack.settings = apply(self.stack.settings, [effects, *more])
        if effects.forgets_metrics:
            self.stack.host.fast_open.forget_peers()
        if any(name.endswith("tcp_fastopen_blackhole_timeout_sec") for name, _ in effects.sysctls):
            self.stack.host.fast_open.trust_path()
        mtu = effects.link_mtu or effects.route.get("mtu", 0)
        if mtu:
            self.stack.set_mtu(mtu)
        if effects.sleep_ns:
            self.wait_until(self.now() + effects.sleep_ns)
        for path_text, size in effects.files:
            if not self.calls.disk.change(path_text, size):
                raise Mismatch(f"the command failed, as there is no such file: {effects.text}")
        if effects.status:
            raise Mismatch(f"the command failed with status {effects.status}: {effects.text}")

    # What assertions and reports see

    def info(self, fd: int) -> dict[str, object]:
        data = self.calls.get_option(fd, SYMBOLS["SOL_TCP"], SYMBOLS["TCP_INFO"], TCP_INFO_SIZE)
        return dict(read_tcp_info(data))

    def describe(self, fd: int | None) -> list[str]:
        lines: list[str] = []
        for connection in list(self.stack.tcp.connections.values()):
            lines.append(repr(connection))
            lines += self._timers(connection)
        for drop, count in self.stack.counters.drops.items():
            rule, reference = DROP_RULES[drop]
            lines.append(f"refused {count} x {drop.name}: the rule is that {rule} ({reference})")
        return lines

    def _timers(self, connection: Any) -> list[str]:
        timers = connection.timers
        running = [
            f"{timer.name.lower()} at {(timers.at[timer] - ORIGIN) / 1e9:.6f}"
            for timer in Timer
            if timers.at[timer] != OFF
        ]
        if timers.loss is not LossTimer.NONE:
            running.append(f"(loss timer: {timers.loss.name.lower()})")
        return ["  timers: " + (", ".join(running) or "none")]

    def unclaimed(self, script: Script) -> str | None:
        return unclaimed(script)

    def close(self) -> None:
        thread = self._thread
        if thread is not None and not thread.finished:
            thread.abandoned = True
            thread.resume()
        self._thread = None
