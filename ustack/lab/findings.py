"""What a question says of its run: figures, and sentences that rest on what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ustack.lab.evidence import Evidence, instant_of, is_there
from ustack.lab.knobs import Knobs
from ustack.lab.language import translate
from ustack.lab.question import Question
from ustack.lab.report import Figure, Sentence
from ustack.lab.seen import Seen
from ustack.lab.side import error_name


class NotSeenError(AssertionError):
    """A question says something that did not happen in its run."""


class Findings(Seen):
    """The part of a :class:`~ustack.lab.Lab` that says something."""

    question: Question
    knobs: Knobs

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
