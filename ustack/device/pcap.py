"""Everything that crosses a device, written down for Wireshark and tcpdump.

The format is classic pcap with nanosecond timestamps (draft-ietf-opsawg-pcap-05 section 4) and
LINKTYPE_RAW: a record is an IP packet, version 4 or 6.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from ustack.device.base import Device, WrappedDevice

MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_RAW = 101
SNAPLEN = 262144
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")


class PcapWriter:
    """Writes packets to ``target``: a path, or a binary file that stays the caller's to close.

    ``epoch`` is the wall-clock time, in ns since 1970, at which ``now`` was 0. Of each packet ``snaplen`` bytes
    are kept.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, epoch: int = 0, snaplen: int = SNAPLEN) -> None:
        self._owned = isinstance(target, (str, os.PathLike))
        # Unbuffered: a crash loses nothing, and a fork() does not write a buffer twice.
        self._file: BinaryIO = open(target, "wb", buffering=0) if self._owned else target  # type: ignore[arg-type, assignment]  # noqa: SIM115
        self._epoch = epoch
        self._snaplen = snaplen
        self._closed = False
        self._file.write(_FILE_HEADER.pack(MAGIC_NANOSECONDS, 2, 4, 0, 0, snaplen, LINKTYPE_RAW))

    def write(self, packets: Iterable[bytes], now: int) -> None:
        """One record for each packet, all with the instant ``now``."""
        seconds, nanoseconds = divmod(self._epoch + now, 1_000_000_000)
        parts: list[bytes] = []
        for packet in packets:
            kept = packet[: self._snaplen]
            parts.append(_RECORD_HEADER.pack(seconds & 0xFFFFFFFF, nanoseconds, len(kept), len(packet)))
            parts.append(kept)
        if parts:
            self._file.write(b"".join(parts))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._owned:
                self._file.close()


class PcapDevice(WrappedDevice):
    """Wraps a device and writes down what it really carried: after an impairment outside, before one inside."""

    def __init__(self, inner: Device, target: str | os.PathLike[str] | BinaryIO, epoch: int = 0) -> None:
        super().__init__(inner)
        self._writer = PcapWriter(target, epoch)

    def read_packets(self, now: int) -> list[bytes]:
        packets = self.inner.read_packets(now)
        self._writer.write(packets, now)
        return packets

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        written = self.inner.write_packets(packets, now)
        self._writer.write(packets[:written], now)
        return written

    def close(self) -> None:
        super().close()
        self._writer.close()
