"""Shell lines that make and delete files, understood without a shell: the files exist in virtual time only.

Scripts that test sendfile() and splice() bring a file of zeros along, which is all that a payload may be.
"""

from __future__ import annotations

import re
from typing import Final

from ustack.packetdrill.errors import Unsupported

FileEffect = tuple[str, int]
"""(path, size): the file has this many zeros from now on; KEPT, DELETED and MUST_GO are special sizes."""

KEPT: Final = -1
"""The file is made, empty, if it is not there yet (touch)."""
DELETED: Final = -2
"""The file is gone; it need not have been there (rm -f)."""
MUST_GO: Final = -3
"""The file is gone; that it was not there is a failure (rm)."""

_SIZE: Final = re.compile(r"(\d+)(c|w|b|kB|K|k|KiB|MB|M|m|MiB|GB|G|GiB)?")
_UNITS: Final = {
    None: 1, "c": 1, "w": 2, "b": 512, "kB": 1000, "K": 1024, "k": 1024, "KiB": 1024,
    "MB": 1000**2, "M": 1024**2, "m": 1024**2, "MiB": 1024**2, "GB": 1000**3, "G": 1024**3, "GiB": 1024**3,
}  # fmt: skip
FILE_COMMANDS: Final = frozenset({"rm", "unlink", "touch", "truncate", "fallocate", "head", "dd"})


def file_effects(words: list[str]) -> list[FileEffect]:
    """What one of FILE_COMMANDS does. Raises Unsupported for a form that is not understood."""
    name, rest = words[0].rsplit("/", 1)[-1], words[1:]
    try:
        return _FORMS[name](rest)
    except (ValueError, IndexError, KeyError):
        raise Unsupported(f"command: {' '.join(words)}") from None


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError
    return int(found[1]) * _UNITS[found[2]]


def _flags(rest: list[str], known: str) -> tuple[str, list[str]]:
    """The letters of the options, all of which must be among ``known``, and the other words."""
    letters = "".join(word[1:] for word in rest if word.startswith("-"))
    if set(letters) - set(known):
        raise ValueError
    return letters, [word for word in rest if not word.startswith("-")]


def _remove(rest: list[str]) -> list[FileEffect]:
    letters, paths = _flags(rest, "frvi")
    if not paths:
        raise ValueError
    return [(path, DELETED if "f" in letters else MUST_GO) for path in paths]


def _touch(rest: list[str]) -> list[FileEffect]:
    _, paths = _flags(rest, "")
    return [(path, KEPT) for path in paths]


def _sized(option: str, rest: list[str]) -> list[FileEffect]:
    """``truncate -s N FILE``, ``fallocate -l N FILE``."""
    if rest[0].startswith(option) and len(rest[0]) > len(option):
        rest = [option, rest[0].removeprefix(option).removeprefix("="), *rest[1:]]
    if rest[0] != option or len(rest) != 3:
        raise ValueError
    return [(rest[2], _size(rest[1]))]


def _head(rest: list[str]) -> list[FileEffect]:
    """``head -c N /dev/zero > FILE``."""
    count, source, arrow, path = ["-c", rest[0][2:], *rest[1:]][1:] if len(rest[0]) > 2 else rest[1:]
    if not rest[0].startswith("-c") or source != "/dev/zero" or arrow != ">":
        raise ValueError
    return [(path, _size(count))]


def _dd(rest: list[str]) -> list[FileEffect]:
    """``dd if=/dev/zero of=FILE bs=N count=N``."""
    given = dict(word.split("=", 1) for word in rest)
    if given.pop("if") != "/dev/zero" or set(given) - {"of", "bs", "count", "status"}:
        raise ValueError
    return [(given["of"], _size(given.get("bs", "512")) * _size(given["count"]))]


_FORMS: Final = {
    "rm": _remove,
    "unlink": _remove,
    "touch": _touch,
    "truncate": lambda rest: _sized("-s", rest),
    "fallocate": lambda rest: _sized("-l", rest),
    "head": _head,
    "dd": _dd,
}
