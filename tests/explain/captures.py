"""Captures with known faults: two hosts of the lab in virtual time, and an observer at one of them."""

from __future__ import annotations

from collections.abc import Callable

from ustack.cli.capture import Captured
from ustack.explain.finding import NOTE, Finding
from ustack.explain.reading import Reading, read
from ustack.explain.report import findings
from ustack.lab.question import Question
from ustack.lab.world import Lab

Play = Callable[[Lab], None]


def play(scene: Play, **changes: str) -> Lab:
    """Runs ``scene``; what it leaves is in the lab's report."""
    asked = Question(
        id="X9", title="", setup="", run=scene, link="delay=10ms", client={}, server={}, options={}, kernel="", live={},
        tries=(), next=(),
    )  # fmt: skip
    lab = Lab(asked, changes)
    scene(lab)
    lab.close()
    return lab


def seen_at(lab: Lab, side: str) -> list[Captured]:
    """What a capture at ``side`` holds: its packets as they leave, the other's as they arrive."""
    records: list[tuple[int, int, bytes]] = []
    for flight in lab.report.flights:
        instants = flight.arrivals if flight.sender != side else [] if flight.late else [flight.at]
        records += [(at, flight.order, flight.packet) for at in instants]
    records.sort(key=lambda record: record[:2])
    return [Captured(number, at, packet, 0) for number, (at, _, packet) in enumerate(records, 1)]


def explained(scene: Play, side: str = "client", **changes: str) -> list[Finding]:
    """The findings of a scene with one connection, seen from one side."""
    return all_findings(read(seen_at(play(scene, **changes), side)))


def all_findings(reading: Reading) -> list[Finding]:
    return [finding for flow in reading.flows for finding in findings(flow)]


def faults(found: list[Finding]) -> list[str]:
    """The kinds of all but notes, in order."""
    return [one.kind for one in found if one.weight != NOTE]
