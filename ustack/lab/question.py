"""A question, its function, and where the questions are found."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ustack.lab.world import Lab

GROUPS = {
    "A": "What TCP is",
    "B": "Opening",
    "C": "Closing",
    "D": "When something dies",
    "E": "Timestamps",
    "F": "Looking at it",
}
"""The groups of the questions, by the first letter of their id."""


@dataclasses.dataclass(frozen=True)
class Question:
    """One question. ``run`` is the function that answers it; the texts are English (``language.translate``)."""

    id: str
    title: str
    setup: str
    run: Callable[[Lab], None]
    link: str
    """The impairment of the link between client and server, as in ``delay=10ms``."""
    client: Mapping[str, object]
    """Settings of the client that differ from Linux's defaults; ``server`` likewise."""
    server: Mapping[str, object]
    options: Mapping[str, str]
    """What ``--set`` may change beside settings and the link: name, and the value that it has else."""
    kernel: str
    """Which side Linux itself can be, live: ``client``, ``server``, ``both`` (each in turn); empty for neither."""
    live: Mapping[str, str]
    """What ``--kernel`` sets, as ``--set`` does, so that real time is short."""
    tries: tuple[str, ...]
    """Values for ``--set`` that change the outcome."""
    next: tuple[str, ...]
    """Questions to ask next."""
    shows: tuple[str, ...] = ()
    """What the ladder leaves out elsewhere, and matters here: options (``TS``), the numbers of SYNs (``ISN``), calls
    (``socket``, ``bind``)."""

    @property
    def group(self) -> str:
        """The name of its group."""
        return GROUPS.get(self.id[:1], "Your own")

    def code(self) -> str:
        """The source of its file."""
        return Path(inspect.getfile(self.run)).read_text()


REGISTRY: dict[str, Question] = {}


def question(  # noqa: PLR0913 - the heading of a question, each field by its name
    id: str,  # noqa: A002 - that is what it is called
    title: str,
    setup: str,
    *,
    link: str = "delay=10ms",
    client: Mapping[str, object] | None = None,
    server: Mapping[str, object] | None = None,
    options: Mapping[str, str] | None = None,
    kernel: str = "",
    live: Mapping[str, str] | None = None,
    tries: tuple[str, ...] = (),
    next: tuple[str, ...] = (),  # noqa: A002
    shows: tuple[str, ...] = (),
) -> Callable[[Callable[[Lab], None]], Question]:
    """Makes a question of a function that takes a :class:`~ustack.lab.Lab`."""

    def made(run: Callable[[Lab], None]) -> Question:
        found = Question(
            id,
            title,
            setup,
            run,
            link,
            client or {},
            server or {},
            options or {},
            kernel,
            live or {},
            tries,
            next,
            shows,
        )
        REGISTRY[id] = found
        return found

    return made


def questions() -> dict[str, Question]:
    """All that come with ustack, by id, in the order of their ids."""
    folder = importlib.import_module("ustack.lab.questions")
    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"ustack.lab.questions.{module.name}")
    known = [one for one in REGISTRY.values() if one.run.__module__.startswith("ustack.lab.questions.")]
    return {one.id: one for one in sorted(known, key=lambda one: (one.id[0], int(one.id[1:])))}


def load(name: str) -> Question:
    """The question with this id, or the last one of a file of one's own. Raises LookupError with a sentence."""
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise LookupError(f"{name} is no file")
        before = set(REGISTRY.values())
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        fresh = [one for one in REGISTRY.values() if one not in before]
        if not fresh:
            raise LookupError(f"{name} defines no question: decorate a function with @question(...)")
        return fresh[-1]
    known = questions()
    if name.upper() not in known:
        raise LookupError(f"there is no question {name!r}: ustack lab lists them")
    return known[name.upper()]
