"""``%{ python }%``: assertions about TCP_INFO."""

from __future__ import annotations

import builtins
import textwrap
from types import CodeType
from typing import Final

from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.hints import did_you_mean
from ustack.packetdrill.symbols import SYMBOLS

_PREFIXES: Final = ("TCP_", "TCPI_", "SK_MEMINFO_")
_NAMES: Final = {name: value for name, value in SYMBOLS.items() if name.startswith(_PREFIXES)}


def _compiled(text: str) -> CodeType:
    """The code without the indentation that it has as a whole, or, as its first line stands beside ``%{``, without that
    of the other lines. A backslash at its very end continues nothing. Raises SyntaxError when it cannot be read either
    way."""
    text = text.rstrip().rstrip("\\")
    whole = textwrap.dedent(text).strip()
    try:
        return compile(whole, "assertion", "exec")
    except IndentationError:
        first, newline, rest = text.partition("\n")
        return compile(first.strip() + newline + textwrap.dedent(rest).rstrip(), "assertion", "exec")


class Assertions:
    """Runs the code of one script; what one piece defines, the next one sees."""

    def __init__(self) -> None:
        self._names: dict[str, object] = dict(_NAMES)

    def run(self, text: str, variables: dict[str, object]) -> None:
        """Raises Mismatch for a failed assertion, Unsupported for a ``tcpi_`` variable that there is not."""
        for name in [name for name in self._names if name.startswith("tcpi_")]:
            del self._names[name]
        self._names.update(variables)
        try:
            exec(_compiled(text), self._names)  # the script is the user's own program
        except AssertionError as failed:
            message = f": {failed}" if failed.args else ""
            raise Mismatch(f"the assertion failed{message}", self._values(text, variables)) from None
        except NameError as missing:
            name, known = str(missing.name), [*self._names, *dir(builtins)]
            if not variables and name.startswith("tcpi_"):
                raise Mismatch(f"'{name}' is asked for, but no connection under test has a descriptor yet") from None
            raise Unsupported(name, did_you_mean(name, known)) from None
        except SyntaxError as wrong:
            raise Mismatch(f"the code cannot be read: {wrong.msg} in line {wrong.lineno} of it") from None
        except Exception as other:
            raise Mismatch(f"the code raised {type(other).__name__}: {other}") from None

    def _values(self, source: str, variables: dict[str, object]) -> list[tuple[str, str, str]]:
        return [(name, "see the assertion", str(value)) for name, value in sorted(variables.items()) if name in source]
