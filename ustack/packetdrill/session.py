"""The interpreter: carries a script's events out, one after the other, in whatever world it is given."""

from __future__ import annotations

import dataclasses
from typing import Final

from ustack.packetdrill.asserts import Assertions
from ustack.packetdrill.calls import Caller, Outcome, Prepared, outcome_text
from ustack.packetdrill.calltable import prepare
from ustack.packetdrill.callwatch import CallWatch
from ustack.packetdrill.codec import TCP, UDP, Seen
from ustack.packetdrill.config import Config
from ustack.packetdrill.craft import craft
from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.hints import advise
from ustack.packetdrill.host import Host, Pending
from ustack.packetdrill.match import can_join, compare, compare_stamp, halve, join
from ustack.packetdrill.peers import Peer, Peers
from ustack.packetdrill.printer import format_call, format_packet, format_seconds
from ustack.packetdrill.record import Entry, Mark, Window
from ustack.packetdrill.tree import (
    Clock,
    Code,
    Command,
    Direction,
    Event,
    Packet,
    Script,
    Supplied,
    SystemCall,
    TcpPacket,
    UdpPacket,
)

PATIENCE: Final = 2_000_000_000
"""A packet that has not come so long after its time will not come."""


LIVE_ECHO: Final = 2_000_000
"""So long after the end of a live script what comes is still the answer to its last event, ns."""


class Session:
    """One script's run. ``run_event`` may also be called for events that come from elsewhere."""

    def __init__(self, config: Config, host: Host, path: str = "") -> None:
        self.config = config
        self.host = host
        self.path = path
        self.caller = Caller(host.system, config)
        self.peers = Peers(config)
        self.calls = CallWatch(self.caller, self.peers)
        self.entries: list[Entry] = []
        self.assertions = Assertions()
        self.pending: Pending | None = None
        self._pending_event: Event | None = None
        self._pending_window = Window(0, 0, 0)
        self.event: Event | None = None
        self.results: list[int] = []
        """What the latest call returned."""
        self._completed = 0
        self._scheduled = 0
        self._was_inbound = False
        self._held: list[tuple[int, Seen]] = []
        self.packets: list[tuple[int, bytes]] = []
        """All that went over the wire, both ways, for a pcap file."""
        self.traces = config.trace
        self._traced: list[str] = []
        self.relaxed: list[str] = []
        """What was not compared because an option said so, for the report."""

    # A whole script

    def run(self, script: Script) -> None:
        """Raises Mismatch, Unsupported. ``self.event`` is where."""
        for event in script.events:
            self.run_event(event)
        self.finish()

    def finish(self) -> None:
        """After the last event: calls that still block return, and nothing more may have come."""
        self._settle()
        self.check_silence()

    def check_silence(self) -> None:
        """With ``exact``: fail for a packet of the socket under test that nobody expected.

        Without it, as in Linux's tool, packets wait until a line expects one, and those that no line
        comes to are nobody's fault."""
        if not self.config.exact:
            return
        last = self.entries[-1].at if self.entries else 0
        if self.host.is_live:
            # What the last event caused takes the kernel and the device some microseconds.
            last += LIVE_ECHO
            self.host.wait_until(last)
        for at, seen in self._untaken():
            mine = any(peer.matches(seen) for peer in self.peers.all if peer.remote_port)
            if not mine or at > last:
                continue
            text = self.shown(seen)
            self._note(at, Mark.OUTBOUND, text)
            raise Mismatch(f"a packet came that the script does not expect, at {format_seconds(at)}: {text}")

    def _untaken(self) -> list[tuple[int, Seen]]:
        return self._held + [(at, Seen(packet)) for at, packet in self.host.waiting()]

    # One event

    def run_event(self, event: Event) -> None:
        self.event = event
        if self.pending is not None and self.pending.outcome is not None:
            self._settle()
            self.event = event
        action = event.action
        inbound = not isinstance(action, SystemCall | Command | Code) and action.direction is Direction.INBOUND
        window = self._window(event, inbound)
        if isinstance(action, SystemCall):
            self._call(event, action, window)
        elif isinstance(action, Command):
            self._await(window)
            self._note(self.host.now(), Mark.NOTE, f"`{action.text.strip()}`", event.line)
            self.host.command(action.text, self.path)
        elif isinstance(action, Code):
            self._await(window)
            if self.pending is not None and self._pending_window.end <= window.start:
                # The call that blocks is to have returned by now: the code looks at the socket that it delivers.
                self._settle()
                self.event = event
            self._assert(action, event)
        elif inbound:
            self._inject(action, event, window)
        else:
            self._expect(action, event, window)
        self._was_inbound = inbound
        self._scheduled = window.start
        self._completed = max(self.host.now(), self._completed)
        if self.traces:
            self._trace_state()

    def _trace_state(self) -> None:
        """Note state, timers and refusals when they have changed."""
        current = self.peers.current
        for line in self.host.describe(current.fd if current is not None else None):
            if line not in self._traced:
                self._note(self.host.now(), Mark.STATE, line.strip())
        self._traced = self.host.describe(current.fd if current is not None else None)

    def _window(self, event: Event, inbound: bool) -> Window:
        time = event.time
        base = self._scheduled if inbound and self._was_inbound else self._completed
        if time.clock is Clock.ANY:
            return Window(base, base, 0, any_time=True)
        shift = base if time.clock is Clock.RELATIVE else 0
        start = shift + time.start
        end = start if time.end is None else shift + time.end
        return Window(start, end, self._tolerance(start - base))

    def _tolerance(self, gap: int) -> int:
        if self.config.exact and not self.host.is_live:
            return 0
        return self.config.tolerance(max(gap, 0))

    def _await(self, window: Window) -> None:
        self.host.wait_until(window.start)
        late = self.host.now() - window.start
        if late > window.tolerance and not self.config.exact:
            raise Mismatch(
                f"the event was due at {format_seconds(window.start)}, but it was already {late / 1e9:.6f} s later"
            )

    def _note(self, at: int, mark: Mark, text: str, line: int = 0) -> None:
        self.entries.append(Entry(at, mark, text, line))

    # Packets in

    def _inject(self, packet: Packet, event: Event, window: Window) -> None:
        self._await(window)
        peer = self.peers.for_inbound(packet)
        ends = self.peers.address(peer, packet)
        data = craft(packet, peer, ends, self.config)
        mss = self.config.mss
        size = mss if isinstance(packet, TcpPacket) and 0 < mss < packet.length else 0
        self._note(self.host.now(), Mark.INBOUND, format_packet(packet, arrow=False), event.line)
        self.packets.append((self.host.now(), data))
        self.host.inject(data, size)

    # Packets out

    def _expect(self, packet: Packet, event: Event, window: Window) -> None:
        peer = self.peers.for_outbound(packet)
        limit = max(window.end, self.host.now()) + PATIENCE
        found = self._next(packet, peer, limit, window)
        if found is None:
            return
        at, seen = found
        if isinstance(packet, TcpPacket):
            seen = self._joined(packet, peer, seen)
        flow = peer.flow if peer is not None else Peer(TCP).flow
        if isinstance(packet, TcpPacket):
            flow.learn(packet, seen)
        self._note(at, Mark.OUTBOUND, self.shown(seen, packet), event.line)
        differences = compare(packet, seen, flow, self.config)
        if isinstance(packet, TcpPacket) and not differences:
            differences = compare_stamp(packet, seen, flow, self.config, at)
        timing = self._timing(window, at)
        if differences or timing:
            both = [*differences, *timing]
            names = " and ".join(dict.fromkeys(name for name, _, _ in both))
            summary = f"a packet came, but not the expected one: {names} differ{'s' if len(both) == 1 else ''}"
            self._refuse("packet", Mismatch(summary, both, self._advice(packet, seen, at)))
        if isinstance(packet, TcpPacket):
            flow.remember(packet, seen, at)
        self._completed = max(self._completed, at)

    def _timing(self, window: Window, at: int) -> list[tuple[str, str, str]]:
        if window.any_time:
            return []
        if window.start - window.tolerance <= at <= window.end + window.tolerance:
            return []
        want = format_seconds(window.start)
        if window.end != window.start:
            want += f"~{format_seconds(window.end)}"
        side, apart = ("early", window.start - at) if at < window.start else ("late", at - window.end)
        slack = f"tolerance {window.tolerance / 1e9:.6f} s"
        return [("time", f"{want} ({slack})", f"{format_seconds(at)} ({apart / 1e9:.6f} s too {side})")]

    def _take(self, limit: int) -> tuple[int, Seen] | None:
        if self._held:
            return self._held.pop(0)
        taken = self.host.take(limit)
        if taken is None:
            return None
        self.packets.append(taken)
        return taken[0], Seen(taken[1])

    def _refuse(self, kind: str, mismatch: Mismatch) -> None:
        """What came is not what was to come: the end of the script, unless ``--non_fatal`` names its kind."""
        if kind not in self.config.non_fatal.split(","):
            raise mismatch
        place = f"line {self.event.line}: " if self.event is not None else ""
        self.relaxed.append(f"{place}{mismatch.summary}")

    def _advice(self, packet: Packet, seen: Seen, at: int) -> list[str]:
        """The line that would have been right, and what explains a usual difference."""
        if not isinstance(packet, TcpPacket) or seen.protocol != TCP or self.event is None:
            return []
        peer = self.peers.for_outbound(packet)
        came = (peer.flow if peer is not None else Peer(TCP).flow).show(seen)
        return advise(packet, came, self.event.time.clock, at, self._completed)

    def _next(self, packet: Packet, peer: Peer | None, limit: int, window: Window) -> tuple[int, Seen] | None:
        """The next packet of the socket under test; None when none came and that is not fatal."""
        while True:
            taken = self._take(limit)
            if taken is None:
                when = "at any time" if window.any_time else f"at {format_seconds(window.start)}"
                waited = f"nothing came until {format_seconds(limit)}"
                nothing = [("packet", format_packet(packet, arrow=False), "none")]
                self._refuse("packet", Mismatch(f"a packet was expected {when}, but {waited}", nothing))
                return None
            at, seen = taken
            if self.peers.owns(packet, peer, seen):
                return at, seen
            self._note(at, Mark.FOREIGN, "of another socket: " + self.shown(seen))

    def _joined(self, packet: TcpPacket, peer: Peer | None, seen: Seen) -> Seen:
        """Consecutive segments as one, as long as the script's segment; and, boundaries ignored, one as two."""
        want = packet.length
        if self.config.ignore_boundaries and 0 < want < len(seen.payload):
            return self._split(seen, want)
        if self.config.strict_segments or seen.protocol != TCP or not 0 < len(seen.payload) < want:
            return seen
        size = len(seen.payload)
        flags = self._loose_flags()
        whole = seen
        while len(whole.payload) < want:
            taken = self._take(self.host.now() + (50_000_000 if self.host.is_live else 0))
            if taken is None:
                break
            at, more = taken
            if not self.peers.owns(packet, peer, more):
                self._note(at, Mark.FOREIGN, "of another socket: " + self.shown(more))
                continue
            if self.config.ignore_boundaries and len(whole.payload) + len(more.payload) > want:
                more = self._split(more, want - len(whole.payload))
            elif len(more.payload) > size and not self.config.ignore_boundaries:
                self._held.insert(0, taken)
                break
            if not can_join(whole, more, flags):
                self._held.insert(0, (at, more))
                break
            whole = join(whole, more)
            if len(more.payload) < size and not self.config.ignore_boundaries:
                break
        return whole

    def _loose_flags(self) -> int:
        return 8 if self.config.ignore_boundaries else 0

    def _split(self, seen: Seen, length: int) -> Seen:
        """The first ``length`` bytes; the rest comes next."""
        first, rest = halve(seen, length)
        self._held.insert(0, (self.host.now(), rest))
        if "segment boundaries" not in self.relaxed:
            self.relaxed.append("segment boundaries")
        return first

    def shown(self, seen: Seen, expected: Packet | None = None) -> str:
        """A packet in the script's numbers."""
        if seen.protocol == TCP:
            peer = next((p for p in reversed(self.peers.all) if p.remote_port and p.matches(seen)), self.peers.current)
            flow = peer.flow if peer is not None else Peer(TCP).flow
            ace = isinstance(expected, TcpPacket) and any(letter.isdigit() for letter in expected.flags)
            return format_packet(flow.show(seen, ace), arrow=False)
        if seen.protocol == UDP:
            return format_packet(UdpPacket(Direction.OUTBOUND, len(seen.payload)), arrow=False)
        return f"protocol {seen.protocol}, type {seen.icmp_type}, code {seen.icmp_code}"

    # System calls

    def _call(self, event: Event, call: SystemCall, window: Window) -> None:
        self._settle()
        self.event = event
        prepared = prepare(self.caller, call)
        self.calls.before(call)
        self._await(window)
        if call.until is not None:
            shift = window.start - event.time.start
            end = shift + call.until
            self._pending_window = Window(end, end, self._tolerance(end - window.start))
            self._pending_event = event
            self._note(self.host.now(), Mark.CALL, format_call(call) + "   (blocks)", event.line)
            self.pending = self.host.begin(prepared)
            return
        outcome = self.host.call(prepared, window.start + PATIENCE)
        self._note(self.host.now(), Mark.CALL, self._call_text(call, outcome), event.line)
        self._finish_call(prepared, outcome)

    def _call_text(self, call: SystemCall, outcome: Outcome) -> str:
        shown = dataclasses.replace(call, result=Supplied(), errno=None, notes=[])
        return format_call(shown).removesuffix("...") + outcome_text(outcome)

    def _settle(self) -> None:
        """A blocking call must have returned, at its time."""
        pending, event = self.pending, self._pending_event
        if pending is None or event is None:
            return
        self.event = event
        window = self._pending_window
        if not self.host.settle(pending, max(window.end, self.host.now()) + PATIENCE):
            raise Mismatch(
                f"the call has not returned until {format_seconds(self.host.now())}",
                [("time", f"returns at {format_seconds(window.end)}", "still blocks")],
            )
        self.pending = None
        if pending.failure is not None:
            raise pending.failure
        outcome = pending.outcome
        if outcome is None:
            return
        self._note(pending.finished_at, Mark.CALL, self._call_text(pending.prepared.call, outcome), event.line)
        self._finish_call(pending.prepared, outcome)
        timing = self._timing(window, pending.finished_at)
        if timing:
            raise Mismatch("the call returned at another time", timing)

    def _finish_call(self, prepared: Prepared, outcome: Outcome) -> None:
        self.results = [outcome.value]
        differences = prepared.verify(outcome)
        if differences:
            names = " and ".join(name for name, _, _ in differences)
            self._refuse("syscall", Mismatch(f"{prepared.call.name}() gave another {names}", differences))
        if outcome.value >= 0:
            self.calls.after(prepared.call, outcome)

    # Assertions

    def _assert(self, code: Code, event: Event) -> None:
        current = self.peers.current
        self._note(self.host.now(), Mark.NOTE, "%{" + " ".join(code.text.split()) + "}%", event.line)
        variables: dict[str, object] = {}
        if current is not None and current.fd is not None and current.protocol == TCP:
            variables = self.host.info(current.fd)
        self.assertions.run(code.text, variables)

    def require_supported(self, script: Script) -> None:
        """Fail before the run for what does not exist here."""
        missing_feature = self.host.unclaimed(script)
        if missing_feature is not None:
            raise Unsupported(missing_feature)
        for event in script.events:
            if isinstance(event.action, SystemCall):
                self.event = event
                try:
                    prepare(self.caller, event.action)
                except KeyError as missing:
                    raise Unsupported(f"{event.action.name}() without {missing}") from None
        self.event = None
