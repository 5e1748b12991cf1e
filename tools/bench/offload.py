"""`python -m tools.bench.offload DEVICE`: every offload off, over the ethtool ioctl (no ethtool program needed)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
"""linux/sockios.h"""

OFF = {
    "rx checksum": (0x14, 0x15),
    "tx checksum": (0x16, 0x17),
    "scatter-gather": (0x18, 0x19),
    "tso": (0x1E, 0x1F),
    "gso": (0x23, 0x24),
    "gro": (0x2B, 0x2C),
}
"""linux/ethtool.h: ETHTOOL_G..., ETHTOOL_S... of each, in the order in which they can be switched off."""


def _ask(control: socket.socket, device: str, command: int, data: int) -> int:
    value = array.array("I", [command, data])
    request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
    fcntl.ioctl(control.fileno(), SIOCETHTOOL, request)
    return value[1]


def switch_off(device: str) -> list[str]:
    """Switches all of them off; returns the names of those that stay on. Raises OSError for an unknown device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for read, write in reversed(OFF.values()):
            try:
                _ask(control, device, write, 0)
            except OSError:
                if _ask(control, device, read, 0):
                    raise
        return [name for name, (read, _) in OFF.items() if _ask(control, device, read, 0)]


if __name__ == "__main__":
    left = switch_off(sys.argv[1])
    if left:
        sys.exit(f"{sys.argv[1]}: still on: {', '.join(left)}")
