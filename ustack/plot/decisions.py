"""The graphs of a connection from the sender's own decisions: what the wire does not show, such as cwnd.

Everything is thinned while it grows (``panel.Samples``), so a transfer of any length takes the same memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ustack.plot.panel import BYTES, RATE, TIME, Curve, Marked, Marks, Panel, Picture, Samples, sequence_top
from ustack.trace.snapshot import Snapshot
from ustack.units import SECOND

_RANGE = re.compile(r" (\d+):(\d+)\(")


class Story:
    """What one connection of one host decided. ``who``: its ends, as the trace names them."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.cwnd, self.ssthresh, self.flight = Samples(), Samples(), Samples()
        self.srtt, self.rto = Samples(), Samples()
        self.pacing, self.delivery = Samples(), Samples()
        self.sent, self.acked, self.allowed, self.unread = Samples(), Samples(), Samples(), Samples()
        self.offered = Samples()
        self.resent, self.lost = Marked(), Marked()
        self.state = Marked()
        self.control = ""
        self._rate_from: tuple[int, int] | None = None
        self._last: Snapshot | None = None

    def size(self) -> int:
        """Bytes that it has sent, or taken."""
        return int(max(self.sent.last() or 0, self._last.rcv_nxt if self._last is not None else 0))

    def see(self, at: int, now: Snapshot) -> None:
        """The connection as it stands at ``at`` (ns)."""
        if now == self._last or not now.snd_nxt:
            return
        self._last = now
        self.control = now.control or self.control
        self.sent.add(at, now.snd_nxt)
        self.acked.add(at, now.snd_una)
        self.allowed.add(at, now.snd_una + now.snd_wnd)
        self.flight.add(at, now.in_flight)
        self.cwnd.add(at, now.cwnd)
        if now.ssthresh >= 0:
            self.ssthresh.add(at, now.ssthresh)
        if now.srtt:
            self.srtt.add(at, now.srtt)
        self.rto.add(at, now.rto << now.backoff if now.backoff < 16 else now.rto)
        self.unread.add(at, now.unread)
        self.offered.add(at, now.rcv_wnd)
        if now.pacing_rate:
            self.pacing.add(at, now.pacing_rate * 8)
        self._take_rate(at, now)

    def _take_rate(self, at: int, now: Snapshot) -> None:
        """How fast text is acknowledged, over about one round trip each time."""
        if self._rate_from is None:
            self._rate_from = at, now.snd_una
            return
        since, una = self._rate_from
        if at - since >= max(now.srtt, 1_000_000):
            self.delivery.add(since, (now.snd_una - una) * 8 * SECOND // (at - since))
            self._rate_from = at, now.snd_una

    def resend(self, at: int, text: str) -> None:
        """A segment left again; ``text`` as the trace writes it."""
        found = _RANGE.search(text)
        if found:
            self.resent.add(at, int(found[1]))

    def lose(self, at: int) -> None:
        """Bytes were marked as lost: the first that are not acknowledged."""
        if self._last is not None:
            self.lost.add(at, self._last.snd_una)


def picture(story: Story, title: str, more: Iterable[Panel] = (), note: str = "") -> Picture:
    """All graphs of a connection."""
    panels = [
        Panel("Sequence numbers", BYTES, [
            Curve("peer's window ends", "window", story.allowed.points),
            Curve("sent", "sent", story.sent.points),
            Curve("acknowledged", "acked", story.acked.points),
        ], [Marks("marked lost", "lost", story.lost.points), Marks("resent", "resent", story.resent.points)],
            top=sequence_top(story.sent.points, story.allowed.points)),
        Panel("Congestion window", BYTES, [
            Curve("in flight", "flight", story.flight.points),
            Curve(f"cwnd ({story.control})" if story.control else "cwnd", "cwnd", story.cwnd.points),
            Curve("ssthresh", "ssthresh", story.ssthresh.points),
        ]),
        Panel("Round trip and retransmission timer", TIME, [
            Curve("RTO", "rto", story.rto.points),
            Curve("smoothed RTT", "srtt", story.srtt.points),
        ], is_log=True),
        Panel("Rates", RATE, [
            Curve("pacing", "pacing", story.pacing.points),
            Curve("delivered", "delivery", story.delivery.points),
        ]),
    ]  # fmt: skip
    if max((value for _, value in story.unread.points), default=0) * 100 > (story.offered.last() or 0):
        panels.append(Panel("Receive buffer", BYTES, [
            Curve("window offered", "window", story.offered.points),
            Curve("not read yet", "unread", story.unread.points),
        ]))  # fmt: skip
    found = [*panels, *more]
    for panel in found:
        panel.curves = [curve for curve in panel.curves if curve.points]
        panel.marks = [marks for marks in panel.marks if marks.points]
    return Picture(title, [panel for panel in found if panel.has_anything()], note)


ORDER = ("one", "two", "three", "four", "five", "six")
"""Styles of connections that are compared."""


def comparison(stories: Iterable[tuple[str, Story]], title: str, more: Iterable[Panel] = (), note: str = "") -> Picture:
    """Several connections in the same panels, each under its name; at most as many as there are styles."""
    chosen = [(name, style, story) for (name, story), style in zip(stories, ORDER, strict=False)]
    panels = [
        Panel(
            "Delivered", RATE, [Curve(name, style, story.delivery.points, ends=True) for name, style, story in chosen]
        ),
        Panel(
            "Congestion window",
            BYTES,
            [Curve(name, style, story.cwnd.points, ends=True) for name, style, story in chosen],
        ),
        Panel(
            "Smoothed RTT", TIME, [Curve(name, style, story.srtt.points, ends=True) for name, style, story in chosen]
        ),
    ]
    return Picture(title, [panel for panel in (*panels, *more) if panel.has_anything()], note)
