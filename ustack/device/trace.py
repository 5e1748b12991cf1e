"""One line of text for each packet that crosses a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ustack.device.base import Device, ObservingDevice
from ustack.wire.describe import describe_packet


class TraceDevice(ObservingDevice):
    """Wraps a device and hands ``write`` a line for each packet: seconds since ``start`` (ns), ``<`` or ``>``, text."""

    def __init__(
        self,
        inner: Device,
        write: Callable[[str], object],
        start: int = 0,
        complain: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(inner, "the trace", complain)
        self._write = write
        self._start = start

    def observe(self, packets: Sequence[bytes], now: int, incoming: bool) -> None:
        seconds, rest = divmod(now - self._start, 1_000_000_000)
        for packet in packets:
            self._write(f"{seconds}.{rest // 1000:06d} {'<' if incoming else '>'} {describe_packet(packet)}")
