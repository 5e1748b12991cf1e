"""A TUN interface of Linux: the kernel hands over IP packets, and takes them.

With ``IFF_VNET_HDR`` each frame has a virtio header in front: the kernel then leaves checksums
undone and packets of up to 64 KiB whole, in both directions (TSO and its opposite). One C call moves a batch.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from typing import Any

import pytun

from ustack import native
from ustack.device.base import RECEIVE_BATCH, Device
from ustack.device.link import change_link
from ustack.errors import UstackError
from ustack.wire.frame import Frame, RawTransmit, Transmit

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 0x01, 0x02, 0x04, 0x08
OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN

VNET_LENGTH = 10
"""struct virtio_net_hdr, linux/virtio_net.h."""

IFNAMSIZ = 16
_FRAME_MAX = 65535 + VNET_LENGTH


class TunError(UstackError):
    """A TUN interface cannot be opened; the text says why and what to do."""


def _explained(error: OSError, name: str) -> TunError:
    code = error.errno or errno.EINVAL
    shown = name or "a TUN interface"
    if code in {errno.EPERM, errno.EACCES}:
        text = (
            f"no permission to open {shown}: run as root or with CAP_NET_ADMIN, or let root make it for you "
            f"(ip tuntap add {name or 'NAME'} mode tun user $USER)"
        )
    elif code == errno.EBUSY:
        text = f"{shown} is in use by another program: end that, choose another name, or open it with multi_queue"
    elif code in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        text = "there is no /dev/net/tun: load the module (modprobe tun), or give the container --device /dev/net/tun"
    elif code == errno.EINVAL:
        text = f"{shown} exists and is no TUN interface, or it was made with another multi_queue: choose another name"
    else:
        text = f"cannot open {shown}: {os.strerror(code)}"
    return TunError(code, text)


class TunDevice(Device):
    """A queue of the TUN interface ``name`` (empty, or with %d: the kernel finds one), made when there is none.

    ``mtu`` 0 leaves the MTU as it is. ``multi_queue``: further devices may open the same name, each a queue of its own.
    ``queue_length``: packets that the kernel keeps for us, 0 for its default of 500. ``offload`` False for whole wire
    packets only. Raises TunError.
    """

    def __init__(
        self, name: str = "", *, mtu: int = 0, multi_queue: bool = False, queue_length: int = 0, offload: bool = True
    ) -> None:
        super().__init__()
        if len(name) >= IFNAMSIZ:
            raise TunError(errno.EINVAL, f"{name!r} is too long for an interface: at most {IFNAMSIZ - 1} letters")
        flags = pytun.IFF_TUN | pytun.IFF_NO_PI | (pytun.IFF_MULTI_QUEUE if multi_queue else 0)
        self._tun: Any  # pytun ships no types
        self._tun = None
        self._has_vnet = False
        try:
            self._open(name, flags, offload)
            self.name = str(self._tun.name)
            if mtu or queue_length:
                change_link(self.name, mtu=mtu, queue_length=queue_length)
            self.mtu = self._tun.mtu
        except OSError as error:
            self.close()
            raise _explained(error, name) from error

    def _open(self, name: str, flags: int, offload: bool) -> None:
        if offload:
            with contextlib.suppress(OSError):  # a kernel or sandbox without it: plain packets then
                self._tun = pytun.TunTapDevice(name, flags | pytun.IFF_VNET_HDR)
        if self._tun is None:
            self._tun = pytun.TunTapDevice(name, flags)
        elif not self._use_vnet():
            self._tun.close()
            self._tun = pytun.TunTapDevice(name, flags)
        self._fd: int = self._tun.fileno()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)

    def _use_vnet(self) -> bool:
        try:
            fcntl.ioctl(self._tun.fileno(), TUNSETVNETHDRSZ, struct.pack("=i", VNET_LENGTH))
            fcntl.ioctl(self._tun.fileno(), TUNSETOFFLOAD, OFFLOADS)
        except OSError:
            return False
        self._has_vnet = True
        return True

    @property
    def has_offload(self) -> bool:
        """Whether super-frames and unfinished checksums cross."""
        return self._has_vnet

    def fileno(self) -> int:
        return self._fd

    def packetwise(self) -> None:
        if self._has_vnet:
            fcntl.ioctl(self._fd, TUNSETOFFLOAD, 0)

    def end_batch(self) -> None:
        self._receiver.end_batch()

    def wait(self, fds: Sequence[int], timeout_ns: int) -> int:
        return self._receiver.wait(fds, timeout_ns, self._has_vnet)

    def receive(self, now: int) -> list[Frame]:
        return self._receiver.receive(self._fd, self._has_vnet)

    def send(self, transmits: Sequence[Transmit | RawTransmit], now: int) -> int:
        try:
            return native.send(self._fd, self._has_vnet, transmits)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(transmits)  # the interface is down: what is sent is lost, as on any wire

    def read_packets(self, now: int) -> list[bytes]:
        """After ``packetwise()``. A frame that waited since before it and is no wire packet is lost."""
        packets: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while len(packets) < RECEIVE_BATCH:
                frame = os.read(self._fd, _FRAME_MAX)
                if not self._has_vnet:
                    packets.append(frame)
                elif not frame[0] & 1 and not frame[1]:  # VIRTIO_NET_HDR_F_NEEDS_CSUM, gso_type
                    packets.append(frame[VNET_LENGTH:])
        return packets

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        return self.send([RawTransmit(packet) for packet in packets], now)

    def close(self) -> None:
        tun, self._tun = self._tun, None
        if tun is not None:
            tun.close()

    def forked(self) -> None:
        self.close()
