"""What the interpreter needs of a world that a script runs in: a clock, a wire, system calls.

Two worlds implement it: ``virtual`` (one ustack Stack, a clock that jumps) and ``live`` (the machine's kernel
behind a TUN device, the real clock). Times are ns since the script's start.
"""

from __future__ import annotations

from typing import Final

from ustack.packetdrill.calls import Outcome, Prepared
from ustack.packetdrill.system import System
from ustack.packetdrill.tree import Script

BLOCKING: Final = (
    "a call returns at once when its event comes after what it waits for, and with O_NONBLOCK or MSG_DONTWAIT; "
    "'+0...0.2 read(...) = 10' begins now and must return 0.2 s after its base, the events meanwhile following it"
)
"""What to do about a call that blocks, for whoever did not know."""


class Pending:
    """A blocking call under way."""

    def __init__(self, prepared: Prepared, started_at: int) -> None:
        self.prepared = prepared
        self.started_at = started_at
        self.finished_at = -1
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None


class Host:
    """The base of both worlds."""

    system: System
    is_live = False

    def now(self) -> int:
        raise NotImplementedError

    def wait_until(self, at: int) -> None:
        """Let time pass; what the stack sends meanwhile is kept for ``take``."""
        raise NotImplementedError

    def inject(self, packet: bytes, segment_size: int) -> None:
        """Hand a packet to the stack now. ``segment_size``: payload of each segment of a super-segment, 0: plain."""
        raise NotImplementedError

    def take(self, limit: int) -> tuple[int, bytes] | None:
        """The next packet that the stack sent and when, waiting for it no longer than ``limit``."""
        raise NotImplementedError

    def waiting(self) -> list[tuple[int, bytes]]:
        """What has been sent and not been taken, without waiting."""
        raise NotImplementedError

    def call(self, prepared: Prepared, limit: int) -> Outcome:
        """Make a call that should return at once; ``limit`` is when patience ends."""
        raise NotImplementedError

    def begin(self, prepared: Prepared) -> Pending:
        """Start a call that blocks."""
        raise NotImplementedError

    def settle(self, pending: Pending, limit: int) -> bool:
        """Wait until a blocking call has returned; False if it has not at ``limit``."""
        raise NotImplementedError

    def command(self, text: str, path: str) -> None:
        """Carry out a shell command, understood or (live) real. Raises Unsupported, Mismatch."""
        raise NotImplementedError

    def info(self, fd: int) -> dict[str, object]:
        """The variables of assertions about one socket."""
        raise NotImplementedError

    def wall_clock(self) -> int | None:
        """CLOCK_REALTIME at time 0, ns; None in virtual time."""
        return None

    def describe(self, fd: int | None) -> list[str]:
        """State, timers and drops of the connection, for a report."""
        return []

    def start(self) -> None:
        """Time 0 is now."""

    def unclaimed(self, script: Script) -> str | None:
        """What the script needs and this world does not have, as far as the script's text shows it."""
        return None

    def close(self) -> None:
        """Give everything back."""
