"""One line of text for each packet that crosses a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ustack.device.base import Device, WrappedDevice
from ustack.wire.describe import describe_packet


class TraceDevice(WrappedDevice):
    """Wraps a device and hands ``write`` a line for each packet: seconds since ``start`` (ns), ``<`` or ``>``, text."""

    def __init__(self, inner: Device, write: Callable[[str], object], start: int = 0) -> None:
        super().__init__(inner)
        self._write = write
        self._start = start

    def _note(self, sign: str, packets: Sequence[bytes], now: int) -> None:
        seconds, rest = divmod(now - self._start, 1_000_000_000)
        for packet in packets:
            self._write(f"{seconds}.{rest // 1000:06d} {sign} {describe_packet(packet)}")

    def read_packets(self, now: int) -> list[bytes]:
        packets = self.inner.read_packets(now)
        self._note("<", packets, now)
        return packets

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        written = self.inner.write_packets(packets, now)
        self._note(">", packets[:written], now)
        return written
