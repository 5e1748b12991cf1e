"""What ``--set NAME=VALUE`` changes: a setting of one side or both, the link, or an option of the question's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ustack.device.impairment import parse_impairment
from ustack.lab.question import Question
from ustack.settings import Settings

SETTINGS = {field.name: field for field in dataclasses.fields(Settings)}
IMPAIRMENTS = (
    "loss",
    "duplicate",
    "reorder",
    "corrupt",
    "mark",
    "burst",
    "gap",
    "delay",
    "jitter",
    "rate",
    "limit",
    "seed",
)


class Knobs:
    """The values of one run. Raises ValueError with a sentence for a name or value that is none."""

    def __init__(self, question: Question, changes: Mapping[str, str]) -> None:
        self.changes = dict(changes)
        self.options = dict(question.options)
        self._sides: dict[str, dict[str, Any]] = {
            "client": dict(question.client),
            "server": dict(question.server),
            "": {},
        }
        link = dict(word.split("=", 1) for word in question.link.split(",") if word)
        for name, value in changes.items():
            self._change(question, name, value, link)
        self.link = ",".join(f"{name}={value}" for name, value in link.items())
        parse_impairment(self.link)

    def _change(self, question: Question, name: str, value: str, link: dict[str, str]) -> None:
        side, dot, setting = name.rpartition(".")
        if name in self.options:
            self.options[name] = value
        elif setting in SETTINGS and (not dot or side in ("client", "server")):
            for one in [side] if dot else ["client", "server", ""]:
                self._sides[one][setting] = parse_setting(setting, value)
        elif name in IMPAIRMENTS:
            link[name] = value
        else:
            own = f"{', '.join(question.options)}; " if question.options else ""
            raise ValueError(f"{name} is nothing that {question.id} knows: {own}a sysctl (client. or server. before it "
                             f"sets one side); {', '.join(IMPAIRMENTS)}")  # fmt: skip

    def settings(self, side: str) -> Settings:
        """The settings of a side; a host that the question adds has what is changed for all."""
        return Settings().replace(**self._sides.get(side, self._sides[""]))


def parse_setting(name: str, value: str) -> Any:
    """A setting's value from its text, as sysctl -w takes it. Raises ValueError."""
    default = SETTINGS[name].default
    if isinstance(default, str):
        return value
    try:
        numbers = tuple(int(word) for word in value.replace(",", " ").split())
    except ValueError:
        raise ValueError(f"{name}={value}: whole numbers only") from None
    return numbers if isinstance(default, tuple) else numbers[0] if len(numbers) == 1 else numbers
