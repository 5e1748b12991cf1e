"""``ustack lab ID --plot FILE``: the graphs of what a question's run showed."""

from __future__ import annotations

from ustack.cli.complaint import Complaint
from ustack.device.impairment import PERFECT, Impairment, parse_impairment
from ustack.lab.report import Report
from ustack.plot import draw
from ustack.plot.decisions import Story, comparison, picture
from ustack.plot.panel import PACKETS, Curve, Marked, Marks, Panel, Picture, Samples
from ustack.trace.events import Marked as LossMarked

_LARGE = 50_000
"""Bytes: connections that carry more are compared, where there are several."""


def write(report: Report, link: str, path: str) -> str:
    """Draws; ``link`` is the impairment's text. Returns what to tell. Raises Complaint."""
    found = of_report(report, link)
    draw.write(found, path)
    return f"{path}: {found.title}"


def of_report(report: Report, link: str = "") -> Picture:
    """The connection and side that sent most in a run."""
    stories: dict[tuple[str, str], Story] = {}
    for view in report.views:
        key = view.side, view.who
        stories.setdefault(key, Story(view.who)).see(view.at, view.snapshot)
    if not stories:
        raise Complaint(f"{report.id} has no TCP connection to draw.", 2)
    side, who = max(stories, key=lambda key: stories[key].sent.last() or 0)
    story = stories[side, who]
    for flight in report.flights:
        if flight.sender == side and flight.rule in ("resent", "probe") and _is_of(flight.connection, who):
            story.resend(flight.at, f" {flight.text.partition(' ')[2]}")
    for note in report.notes:
        if (
            note.side == side
            and note.event.who == who
            and isinstance(note.event, LossMarked)
            and note.event.action == "lost"
        ):
            una = next((value for at, value in reversed(story.acked.points) if at <= note.at), 0)
            story.lost.add(note.at, una)
    model = parse_impairment(link) if link else PERFECT
    more = [queue(report, side, model)] if model.rate else []
    others = [one for key, one in stories.items() if key[0] == side and one.size() > story.size() // 8]
    if len(others) > 1 and story.size() > _LARGE:
        named = [(f"{one.control}, {one.who.partition(' > ')[0]}", one) for one in others]
        return comparison(named, f"{report.id}: {len(named)} connections of the {side}", more, report.question)
    return picture(story, f"{report.id}: {side}, {who}", more, report.question)


def _is_of(connection: str, who: str) -> bool:
    """Both name the same two ends, in either order."""
    return all(end in connection for end in who.split(" > "))


def queue(report: Report, side: str, model: Impairment) -> Panel:
    """Packets of ``side`` that wait for the link's rate or are being sent, and those for which there was no room."""
    sampled = [(at, waiting) for at, sender, waiting in report.waiting if sender == side]
    points, dropped = _by_flights(report, side, model)
    samples = Samples()
    for at, waiting in sampled if report.unseen else points:
        samples.add(at, waiting)
    curve = Curve(f"waiting ({_rate(model.rate)})", "queue", samples.points)
    return Panel("Queue of the bottleneck", PACKETS, [curve], [Marks("no room: dropped", "dropped", dropped.points)])


def _by_flights(report: Report, side: str, model: Impairment) -> tuple[list[tuple[int, int]], Marked]:
    """How many waited at each instant: a packet waits from when it leaves until ``delay`` before it arrives."""
    changes: list[tuple[int, int]] = []
    for flight in report.flights:
        if flight.sender == side and flight.arrivals:
            changes += [(flight.at, 1), (max(flight.at, flight.arrivals[0] - model.delay), -1)]
        elif flight.sender == side:
            changes.append((flight.at, 0))
    waiting = 0
    points, dropped = [], Marked()
    for at, change in sorted(changes):
        waiting += change
        if change:
            points.append((at, waiting))
        elif waiting >= model.limit:
            dropped.add(at, waiting)
    return points, dropped


def _rate(rate: int) -> str:
    """10 Mbit/s."""
    for size, name in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if rate >= size:
            return f"{rate / size:g} {name}"
    return f"{rate} bit/s"
