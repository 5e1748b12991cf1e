"""Counters of one Stack, with the names of ``nstat`` (``/proc/net/snmp`` and ``/proc/net/netstat``).

What Linux counts keeps Linux's name (``TcpRetransSegs`` is ``RetransSegs`` of the ``Tcp`` line). Refused
segments are counted under their :class:`~ustack.drops.Drop` as well, since Linux has no counter for most.
"""

from __future__ import annotations

from ustack.drops import Drop


class Counters:
    """Named counts that only grow (but for the gauges ``TcpCurrEstab`` and ``TcpOrphans``)."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.segs_in: int = 0
        """TcpInSegs. Every segment counts here and in ``segs_out``: no name is looked up for that."""
        self.segs_out: int = 0
        """TcpOutSegs."""
        self.drops: dict[Drop, int] = {}

    def add(self, name: str, amount: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + amount

    def drop(self, reason: Drop, amount: int = 1) -> None:
        """A packet was refused; ``reason.rule`` says which rule did it."""
        self.drops[reason] = self.drops.get(reason, 0) + amount

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0) + self._apart(name)

    def _apart(self, name: str) -> int:
        """What was counted without a name."""
        if name == "TcpInSegs":
            return self.segs_in
        return self.segs_out if name == "TcpOutSegs" else 0

    def dropped(self, reason: Drop) -> int:
        return self.drops.get(reason, 0)

    def as_dict(self) -> dict[str, int]:
        """All counts, drops as ``Drop.NAME``, sorted by name: what ``nstat`` would list."""
        everything = dict(self.counts)
        for name in ("TcpInSegs", "TcpOutSegs"):
            if count := self[name]:
                everything[name] = count
        for reason, count in self.drops.items():
            everything[f"Drop.{reason.name}"] = count
        return dict(sorted(everything.items()))
