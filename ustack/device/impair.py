"""A device whose packets suffer: loss, bursts, repeats, reordering, bit errors, delay, a narrow rate."""

from __future__ import annotations

from collections.abc import Sequence

from ustack.device.base import RECEIVE_BATCH, Device, WrappedDevice
from ustack.device.impairment import Impairment, Path, offer_all, parse_impairment

__all__ = ["ImpairedDevice", "Impairment", "Path", "parse_impairment"]


class ImpairedDevice(WrappedDevice):
    """Wraps a device; each direction is a path of its own under ``impairment`` (both with its one seed).

    ``outgoing`` may be different from what comes in.
    """

    def __init__(self, inner: Device, impairment: Impairment, outgoing: Impairment | None = None) -> None:
        super().__init__(inner)
        self.incoming = Path(impairment, "in")
        self.outgoing = Path(outgoing or impairment, "out")
        self._unsent: list[bytes] = []

    def read_packets(self, now: int) -> list[bytes]:
        self._push(now)
        offer_all(self.incoming, self.inner.read_packets(now), now)
        return self.incoming.due(now, RECEIVE_BATCH)

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        offer_all(self.outgoing, packets, now)
        self._push(now)
        return len(packets)

    def _push(self, now: int) -> None:
        """Hands on what has crossed the outgoing path."""
        self._unsent += self.outgoing.due(now)
        if self._unsent:
            del self._unsent[: self.inner.write_packets(self._unsent, now)]

    def next_deadline(self) -> int | None:
        deadlines = (self.incoming.next_deadline(), self.outgoing.next_deadline(), self.inner.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
