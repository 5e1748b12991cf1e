"""The lab: questions about TCP, answered by running them in virtual time.

A question is one function in one file (see ``questions/``): it sets up hosts, does something, checks figures, and says
what is to be learned from what was seen.
"""

from __future__ import annotations

from ustack.lab.link import LabLink
from ustack.lab.place import LabPlace
from ustack.lab.question import Question, question
from ustack.lab.report import Figure, Flight, Note, Report, Sentence
from ustack.lab.side import LabSocket, Side
from ustack.lab.world import Lab

__all__ = [
    "Figure",
    "Flight",
    "Lab",
    "LabLink",
    "LabPlace",
    "LabSocket",
    "Note",
    "Question",
    "Report",
    "Sentence",
    "Side",
    "question",
]
