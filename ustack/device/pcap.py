"""Everything that crosses a device, written down for Wireshark and tcpdump.

The format is classic pcap with nanosecond timestamps (draft-ietf-opsawg-pcap-05 section 4) and
LINKTYPE_RAW: a record is an IP packet, version 4 or 6.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import BinaryIO

from ustack.device.base import Device, ObservingDevice

MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_RAW = 101
SNAPLEN = 262144
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")


class PcapWriter:
    """Writes packets to ``target``: a path, or a binary file that stays the caller's to close.

    ``epoch`` is the wall-clock time, in ns since 1970, at which ``now`` was 0. Of each packet ``snaplen`` bytes
    are kept. A pipe whose reader is slow is never waited for: packets that find it full are left out, and ``lost``
    counts them.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, epoch: int = 0, snaplen: int = SNAPLEN) -> None:
        self._owned = isinstance(target, (str, os.PathLike))
        # Unbuffered: a crash loses nothing, and a fork() does not write a buffer twice.
        self._file: BinaryIO = open(target, "wb", buffering=0, opener=_open) if self._owned else target  # type: ignore[arg-type, assignment]  # noqa: SIM115
        self._epoch = epoch
        self._snaplen = snaplen
        self._closed = False
        self._rest: bytes | memoryview = b""
        self.lost = 0
        try:
            self._write(_FILE_HEADER.pack(MAGIC_NANOSECONDS, 2, 4, 0, 0, snaplen, LINKTYPE_RAW))
        except BaseException:
            self.close()
            raise

    def write(self, packets: Sequence[bytes], now: int) -> None:
        """One record for each packet, all with the instant ``now``."""
        if self._rest:
            self._write(self._rest)
        if self._rest:
            self.lost += len(packets)
            return
        seconds, nanoseconds = divmod(self._epoch + now, 1_000_000_000)
        parts: list[bytes] = []
        for packet in packets:
            kept = packet[: self._snaplen]
            parts.append(_RECORD_HEADER.pack(seconds & 0xFFFFFFFF, nanoseconds, len(kept), len(packet)))
            parts.append(kept)
        if parts:
            self._write(b"".join(parts))

    def _write(self, data: bytes | memoryview) -> None:
        """As far as the file takes it; a record that is begun is finished later."""
        left = memoryview(data)
        while left:
            written: int | None = self._file.write(left)
            if written is None:  # a full pipe
                break
            left = left[written:]
        self._rest = left

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._owned:
                self._file.close()


def _open(path: str, flags: int) -> int:
    """Neither opening nor writing waits for a reader. Raises OSError, ENXIO where nobody reads a pipe yet."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)


class PcapDevice(ObservingDevice):
    """Wraps a device and writes down what it really carried: after an impairment outside, before one inside."""

    def __init__(
        self,
        inner: Device,
        target: str | os.PathLike[str] | BinaryIO,
        epoch: int = 0,
        complain: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(inner, "the capture", complain)
        self._writer = PcapWriter(target, epoch)

    @property
    def lost(self) -> int:
        """Packets that are missing because a pipe was full."""
        return self._writer.lost

    def observe(self, packets: Sequence[bytes], now: int, incoming: bool) -> None:
        self._writer.write(packets, now)

    def close(self) -> None:
        super().close()
        try:
            self._writer.close()
        except OSError as error:
            self.give_up(error)
