"""``--plot FILE`` of the commands that bring a stack up: watches its connections, and draws the largest at the end."""

from __future__ import annotations

from ustack.plot import draw
from ustack.plot.decisions import Story, picture
from ustack.socket.host import Host
from ustack.trace import Event, Marked, Sent
from ustack.trace.tracing import Trace

MOST_CONNECTIONS = 64
"""So many are followed at a time; of more, the smallest that is over is forgotten."""


class Recorder:
    """Follows the connections of one host."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}
        self.trace: Trace | None = None

    def attach(self, host: Host) -> None:
        """From now on."""
        self.trace = host.trace(self.tell, complain=lambda sentence: None)

    def tell(self, event: Event) -> None:
        """What the trace says."""
        story = self.stories.get(event.who)
        if story is not None and isinstance(event, Sent) and event.rule in ("resent", "probe"):
            story.resend(event.at, event.text)
        elif story is not None and isinstance(event, Marked) and event.action == "lost":
            story.lose(event.at)
        if self.trace is None:
            return
        snapshot = self.trace.watch.snapshot(event.who)
        if snapshot is not None:
            self._story(event.who).see(event.at, snapshot)

    def _story(self, name: str) -> Story:
        if name not in self.stories:
            self.stories[name] = Story(name)
            self._forget()
        return self.stories[name]

    def _forget(self) -> None:
        if len(self.stories) > MOST_CONNECTIONS:
            *older, _ = self.stories.values()
            del self.stories[min(older, key=Story.size).who]

    def largest(self) -> Story | None:
        """The connection that carried most."""
        return max(self.stories.values(), key=Story.size, default=None)

    def write(self, path: str) -> str:
        """Draws; returns what to tell. Raises Complaint."""
        story = self.largest()
        if story is None:
            return f"there was no connection: {path} is not written."
        count = len(self.stories)
        note = f"the largest of {count} connections" if count > 1 else ""
        draw.write(picture(story, story.who, note=note), path)
        return f"{path}: {story.who}" + (f", {note}" if note else "")
