"""Looks at a Stack before and after each step, and tells what changed as events, each with its reason.

The Stack knows nothing of this: it only calls its Observer, if it has one. A watch holds one snapshot for each
connection that lives, and nothing of the past, so that a transfer of any length can be watched.
"""

from __future__ import annotations

from collections.abc import Callable

from ustack.drops import DROP_RULES, Drop
from ustack.stack.observer import Observer
from ustack.stack.stack import Stack
from ustack.stack.timewait import TimeWait
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.timers import Waiter
from ustack.trace import clocks, packets, reasons
from ustack.trace.events import (
    Arrived,
    Called,
    Counted,
    Event,
    Marked,
    Moved,
    Offered,
    Queued,
    Sent,
    Stepped,
    TimerEvent,
    who_of,
)
from ustack.trace.reasons import Cause, Step
from ustack.trace.snapshot import Snapshot, of_connection, state_of
from ustack.wire.address import flow_key
from ustack.wire.describe import describe, flag_letters, options_text, segment_text
from ustack.wire.frame import Frame, RawTransmit, Segment, Transmit
from ustack.wire.parse import parse_packet

TIME_WAIT_TIMER = "TIME-WAIT timer"
NOBODY = b""
"""The key of what belongs to no connection."""


class Watch(Observer):
    """Hands each event to ``tell``. Install it with ``stack.observer = Watch(stack, tell)``.

    ``counters``: also tell of every counter that moves. ``calls``: also tell of the application's calls, as far as they
    change a connection: who writes them down itself needs no second telling.
    """

    def __init__(
        self, stack: Stack, tell: Callable[[Event], object], *, counters: bool = False, calls: bool = False
    ) -> None:
        self._stack = stack
        self._tell = tell
        self._tells_counters = counters
        self._tells_calls = calls
        self._seen: dict[bytes, Snapshot] = {}
        self._keys: dict[str, bytes] = {}
        """Of those in ``_seen``, by an event's ``who``."""
        self._isns: dict[bytes, tuple[int, int]] = {}
        self._states: dict[bytes, str] = {}
        self._causes: dict[bytes, Cause] = {}
        self._cause_counts: dict[bytes, dict[str, int]] = {}
        self._queues: dict[Listener, tuple[int, int]] = {}
        self._counts: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._due_requests: list[bytes] = []
        self._given_up = 0
        self._waits: dict[bytes, int] = {}
        self.catch_up()

    def snapshot(self, who: str) -> Snapshot | None:
        """How the connection of this name stood after the last step."""
        return self._seen.get(self._keys.get(who, NOBODY))

    def snapshots(self) -> dict[bytes, Snapshot]:
        """Every connection that lives, by its key."""
        return self._seen

    def catch_up(self) -> None:
        """What happened while this one did not look on counts as seen, and is not told."""
        tcp = self._stack.tcp
        self._counts = self._stack.counters.as_dict()
        self._seen = {key: of_connection(one) for key, one in tcp.connections.items()}
        self._keys = {who_of(key): key for key in self._seen}
        self._isns = {key: (one.sender.iss, one.receiver.irs) for key, one in tcp.connections.items()}
        self._states = {key: one.state.name for key, one in tcp.connections.items()}
        self._states.update(dict.fromkeys(tcp.time_waits, "TIME_WAIT"))
        self._waits = {key: one.deadline for key, one in tcp.time_waits.items()}
        for group in tcp.listeners.values():
            for listener in group:
                self._states.update(dict.fromkeys(listener.requests, "SYN_RECEIVED"))
                self._queues[listener] = len(listener.requests), len(listener.queue)
        self._causes.clear()
        self._cause_counts.clear()

    # The Observer's calls

    def before_frame(self, frame: Frame, now: int) -> None:
        """What the application did since the last step is told first."""
        self._look_at_all(now, Cause("call", "the application"))

    def after_frame(self, frame: Frame, now: int) -> None:
        key = frame.key if isinstance(frame, Segment) else NOBODY
        before = self._seen.get(key)
        had_gap = before is not None and before.beyond > before.rcv_nxt
        cause = Cause("segment", "", frame, self._states.get(key, ""), had_gap)
        self._note_cause(key, cause)
        step = self._step(key, cause, now)
        self._cause_counts[key] = step.counts
        drop = self._drop_of(step)
        why, source = DROP_RULES.get(drop, ("", "")) if drop is not None else self._why_taken(frame, step)
        if drop is not None and why:
            why = f"the rule is: {why}"
        name = drop.name if drop is not None else ""
        packet = frame.packet if isinstance(frame, Segment) else b""
        self._tell(Arrived(now, who_of(key), why, source, self._text(frame, key), name, packet))
        self._tell_changes(step)

    def before_deadline(self, waiter: Waiter, now: int) -> None:
        self._look_at_all(now, Cause("call", "the application"))
        before = self._seen.get(waiter.flow.key) if isinstance(waiter, Connection) else None
        self._due = {name: at for name, at in before.timers.items() if at <= now} if before is not None else {}
        requests = waiter.requests if isinstance(waiter, Listener) else {}
        self._due_requests = [key for key, request in requests.items() if request.deadline <= now]

    def after_deadline(self, waiter: Waiter, now: int) -> None:
        if isinstance(waiter, Connection):
            key = waiter.flow.key
            for name in self._due:
                self._note_cause(key, Cause("timer", name))
                step = self._step(key, Cause("timer", name), now)
                self._cause_counts[key] = step.counts
                why, source = clocks.why_fired(name, step)
                self._tell(TimerEvent(now, who_of(key), why, source, name, "fired"))
                self._tell_changes(step, fired=tuple(self._due))
            self._due = {}
        elif isinstance(waiter, Listener):
            for key in self._due_requests:
                why, source = clocks.why_syn_ack_timer(waiter.requests.get(key))
                self._tell(TimerEvent(now, who_of(key), why, source, "SYN-ACK timer", "fired"))
            for key in [key for key, state in self._states.items() if state == "SYN_RECEIVED"]:
                self._note_cause(key, Cause("timer", "SYN-ACK timer"))
                self._tell_changes(self._step(key, Cause("timer", "SYN-ACK timer"), now))
        elif isinstance(waiter, TimeWait):
            step = self._step(waiter.key, Cause("timer", TIME_WAIT_TIMER), now)
            if step.state != "TIME_WAIT":
                self._tell(TimerEvent(now, who_of(waiter.key), *clocks.TIME_WAIT_OVER, TIME_WAIT_TIMER, "fired"))
            self._tell_changes(step, fired=(TIME_WAIT_TIMER,))

    def before_send(self, now: int) -> None:
        self._look_at_all(now, Cause("call", "the application"))
        given_up = sum(self._stack.counters[name] for name in ("IpReasmTimeout", "Ip6ReasmTimeout"))
        if given_up > self._given_up:
            why, source = packets.WHY_GIVEN_UP
            self._tell(TimerEvent(now, "", why, source, "reassembly timer", "fired"))
        self._given_up = given_up

    def after_send(self, transmit: Transmit | RawTransmit | None, now: int) -> None:
        if isinstance(transmit, Transmit):
            key = flow_key(transmit.destination, transmit.destination_port, transmit.source, transmit.source_port)
            before = self._causes.get(key) or self._causes.get(NOBODY) or Cause("call", "")
            step = self._step(key, before, now)
            all_counts = {**self._cause_counts.get(key, {}), **step.counts}
            why, source, rule = reasons.why_sent(transmit, step._replace(counts=all_counts))
            self._tell(Sent(now, who_of(key), why, source, self._out_text(transmit, key), rule))
            self._tell_changes(step)
        elif isinstance(transmit, RawTransmit):
            step = self._step(NOBODY, self._causes.get(NOBODY) or Cause("call", ""), now)
            why, source = packets.why_sent(parse_packet(transmit.packet), step)
            self._tell(Sent(now, "", why, source, describe(transmit), "other"))
        else:
            for key in [key for key in self._seen if key not in self._stack.tcp.connections]:
                is_skipped = self._states.get(key) == "TIME_WAIT" and key not in self._stack.tcp.time_waits
                cause = Cause("skip", "") if is_skipped else self._causes.get(key, Cause("call", ""))
                self._tell_changes(self._step(key, cause, now))
                self._keys.pop(who_of(key), None)
                for table in (self._seen, self._isns, self._causes, self._cause_counts):
                    table.pop(key, None)

    @staticmethod
    def _why_taken(frame: Frame, step: Step) -> tuple[str, str]:
        if isinstance(frame, Segment):
            return reasons.why_taken(frame, step)
        return packets.why_taken(frame, step)

    # What changed

    def _look_at_all(self, now: int, cause: Cause) -> None:
        for connection in list(self._stack.host.touched):
            if isinstance(connection, Connection):
                key = connection.flow.key
                step = self._step(key, cause, now)
                if step.has_changed():
                    self._note_cause(key, cause)
                    if self._tells_calls:
                        self._tell_calls(step)
                    self._tell_changes(step)
        self._tell_queues(now, cause)

    def _tell_calls(self, step: Step) -> None:
        """What the application must have done, by what it changed."""
        who = who_of(step.key)
        for name, result in reasons.calls_seen(step):
            self._tell(Called(step.now, who, "", "", name, result))

    def _step(self, key: bytes, cause: Cause, now: int) -> Step:
        """What one step did to the connection with this key; the step's end is the next one's beginning."""
        stack = self._stack
        connection = stack.tcp.connections.get(key)
        before = self._seen.get(key)
        after = of_connection(connection) if connection is not None else None
        if after is not None:
            if key not in self._seen:
                self._keys[who_of(key)] = key
            self._seen[key] = after
        if connection is not None:
            self._isns[key] = (connection.sender.iss, connection.receiver.irs)
        state = state_of(stack.tcp, key) if key else ""
        was = self._states.get(key, "CLOSED" if cause.kind == "call" or state == "CLOSED" else "LISTEN")
        if state == "LISTEN" and was not in ("LISTEN", "SYN_RECEIVED"):
            state = "CLOSED"  # of this four-tuple nothing is left; the listener is another matter
        if key and state not in ("CLOSED", "LISTEN"):
            self._states[key] = state
        else:
            self._states.pop(key, None)
        counts = stack.counters.as_dict()
        news = {name: count - self._counts.get(name, 0) for name, count in counts.items()}
        self._counts = counts
        moved = {name: count for name, count in news.items() if count}
        return Step(now, key, cause, before, after, was if key else "", state, moved, stack)

    def _note_cause(self, key: bytes, cause: Cause) -> None:
        """What leaves next leaves for this cause."""
        self._causes[key] = self._causes[NOBODY] = cause
        self._cause_counts.pop(key, None)

    def _drop_of(self, step: Step) -> Drop | None:
        for name in step.counts:
            if name.startswith("Drop."):
                return Drop[name[5:]]
        return None

    def _tell_changes(self, step: Step, fired: tuple[str, ...] = ()) -> None:
        now, who = step.now, who_of(step.key)
        if step.key and step.was != step.state:
            why, source = reasons.why_moved(step)
            self._tell(Moved(now, who, why, source, step.was, step.state, step.cause.kind))
        if step.before is not None or step.after is not None:
            self._tell_timers(step, who, fired)
        if step.before is not None and step.after is not None:
            self._tell_numbers(step, who)
        self._tell_time_wait(step, who, fired)
        self._tell_queues(now, step.cause)
        if self._tells_counters:
            for name, amount in step.counts.items():
                self._tell(Counted(now, who, "", "", name, amount))

    def _tell_timers(self, step: Step, who: str, fired: tuple[str, ...]) -> None:
        before = step.before.timers if step.before is not None else {}
        after = step.after.timers if step.after is not None else {}
        for name in before.keys() - after.keys() - set(fired):
            self._tell(TimerEvent(step.now, who, *clocks.why_stopped(name, step), name, "stopped"))
        for name, due in after.items():
            if name not in before or name in fired:
                self._tell(TimerEvent(step.now, who, *clocks.why_set(name, step), name, "set", due))
            elif before[name] != due:
                self._tell(TimerEvent(step.now, who, *clocks.why_set(name, step), name, "moved", due))

    def _tell_time_wait(self, step: Step, who: str, fired: tuple[str, ...]) -> None:
        """A record of TIME-WAIT has no snapshot, only its deadline."""
        record = self._stack.tcp.time_waits.get(step.key)
        before = self._waits.pop(step.key, 0)
        if record is not None:
            self._waits[step.key] = record.deadline
            if record.deadline != before:
                action = "moved" if before else "set"
                why, source = clocks.why_time_wait(record.since == step.now)
                self._tell(TimerEvent(step.now, who, why, source, TIME_WAIT_TIMER, action, record.deadline))
        elif before and TIME_WAIT_TIMER not in fired:
            self._tell(TimerEvent(step.now, who, *clocks.why_time_wait_ends(step), TIME_WAIT_TIMER, "stopped"))

    def _tell_numbers(self, step: Step, who: str) -> None:
        before, after = step.before, step.after
        assert before is not None
        assert after is not None
        if before.ca_state != after.ca_state:
            why, source = reasons.why_congestion_state(step)
            self._tell(Marked(step.now, who, why, source, f"{before.ca_state} -> {after.ca_state}"))
        if after.lost > before.lost:
            why, source = reasons.why_lost(step)
            size, thing = after.lost - before.lost, reasons.what_is_lost(after)
            self._tell(Marked(step.now, who, why, source, "lost", size, thing))
        for name in ("cwnd", "ssthresh", "snd_wnd", "rto"):
            old, new = getattr(before, name), getattr(after, name)
            if old != new:
                why, source = reasons.why_number(name, step)
                self._tell(Stepped(step.now, who, why, source, name, old, new))
        if before.rcv_wnd + before.rcv_nxt != after.rcv_wnd + after.rcv_nxt and step.cause.kind != "segment":
            why, source = reasons.why_offered(step)
            self._tell(Offered(step.now, who, why, source, before.rcv_wnd, after.rcv_wnd))

    def _tell_queues(self, now: int, cause: Cause) -> None:
        for group in self._stack.tcp.listeners.values():
            for listener in group:
                lengths = len(listener.requests), len(listener.queue)
                old = self._queues.get(listener, (0, 0))
                if lengths == old:
                    continue
                self._queues[listener] = lengths
                who = f"*:{listener.port}"
                if lengths[0] != old[0]:
                    why = "a SYN was answered" if lengths[0] > old[0] else "a handshake ended"
                    most = listener.backlog
                    if not self._stack.settings.tcp_syncookies:  # a quarter is kept for known peers
                        most = min(most, self._stack.settings.tcp_max_syn_backlog * 3 // 4)
                    self._tell(Queued(now, who, why, "listen(2); tcp_max_syn_backlog", "SYN queue", lengths[0], most))
                if lengths[1] != old[1]:
                    why = "a handshake is complete" if lengths[1] > old[1] else "accept() took a connection"
                    self._tell(
                        Queued(now, who, why, "somaxconn, listen(2)", "accept queue", lengths[1], listener.backlog)
                    )

    # Names and numbers

    def _bases(self, key: bytes) -> tuple[int, int]:
        """Our ISN and the peer's, as far as they are known."""
        connection = self._stack.tcp.connections.get(key)
        if connection is not None:
            return connection.sender.iss, connection.receiver.irs
        listener = self._stack.tcp.listener_of(key) if key else None
        request = listener.requests.get(key) if listener is not None else None
        if request is not None:
            return request.iss, request.irs
        return self._isns.get(key, (0, 0))

    def _text(self, frame: Frame, key: bytes) -> str:
        if not isinstance(frame, Segment):
            return describe(frame)
        ours, theirs = self._bases(key)
        return segment_text(frame, theirs & 0xFFFFFFFF, ours & 0xFFFFFFFF)

    def _out_text(self, transmit: Transmit, key: bytes) -> str:
        ours, theirs = self._bases(key)
        seq = (transmit.seq - ours) & 0xFFFFFFFF
        text = f"{flag_letters(transmit.flags)} {seq}:{seq + transmit.length}({transmit.length})"
        if transmit.flags & 0x10:
            text += f" ack {(transmit.ack - theirs) & 0xFFFFFFFF}"
        text += f" win {transmit.window}"
        return text + (f" <{options_text(transmit.options, theirs & 0xFFFFFFFF)}>" if transmit.options else "")
