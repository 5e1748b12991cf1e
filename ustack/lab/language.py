"""English and Chinese, by gettext: the English sentence is the key of the other.

The catalogues are the ``.po`` files of ``locale/zh``, one for each group of questions, read as they are.
"""

from __future__ import annotations

import ast
import gettext
import re
from pathlib import Path

from rich.cells import cell_len

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).parent / "locale"


class Catalogue(gettext.NullTranslations):
    """The translations of all ``.po`` files of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.sentences: dict[str, str] = {}
        for path in sorted(folder.glob("*.po")):
            self.sentences.update(read_po(path.read_text(encoding="utf-8")))

    def gettext(self, message: str) -> str:
        """The translation, or the message itself."""
        return self.sentences.get(message) or message


def read_po(text: str) -> dict[str, str]:
    """msgid: msgstr, of a ``.po`` file without plural forms. Raises ValueError for a line that is none of its kind."""
    sentences: dict[str, str] = {}
    parts: dict[str, str] = {}
    current = ""
    for line in [*text.splitlines(), 'msgid ""']:
        word, _, rest = line.partition(" ")
        if word in ("msgid", "msgstr"):
            if word == "msgid":
                if parts.get("msgid"):
                    sentences[parts["msgid"]] = parts.get("msgstr", "")
                parts = {}
            current = word
            parts[current] = ast.literal_eval(rest)
        elif line.startswith('"'):
            parts[current] += ast.literal_eval(line)
        elif line and not line.startswith("#"):
            raise ValueError(f"not a line of a .po file: {line}")
    return sentences


class _Chosen:
    """The catalogue in use."""

    def __init__(self) -> None:
        self.name = "en"
        self.catalogue: gettext.NullTranslations = gettext.NullTranslations()


_chosen = _Chosen()


def choose(name: str) -> None:
    """``en`` or ``zh``, or what LANG says (``zh_CN.UTF-8``); another language is English."""
    language = name.partition(".")[0].partition("_")[0].lower()
    _chosen.name = language if language in LANGUAGES else "en"
    _chosen.catalogue = Catalogue(FOLDER / "zh") if _chosen.name == "zh" else gettext.NullTranslations()


def chosen() -> str:
    """The language in use."""
    return _chosen.name


def translate(text: str) -> str:
    """The sentence in the chosen language; English where it is not translated."""
    return _chosen.catalogue.gettext(text) if text else ""


MARKS = "\uff0c\u3002\uff1a\uff1b\u3001\uff09\u300d\uff1f\uff01"
"""Chinese marks that may not begin a line."""
_CHINESE = "\u2e80-\u9fff\uff00-\uffef"
_PIECES = re.compile(rf"[{_CHINESE}][{MARKS}]*|[^\s{_CHINESE}]+[{MARKS}]*\s*|\s+")
"""A Chinese character with the marks behind it, or a word with the space behind it."""


def wrapped(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most ``width`` columns of a terminal, where a Chinese character takes two; ``first`` and ``rest``
    stand before the first line and the others.
    """
    lines, line, used = [], first, cell_len(first)
    for piece in _PIECES.findall(text):
        if used + cell_len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line, used = rest, cell_len(rest)
            piece = piece.lstrip()  # noqa: PLW2901 - no line begins with a space
        line += piece
        used += cell_len(piece)
    return [*lines, line.rstrip()] if line.strip() else lines
