"""Tapes: replay one, and make it as short as it can be and still show the same."""

from __future__ import annotations

from collections.abc import Sequence

from tools.fuzz.hostile import Operation, Setup, World
from tools.fuzz.invariants import BreachError


def fault_of(setup: Setup, tape: Sequence[Operation]) -> str:
    """What goes wrong when ``tape`` is played, in few words; "" when nothing does."""
    try:
        World(setup).run(list(tape))
    except Exception as error:  # any exception is a find
        return name_of(error)
    return ""


def name_of(error: BaseException) -> str:
    """Few words that stay the same while a tape gets shorter: the breach, or the exception and its line."""
    if isinstance(error, BreachError):
        return error.name
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}" if at else ""
    return f"{type(error).__name__} at {place}"


def shorten(setup: Setup, tape: Sequence[Operation], fault: str, tries: int = 600) -> tuple[Setup, list[Operation]]:
    """Fewer operations (and packets, and settings), the same fault. At most ``tries`` replays."""
    left = list(tape)
    size = max(len(left) // 2, 1)
    while tries > 0:
        at, shrunk = 0, False
        while at < len(left) and tries > 0:
            shorter = left[:at] + left[at + size :]
            tries -= 1
            if fault_of(setup, shorter) == fault:
                left, shrunk = shorter, True
            else:
                at += size
        if size == 1 and not shrunk:
            break
        size = max(size // 2, 1)
    return _plainer(setup, left, fault), _thinner(setup, left, fault)


def _plainer(setup: Setup, tape: list[Operation], fault: str) -> Setup:
    for name in ("settings", "listener"):
        pairs = list(getattr(setup, name))
        for pair in list(pairs):
            fewer = tuple(other for other in pairs if other != pair)
            changed = Setup(**{**setup.__dict__, name: fewer})
            if fault_of(changed, tape) == fault:
                setup, pairs = changed, list(fewer)
    return setup


def _thinner(setup: Setup, tape: list[Operation], fault: str) -> list[Operation]:
    for at in range(len(tape)):
        index = 1
        while tape[at][0] in ("segments", "raw") and index < len(tape[at]) > 2:
            fewer = tape[at][:index] + tape[at][index + 1 :]
            changed = [*tape[:at], fewer, *tape[at + 1 :]]
            if fault_of(setup, changed) == fault:
                tape = changed
            else:
                index += 1
    return tape
