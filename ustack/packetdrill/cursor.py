"""A place in a script's text: everything that the parser reads goes through here."""

from __future__ import annotations

import bisect
import re
from typing import Final, NoReturn

from ustack.packetdrill.errors import ScriptError

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SHOWN: Final = re.compile(r"\S{1,24}")


class Cursor:
    """Text, a position and the rules for errors. Space and comments are skipped before every look."""

    def __init__(self, text: str, path: str = "", shifts: list[tuple[int, int]] | None = None) -> None:
        self.text = text
        self.path = path
        self.at = 0
        self.in_result = False
        """After the ``=`` of a call: a parenthesis begins a note there, not the arguments of a function."""
        self.shifts = shifts or []
        """(position in ``text``, how much later it is there than in the file): from ``define``."""
        self._starts: list[int] | None = None
        self.origin = text

    def skip(self) -> int:
        """Past space and comments; the new position."""
        found = _SPACE.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        if self.text.startswith("/*", self.at):
            self.fail("a comment that is never closed: expected '*/' somewhere after this")
        return self.at

    def done(self) -> bool:
        return self.skip() >= len(self.text)

    def looking_at(self, word: str) -> bool:
        return self.text.startswith(word, self.skip())

    def take(self, word: str) -> bool:
        """Past ``word`` if it is next."""
        if self.text.startswith(word, self.skip()):
            self.at += len(word)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Past what ``pattern`` matches here; None (and no move) if it does not."""
        found = pattern.match(self.text, self.skip())
        if found is not None:
            self.at = found.end()
        return found

    def need(self, word: str, purpose: str = "") -> None:
        if not self.take(word):
            self.expected(f"'{word}'" + (f" {purpose}" if purpose else ""))

    def need_match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = self.match(pattern)
        if found is None:
            self.expected(what)
        return found

    # Errors

    def expected(self, what: str, hint: str = "") -> NoReturn:
        """Fail with what was expected here, what is here, and perhaps a ``hint`` at the end."""
        found = _SHOWN.match(self.text, self.skip())
        here = f"found '{found.group()}'" if found else "the script ends here"
        self.fail(f"expected {what}; {here}" + (f"; {hint}" if hint else ""))

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        line, column = self.place(self.at if at is None else at)
        raise ScriptError(message, line, column, path=self.path, source=self.line_text(line))

    def _to_origin(self, at: int) -> int:
        if not self.shifts:
            return at
        index = bisect.bisect_right(self.shifts, (at, 1 << 60)) - 1
        return at - self.shifts[index][1] if index >= 0 else at

    def place(self, at: int) -> tuple[int, int]:
        """(line, column) of a position, from 1."""
        if self._starts is None:
            self._starts = [0]
            self._starts += [found.end() for found in re.finditer("\n", self.origin)]
        at = self._to_origin(at)
        line = bisect.bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        lines = self.origin.split("\n")
        return lines[line - 1] if line <= len(lines) else ""


_DEFINED: Final = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|`[^`]*`|%\{.*?\}%|(?<![\w-])(NAMES)(?!\w)"


def substitute(text: str, symbols: dict[str, str]) -> tuple[str, list[tuple[int, int]]]:
    """``text`` with the bare words of ``symbols`` replaced, and the shifts that Cursor needs to undo it."""
    if not symbols:
        return text, []
    names = "|".join(sorted(map(re.escape, symbols), key=len, reverse=True))
    pattern = re.compile(_DEFINED.replace("NAMES", names), re.DOTALL)
    pieces: list[str] = []
    shifts: list[tuple[int, int]] = []
    last = grown = 0
    for found in pattern.finditer(text):
        if found.group(1) is None:
            continue
        value = symbols[found.group(1)]
        pieces += [text[last : found.start()], value]
        last = found.end()
        grown += len(value) - len(found.group(1))
        shifts.append((last + grown, grown))
    pieces.append(text[last:])
    return "".join(pieces), shifts
