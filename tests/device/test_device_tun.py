"""TUN interfaces in a namespace of their own: the kernel is the other side."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator

import pytest

from ustack import native
from ustack.device.link import add_route, configure, kernel_side
from ustack.device.namespace import Namespace
from ustack.device.tun import TunDevice
from ustack.wire import ipv4, udp
from ustack.wire.address import format_address, parse_address
from ustack.wire.frame import Datagram, Frame, RawTransmit, Segment

pytestmark = pytest.mark.tun
PATIENCE = 10 * 1_000_000_000
OURS = parse_address("198.18.0.2")
THEIRS = parse_address("198.18.0.1")


@pytest.fixture
def namespace() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Namespace():
        yield


def interfaces(*texts: str) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    return [ipaddress.ip_interface(text) for text in texts]


def arrived(device: TunDevice) -> list[Frame]:
    assert native.wait((device.fileno(),), PATIENCE) == 1
    return device.receive(0)


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.usefixtures("namespace")
def test_datagrams_cross_both_ways(offload: bool) -> None:
    device = TunDevice("us0", mtu=1400, queue_length=1000, offload=offload)
    assert (device.name, device.mtu, device.has_offload) == ("us0", 1400, offload)
    assert [str(side) for side in configure("us0", interfaces("198.18.0.2/24"))] == ["198.18.0.1/24"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        kernel.settimeout(10)
        kernel.sendto(b"to the stack", ("198.18.0.2", 5000))
        (frame,) = arrived(device)
        assert isinstance(frame, Datagram)
        assert (frame.payload, format_address(frame.source)) == (b"to the stack", "198.18.0.1")
        answer = udp.build(OURS, THEIRS, 5000, frame.source_port, b"to the kernel")
        assert device.send([RawTransmit(ipv4.build(OURS, THEIRS, 17, answer))], 0) == 1
        assert kernel.recvfrom(100) == (b"to the kernel", ("198.18.0.2", 5000))
    device.close()
    device.close()


@pytest.mark.usefixtures("namespace")
def test_a_fresh_interface_is_silent_and_ipv6_is_usable_at_once() -> None:
    device = TunDevice("us0")
    configure("us0", interfaces("fd00::1/64"))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as kernel:
        kernel.sendto(b"x", ("fd00::1", 9))
        frames = arrived(device)
    assert [type(frame) for frame in frames] == [Datagram]
    device.close()


@pytest.mark.usefixtures("namespace")
def test_packetwise_the_kernel_cuts_and_sums() -> None:
    device = TunDevice("us0")
    configure("us0", interfaces("198.18.0.2/24"))
    device.packetwise()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        kernel.sendto(b"y" * 1000, ("198.18.0.2", 9))
        assert native.wait((device.fileno(),), PATIENCE)
        (packet,) = device.read_packets(0)
        (frame,) = native.Receiver().receive_packets([packet])
        assert isinstance(frame, Datagram)
        kernel.settimeout(10)
        reply = udp.build(OURS, THEIRS, 9, frame.source_port, b"z")
        assert device.write_packets([ipv4.build(OURS, THEIRS, 17, reply)], 0) == 1
        assert kernel.recv(10) == b"z"
    assert device.read_packets(0) == []
    device.close()


@pytest.mark.usefixtures("namespace")
def test_two_queues_of_one_interface() -> None:
    devices = [TunDevice("us0", multi_queue=True) for _ in range(2)]
    configure("us0", interfaces("198.18.0.2/24"))
    with socket.socket() as kernel:
        kernel.setblocking(False)
        kernel.connect_ex(("198.18.0.2", 80))
        ready = native.wait([device.fileno() for device in devices], PATIENCE)
        frames = devices[ready.bit_length() - 1].receive(0)
        assert isinstance(frames[0], Segment)
    for device in devices:
        device.close()


@pytest.mark.usefixtures("namespace")
def test_what_goes_wrong_is_said_in_one_sentence() -> None:
    device = TunDevice("us0")
    with pytest.raises(OSError, match="us0 is in use by another program") as caught:
        TunDevice("us0")
    assert type(caught.value) is OSError
    assert caught.value.errno == errno.EBUSY
    with pytest.raises(OSError, match="lo exists and is no TUN interface"):
        TunDevice("lo")
    device.close()
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="no permission to open us1: run as root"):
            TunDevice("us1")
    finally:
        os.seteuid(0)
    assert os.listdir("/sys/class/net") is not None


def test_without_the_driver_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> object:
        raise OSError(errno.ENOENT, "No such file")

    monkeypatch.setattr("pytun.TunTapDevice", refuse)
    with pytest.raises(FileNotFoundError, match="modprobe tun"):
        TunDevice()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a-very-long-interface-name", "too long for the name of an interface: at most 15 bytes"),
        ("tün-tün-tün-tün", "too long"),
        ("a/b", "no '/', ':', '%' or space may be in it"),
        ("a b", "no '/'"),
        ("a:b", "no '/'"),
        ("tun%s", "no '/'"),
        ("tun%d%d", "no '/'"),
        ("a\0b", "no '/'"),
        ("..", "cannot be the name"),
        ("10.0.0.2/24", "is an address: the name of the interface comes first"),
        ("fd00::2", "is an address"),
    ],
)
def test_what_cannot_be_a_name(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TunDevice(name)


@pytest.mark.parametrize("mtu", [-1, 1, 67, 65536, 1 << 40])
def test_what_cannot_be_an_mtu(mtu: int) -> None:
    with pytest.raises(ValueError, match=f"an MTU of {mtu} is not possible: it is between 68 and 65535 bytes"):
        TunDevice("us0", mtu=mtu)


@pytest.mark.usefixtures("namespace")
def test_the_least_and_the_largest_mtu() -> None:
    for mtu in (68, 65535):
        device = TunDevice("us0", mtu=mtu)
        assert device.mtu == mtu
        device.close()


@pytest.mark.usefixtures("namespace")
def test_an_interface_that_is_down_loses_what_is_sent() -> None:
    device = TunDevice("us0")
    packet = ipv4.build(OURS, THEIRS, 17, udp.build(OURS, THEIRS, 1, 2, b"x"))
    assert device.send([RawTransmit(packet)] * 3, 0) == 3
    device.close()


@pytest.mark.usefixtures("namespace")
def test_routes_are_made_and_may_be_there_already() -> None:
    device = TunDevice("us0")
    configure("us0", interfaces("198.18.0.2/24", "10.9.9.9/32"))
    for _ in range(2):
        add_route("us0", ipaddress.ip_network("10.8.0.0/16"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        for target in ("10.8.1.1", "10.9.9.9"):
            kernel.sendto(b"x", (target, 9))
            (frame,) = arrived(device)
            assert format_address(frame.destination) == target
    with pytest.raises(OSError, match="no interface with this name"):
        add_route("us9", ipaddress.ip_network("10.8.0.0/16"))
    device.close()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("198.18.0.2/24", "198.18.0.1/24"),
        ("198.18.0.1/24", "198.18.0.2/24"),
        ("198.18.0.2/24 198.18.0.1/24", "198.18.0.3/24"),
        ("10.0.0.0/31", "10.0.0.1/31"),
        ("10.0.0.1/31", "10.0.0.0/31"),
        ("10.0.0.1/32", ""),
        ("fd00::2/64", "fd00::1/64"),
        ("fd00::1/64 10.0.0.2/8", "fd00::2/64 10.0.0.1/8"),
        ("fd00::/127", "fd00::1/127"),
    ],
)
def test_the_kernel_takes_the_first_host_that_is_not_ours(ours: str, theirs: str) -> None:
    assert [str(side) for side in kernel_side(interfaces(*ours.split()))] == theirs.split()
