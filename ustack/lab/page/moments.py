"""What the slider shows: at each instant both control blocks, queues, and what happens; and each segment's bytes."""

from __future__ import annotations

from typing import Any

from ustack.lab.header import decode
from ustack.lab.ladder import clock
from ustack.lab.language import translate
from ustack.lab.page.picture import Picture, fate_of
from ustack.lab.page.story import Story, ends_of
from ustack.lab.page.wording import arrow_text, is_death, what
from ustack.lab.report import Flight, Note
from ustack.trace.events import Moved, Queued, TimerEvent, span

MOST_BYTES = 128
"""So much of a packet is embedded: its headers, and a little of its text."""
MOST_HAPPENING = 12
_PLAIN = ("snd_una", "snd_nxt", "snd_wnd", "rcv_nxt", "rcv_wnd", "cwnd", "ssthresh", "in_flight", "lost", "mss",
          "unsent", "unread", "beyond", "ca_state", "control")  # fmt: skip
"""What is embedded of a Snapshot as it is; ``srtt`` and ``rto`` are written as people do, timers have a beginning."""


def data_of(story: Story, pictures: list[Picture]) -> dict[str, Any]:
    """All that the page's script needs, as plain data."""
    return {
        "moments": [
            {"at": clock(at), "ns": at, "happens": happens}
            for at, happens in zip(story.moments, _happenings(story), strict=True)
        ],
        "heights": {picture.layout.name: picture.heights() for picture in pictures},
        "flights": {flight.order: _flight(story, flight) for flight in story.flights},
        "sides": [
            {"name": side, "blocks": _blocks(story, side), "queues": _queues(story, side)} for side in story.sides
        ],
        "words": words(),
    }


def words() -> dict[str, str]:
    """What the script writes."""
    return {
        "unacknowledged": translate("in flight"),
        "may": translate("may be sent"),
        "unread": translate("not read yet"),
        "free": translate("free window"),
        "gap": translate("out of order up to {end}"),
        "send": translate("sends"),
        "receive": translate("receives"),
        "left": translate("{time} left"),
        "due": translate("due"),
        "no timers": translate("no timer runs"),
        "none": translate("no connection"),
        "of": translate("{length} of {most}"),
        "none lost": translate("none yet"),
        "unsent": translate("unsent"),
        "lost": translate("counts as lost"),
        "congestion state": translate("loss state"),
        "flight": translate("in flight"),
        "window of {end}": translate("up to {end}"),
        "play": translate("Play"),
        "pause": translate("Pause"),
        "bytes": translate("bytes"),
        "close": translate("Close"),
    }


def _happenings(story: Story) -> list[list[str]]:
    """For each instant what happens, in sentences."""
    found: dict[int, list[str]] = {}
    for row in story.rows:
        if isinstance(row, Note):
            why = row.event.why if not isinstance(row.event, Moved) or row.event.why else ""
            text = f"{row.side}: {what(row.event)}" + (f" ({translate(why)})" if why else "")
            found.setdefault(row.at, []).append(text)
        elif isinstance(row, Flight):
            label = arrow_text(row, row.order in story.again, story.has_many)
            sends = translate("{side} sends {what}").format(side=row.sender, what=label)
            found.setdefault(row.at, []).append(sends)
            gets = translate("{side} gets {what}").format(side=row.receiver, what=label)
            for at in row.arrivals[:2]:
                drop = f" ({translate('dropped')}: {row.drop})" if row.drop else ""
                found.setdefault(at, []).append(gets + drop)
    return [found.get(at, [])[:MOST_HAPPENING] for at in story.moments]


def _flight(story: Story, flight: Flight) -> dict[str, Any]:
    fields = [[field.packet_bit, field.bits, field.header, field.name, field.value, field.meaning]
              for field in decode(flight.packet)]  # fmt: skip
    return {
        "i": story.moment_of(flight.at),
        "end": story.moment_of(flight.arrivals[0]) if flight.arrivals else -1,
        "title": arrow_text(flight, flight.order in story.again, story.has_many),
        "way": translate("{time}, {sender} to {receiver}").format(
            time=clock(flight.at), sender=flight.sender, receiver=flight.receiver
        ),
        "fate": fate_of(flight),
        "why": translate(flight.why),
        "source": flight.source,
        "drop": translate(flight.drop_why),
        "text": flight.text,
        "bytes": flight.packet[:MOST_BYTES].hex(),
        "length": len(flight.packet),
        "fields": fields,
    }


def _blocks(story: Story, side: str) -> list[dict[str, Any]]:
    """The control blocks of the connections that are shown: what changes at which instant."""
    blocks = []
    for connection in story.connections:
        ends = ends_of(connection)
        changes: dict[int, dict[str, Any]] = {}
        running: dict[str, list[Any]] = {}
        for note in story.report.notes:
            event = note.event
            if note.side == side and ends_of(event.who) == ends and isinstance(event, Moved | TimerEvent):
                change = changes.setdefault(_moment(story, note.at), {})
                if isinstance(event, Moved) and event.before == "LISTEN":
                    changes.setdefault(0, {}).setdefault("state", "LISTEN")
                _note_change(change, event, running)
            elif note.side == side and changes and is_death(event):
                running.clear()
                changes.setdefault(_moment(story, note.at), {}).update(state="CLOSED", timers=[])
        for view in story.report.views:
            if view.side == side and ends_of(view.who) == ends:
                changes.setdefault(_moment(story, view.at), {}).update(_snapshot(view.snapshot))
        if changes:
            blocks.append({"who": connection, "changes": sorted(changes.items())})
    return blocks


def _note_change(change: dict[str, Any], event: Moved | TimerEvent, running: dict[str, list[Any]]) -> None:
    """``running``: each timer's name, when it was set, and when it is due."""
    if isinstance(event, Moved):
        change["state"] = event.after
        if event.after == "CLOSED":
            running.clear()
    else:
        running.pop(event.timer, None)
        if event.due:
            running[event.timer] = [translate(event.timer), event.at, event.due]
    change["timers"] = list(running.values())


def _moment(story: Story, at: int) -> int:
    """The instant at which a change is seen first: never before it happened."""
    number = story.moment_of(at)
    return number if story.moments[number] == at else min(number + 1, len(story.moments) - 1)


def _snapshot(snapshot: Any) -> dict[str, Any]:
    shown = {name: getattr(snapshot, name) for name in _PLAIN}
    shown["srtt"] = span(snapshot.srtt) if snapshot.srtt else "-"
    shown["rto"] = span(snapshot.rto)
    shown["state"] = snapshot.state
    return shown


def _queues(story: Story, side: str) -> list[list[Any]]:
    """Instant, listener, queue, length and most."""
    found: dict[tuple[int, str, str], list[Any]] = {}
    for note in story.report.notes:
        event = note.event
        if isinstance(event, Queued) and note.side == side:
            number = _moment(story, note.at)
            found[number, event.who, event.queue] = [
                number, event.who, translate(event.queue), event.length, event.most
            ]  # fmt: skip
    return sorted(found.values())
