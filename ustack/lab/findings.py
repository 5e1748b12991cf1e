"""What a question says of its run: figures, and sentences that rest on what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ustack.lab.knobs import Knobs
from ustack.lab.language import translate
from ustack.lab.question import Question
from ustack.lab.report import Figure, Flight, Report, Sentence
from ustack.lab.side import Side, error_name
from ustack.sim.network import SimNetwork
from ustack.trace import Called, Event

Evidence = Event | Flight | Figure | Sequence[Event] | Sequence[Flight] | float | bool | None


class NotSeenError(AssertionError):
    """A question says something that did not happen in its run."""


class Findings:
    """The part of a :class:`~ustack.lab.Lab` that says something."""

    question: Question
    knobs: Knobs
    report: Report
    network: SimNetwork

    def figure(
        self,
        label: str,
        seen: float | str,
        expected: float | str,
        unit: str = "",
        *,
        within: float = 0.0,
        rule: str = "",
    ) -> Figure:
        """A figure that was measured and what it must be, give or take ``within``. ``label`` is English."""
        made = Figure(translate(label), seen, expected, unit, within, rule)
        self.report.figures.append(made)
        return made

    def say(self, evidence: Evidence, sentence: str, **values: object) -> None:
        """A sentence of the answer (English, with ``{names}`` for ``values``). ``evidence`` is what it rests on: an
        event, a segment, a figure. Without evidence (None, False, an empty list) the sentence is left out; with the
        question's own settings that is a fault of the question, and raises NotSeenError.
        """
        if not is_there(evidence) and not self.knobs.changes:
            raise NotSeenError(f"{self.question.id}: nothing was seen of: {sentence}")
        self.say_if(evidence, sentence, **values)

    def say_if(self, evidence: Evidence, sentence: str, **values: object) -> None:
        """A sentence of the answer where there is evidence for it: what other settings lead to."""
        if not is_there(evidence):
            return
        at = instant_of(evidence)
        text = translate(sentence).format(**values)
        self.report.sentences.append(Sentence(text, self._elapsed() if at is None else at))

    @contextmanager
    def error(self) -> Iterator[list[str]]:
        """``with lab.error() as found:`` expects the block to raise OSError; ``found[0]`` is the name of its errno."""
        found: list[str] = []
        try:
            yield found
        except OSError as error:
            found.append(error_name(error))
        else:
            found.append("no error")

    def outcome(self, result: str, side: Side | None = None) -> Called | None:
        """The first call whose result begins with ``result`` (``ETIMEDOUT``)."""
        return next((call for call in self._calls(side) if call.result.startswith(result)), None)

    def _calls(self, side: Side | None) -> list[Called]:
        notes = [note for note in self.report.notes if side is None or note.side == side.name]
        return [note.event for note in notes if isinstance(note.event, Called)]

    def _elapsed(self) -> int:
        """ns since the run began."""
        return self.network.now - self.network.start


def is_there(evidence: Evidence) -> bool:
    """It was seen; an instant of 0 s was, too."""
    return bool(evidence) or isinstance(evidence, float)


def instant_of(evidence: Evidence) -> int | None:
    """ns since the run began, of what has an instant."""
    if isinstance(evidence, list):
        return instant_of(evidence[0]) if evidence else None
    if isinstance(evidence, Event):
        return evidence.at
    return evidence.at if isinstance(evidence, Flight) else None
