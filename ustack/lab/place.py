"""A host's place in the lab's network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ustack.sim.network import SimHost, SimNetwork, packet_destination
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet


class LabPlace(SimHost):
    """Tells the lab what arrives before the stack sees it."""

    is_dead = False
    """Nothing is there any more: what comes for it is lost."""
    arriving: Callable[[Sequence[bytes]], None]
    refuses: Callable[[bytes], bool] | None = None
    """A wrong rule of a question's own, before the stack."""

    def receive(self, packets: Sequence[bytes]) -> None:
        """Packets arrive, all in this instant."""
        if not self.is_dead:
            taken = packets if self.refuses is None else [one for one in packets if not self.refuses(one)]
            self.arriving(taken)
            super().receive(taken)


class NatNetwork(SimNetwork):
    """Several hosts may have one address, as behind a NAT."""

    def route(self, sender: SimHost, packet: bytes) -> None:
        """To the one of them that has the packet's connection."""
        destination = packet_destination(packet)
        links = [link for link in sender.links if destination in link.far_end(sender).addresses]
        frame = parse_packet(packet) if len(links) > 1 else None
        if not isinstance(frame, Segment):
            super().route(sender, packet)
            return
        known = [link for link in links if frame.key in link.far_end(sender).stack.tcp.connections]
        (known or links)[0].carry(sender, packet)
