"""A host's place in the lab's network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ustack.sim.network import SimHost


class LabPlace(SimHost):
    """Tells the lab what arrives before the stack sees it."""

    is_dead = False
    """Nothing is there any more: what comes for it is lost."""
    arriving: Callable[[Sequence[bytes]], None]

    def receive(self, packets: Sequence[bytes]) -> None:
        """Packets arrive, all in this instant."""
        if not self.is_dead:
            self.arriving(packets)
            super().receive(packets)
