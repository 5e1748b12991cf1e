"""What somebody probably meant: known words that resemble an unknown one, the line that would have been right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from ustack.packetdrill.printer import format_packet, format_seconds
from ustack.packetdrill.tree import Clock, OptionKind, TcpPacket, replace


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"did you mean A or B?"``, or nothing when no known word resembles ``word`` (case does not count)."""
    by_case = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_case, n=2, cutoff=0.75)
    return f"did you mean {' or '.join(by_case[name] for name in near)}?" if near else ""


_PUNCTUAL: Final = 4_000_000
"""ns before the end of the event above that still count as after it, live."""


def advise(packet: TcpPacket, came: TcpPacket, clock: Clock, at: int, base: int) -> list[str]:
    """For an expected segment and the one that came (in the script's numbers, at ``at`` ns, the event before having
    ended at ``base``): the line that expects it, and the usual reason of a usual difference."""
    came = replace(came, window=came.window if packet.window is not None else None)
    if packet.options is None:
        came.options = None
    earlier = base - at > _PUNCTUAL
    time = f"+{format_seconds(max(at - base, 0))}" if clock is Clock.RELATIVE and not earlier else format_seconds(at)
    line = f"{'*' if clock is Clock.ANY else time} {format_packet(came)}"
    hints = [f"what came would be expected with:  {line}"]
    if earlier and clock is not Clock.ANY:
        hints = [f"what came was sent before the event above it; there it would be expected with:  {line}"]
    if _scale(packet) not in (None, _scale(came)) and _scale(came) is not None:
        hints.append(
            "the window scale follows the largest receive buffer: `sysctl -q net.ipv4.tcp_rmem='4096 540000 15728640'` "
            "as the first command makes it 8"
        )
    if came.length == 0 and packet.length and came.flags == ".":
        hints.append("the stack sent an ACK of its own first: expect it in a line before this one")
    return hints


def _scale(packet: TcpPacket) -> int | None:
    return next((option.numbers[0] for option in packet.options or [] if option.kind is OptionKind.WSCALE), None)
