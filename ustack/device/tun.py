"""A TUN interface of Linux: the kernel hands over IP packets, and takes them.

With ``IFF_VNET_HDR`` each frame has a virtio header in front: the kernel then leaves checksums
undone and packets of up to 64 KiB whole, in both directions (TSO and its opposite). One C call moves a batch.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import struct
from collections.abc import Sequence
from typing import Any

import pytun

from ustack import native
from ustack.device.base import RECEIVE_BATCH, Device
from ustack.device.link import change_link
from ustack.wire.frame import Frame, RawTransmit, Transmit

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 0x01, 0x02, 0x04, 0x08
OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN

VNET_LENGTH = 10
"""struct virtio_net_hdr, linux/virtio_net.h."""

IFNAMSIZ = 16
MIN_MTU, MAX_MTU = 68, 65535
_FRAME_MAX = 65535 + VNET_LENGTH


def check_name(name: str) -> None:
    """Raises ValueError, with the reason, for what cannot be the name of an interface (Linux's dev_valid_name)."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an interface is a str, not {type(name).__name__}")
    if _is_address(name):
        raise ValueError(f"{name!r} is an address: the name of the interface comes first, as in 'tun0', {name!r}")
    bare = name.replace("%d", "", 1)
    if len(name.encode()) >= IFNAMSIZ:
        raise ValueError(f"{name!r} is too long for the name of an interface: at most {IFNAMSIZ - 1} bytes")
    if "/" in name or ":" in name or "%" in bare or "\0" in name or any(letter.isspace() for letter in name):
        raise ValueError(f"{name!r} cannot be the name of an interface: no '/', ':', '%' or space may be in it")
    if name in {".", ".."}:
        raise ValueError(f"{name!r} cannot be the name of an interface")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def check_mtu(mtu: int) -> None:
    """Raises ValueError for what no TUN interface can have (linux/if_ether.h: ETH_MIN_MTU; 16 bits of IP's length)."""
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise ValueError(f"an MTU of {mtu} is not possible: it is between {MIN_MTU} and {MAX_MTU} bytes")


def _explained(error: OSError, name: str) -> OSError:
    """The same error with a sentence: why the interface cannot be opened, and what to do."""
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
    return OSError(code, text)


def _explained_change(error: OSError, name: str, mtu: int) -> OSError:
    """The same error with a sentence: the interface is open, but it cannot be set up."""
    code = error.errno or errno.EINVAL
    wanted = f"an MTU of {mtu}" if mtu else "its queue length"
    if code in {errno.EPERM, errno.EACCES}:
        return OSError(code, f"no permission to give {name} {wanted}: run as root or with CAP_NET_ADMIN")
    return OSError(code, f"cannot give {name} {wanted}: {os.strerror(code)}")


class TunDevice(Device):
    """A queue of the TUN interface ``name`` (empty, or with %d: the kernel finds one), made when there is none.

    ``mtu`` 0 leaves the MTU as it is. ``multi_queue``: further devices may open the same name, each a queue of its own.
    ``queue_length``: packets that the kernel keeps for us, 0 for its default of 500. ``offload`` False for whole wire
    packets only. Raises ValueError for a name or an MTU that cannot be, OSError with a sentence about what is wrong.
    """

    def __init__(
        self, name: str = "", *, mtu: int = 0, multi_queue: bool = False, queue_length: int = 0, offload: bool = True
    ) -> None:
        super().__init__()
        check_name(name)
        if mtu:
            check_mtu(mtu)
        flags = pytun.IFF_TUN | pytun.IFF_NO_PI | (pytun.IFF_MULTI_QUEUE if multi_queue else 0)
        self._tun: Any  # pytun ships no types
        self._tun = None
        self._has_vnet = False
        try:
            self._open(name, flags, offload)
            self.name = str(self._tun.name)
        except OSError as error:
            self.close()
            raise _explained(error, name) from error
        try:
            if mtu or queue_length:
                change_link(self.name, mtu=mtu, queue_length=queue_length)
            self.mtu = self._tun.mtu
        except OSError as error:
            self.close()
            raise _explained_change(error, self.name, mtu) from error

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
