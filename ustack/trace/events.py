"""What a trace is made of. Each event has its instant, its connection, a sentence that says why, and where that stands.

Instants are nanoseconds on the stack's clock. ``who`` is the connection, local end first (``10.0.0.1:40000 >
10.0.0.2:80``), or a listener (``*:80``), or empty. ``source`` is an RFC with its section, the name of a setting, or
the function of Linux that is followed. Sequence numbers are relative: our own count from our ISN, the peer's from its.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from ustack.units import SECOND
from ustack.wire.describe import endpoint_text


@dataclasses.dataclass(frozen=True)
class Event:
    """Anything that happened."""

    kind: ClassVar[str] = "event"

    at: int
    who: str
    why: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """For a line of JSON: every field, and ``kind``."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if not isinstance(value, bytes)}
        return {"kind": self.kind, **fields}

    def since(self, start: int) -> Event:
        """The same, with its instants counted from ``start`` (ns)."""
        return dataclasses.replace(self, at=self.at - start)

    def what(self) -> str:
        """What happened, in a few words, without the reason."""
        return self.kind

    def line(self, start: int = 0) -> str:
        """One line of text; seconds count from ``start`` (ns)."""
        reason = f": {self.why}" if self.why else ""
        source = f" [{self.source}]" if self.source else ""
        who = f"{self.who} " if self.who else ""
        return f"{(self.at - start) / SECOND:.6f} {who}{self.what()}{reason}{source}"


@dataclasses.dataclass(frozen=True)
class Arrived(Event):
    """A packet came. ``drop``: the name of the rule that refused it (``drops.py``), empty when it was taken."""

    kind: ClassVar[str] = "arrived"

    text: str = ""
    drop: str = ""
    packet: bytes = b""

    def what(self) -> str:
        return f"< {self.text}" + (f" dropped {self.drop}" if self.drop else "")


@dataclasses.dataclass(frozen=True)
class Sent(Event):
    """A segment or a run left. ``rule``: new, resent, probe, ack, syn, rst, fin, keepalive, other."""

    kind: ClassVar[str] = "sent"

    text: str = ""
    rule: str = ""

    def what(self) -> str:
        return f"> {self.text}"


@dataclasses.dataclass(frozen=True)
class Moved(Event):
    """A connection went from one state of RFC 9293 figure 5 to another."""

    kind: ClassVar[str] = "state"

    before: str = ""
    after: str = ""
    cause: str = ""
    """What it came with: a segment, a timer, a call; skip: TIME-WAIT was passed over."""

    def what(self) -> str:
        return f"{self.before} -> {self.after}"


@dataclasses.dataclass(frozen=True)
class TimerEvent(Event):
    """A timer was set, moved, stopped, or fired. ``due``: the instant, ns; 0 where it does not run any more."""

    kind: ClassVar[str] = "timer"

    timer: str = ""
    action: str = ""
    due: int = 0

    def since(self, start: int) -> TimerEvent:
        return dataclasses.replace(self, at=self.at - start, due=self.due - start if self.due else 0)

    def what(self) -> str:
        left = f" in {span(self.due - self.at)}" if self.due else ""
        return f"{self.timer} {self.action}{left}"


@dataclasses.dataclass(frozen=True)
class Stepped(Event):
    """A number that congestion control or the peer decides has changed: cwnd, ssthresh, pacing, snd_wnd, rto."""

    kind: ClassVar[str] = "variable"

    name: str = ""
    before: int = 0
    after: int = 0

    def what(self) -> str:
        return f"{self.name} {' -> '.join(self._text(value) for value in (self.before, self.after))}"

    def _text(self, value: int) -> str:
        if self.name == "rto":
            return span(value)
        return "none" if self.name == "ssthresh" and value < 0 else str(value)


@dataclasses.dataclass(frozen=True)
class Marked(Event):
    """The sender changed its mind about what is lost. ``action``: lost, undone, or the congestion state entered."""

    kind: ClassVar[str] = "loss"

    action: str = ""
    size: int = 0
    thing: str = ""
    """What is lost, where it is no text: the SYN, the FIN."""

    def what(self) -> str:
        if self.thing:
            return f"{self.action}: {self.thing}"
        unit = "byte" if self.size == 1 else "bytes"
        return f"{self.action} {self.size} {unit}" if self.size else self.action


@dataclasses.dataclass(frozen=True)
class Offered(Event):
    """The window that we offer the peer has changed."""

    kind: ClassVar[str] = "window"

    before: int = 0
    after: int = 0

    def what(self) -> str:
        return f"rcv_wnd {self.before} -> {self.after}"


@dataclasses.dataclass(frozen=True)
class Queued(Event):
    """A listener's SYN queue or accept queue has another length."""

    kind: ClassVar[str] = "queue"

    queue: str = ""
    length: int = 0
    most: int = 0

    def what(self) -> str:
        return f"{self.queue} {self.length} of {self.most}"


@dataclasses.dataclass(frozen=True)
class Called(Event):
    """The application made a call, or was seen to have made it. ``result``: what it got, or the name of the errno."""

    kind: ClassVar[str] = "call"

    name: str = ""
    result: str = ""

    def what(self) -> str:
        return f"{self.name}{f' = {self.result}' if self.result else ''}"


@dataclasses.dataclass(frozen=True)
class Counted(Event):
    """A counter of nstat moved (``why`` is empty: the name says it)."""

    kind: ClassVar[str] = "counter"

    name: str = ""
    amount: int = 0

    def what(self) -> str:
        return f"{self.name} +{self.amount}"


def who_of(key: bytes) -> str:
    """An event's ``who``, from the key of a connection (the 36 bytes of ``Segment.key``); empty for no key."""
    if not key:
        return ""
    local = endpoint_text(key[16:32], int.from_bytes(key[34:36], "big"))
    return f"{local} > {endpoint_text(key[:16], int.from_bytes(key[32:34], 'big'))}"


def span(time: int) -> str:
    """A duration as people write it: ``40 ms``, ``1.02 s``, ``2 h 11 min 15 s``."""
    if time < SECOND:
        return f"{time / 1e6:.4g} ms"
    seconds = time / SECOND
    if seconds < 120:
        return f"{seconds:.4g} s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
