"""The build step that puts docstrings into mypyc's C files, on a module that is compiled here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
"""The module's: a "quote", a ? and an é."""
from enum import Enum
from typing import Final

SECOND: Final = 1000


class Colour(Enum):
    """An enum's."""

    RED = 1


class Trouble(ValueError):
    """An error's."""


class Box:
    """A class's."""

    def __init__(self, size: int, time: int = 2 * SECOND) -> None:
        self.size: int = size
        """Bytes."""

    @property
    def twice(self) -> int:
        """A property's."""
        return 2 * self.size

    def wait(self, seconds: int = 3 * SECOND) -> int:
        """A method's."""
        return seconds


def wait(seconds: int = 2 * SECOND) -> int:
    """A function's,

    over lines.
    """
    return seconds
'''
BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from docstrings import keep_docstrings
from mypyc.build import mypycify
from setuptools import setup
files = ["boxes.py", "other.py"]
extensions = mypycify(files, target_dir="c", opt_level="0", debug_level="0", multi_file=True, group_name="g")
keep_docstrings([Path("boxes.py").resolve()], Path.cwd(), Path("c"))
sys.argv[1:] = ["-q", "build_ext", "--inplace"]
setup(name="boxes", ext_modules=extensions)
"""
ASK = """
import boxes, inspect
assert not boxes.__file__.endswith(".py")
from boxes import Box
for thing in (boxes, boxes.Colour, boxes.Trouble, Box, Box.size, Box.twice, Box.wait, boxes.wait):
    print(repr(thing.__doc__))
for thing in (boxes.Box, boxes.Box.wait, boxes.wait):
    print(*inspect.signature(thing).parameters)
print(boxes.wait(), boxes.Colour.RED.name)
"""
SAID = """\
'The module\\'s: a "quote", a ? and an é.'
"An enum's."
"An error's."
"A class's."
'Bytes.'
"A property's."
"A method's."
"A function's,\\n\\nover lines."
size time
self seconds
seconds
2000 RED
"""


def test_every_kind_of_docstring_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("mypyc")
    pytest.importorskip("setuptools")
    (tmp_path / "boxes.py").write_text(SOURCE)
    (tmp_path / "other.py").write_text("")  # a file for each module wants two of them

    def run(code: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(BUILD, str(ROOT / "native"))
    assert run(ASK) == SAID
