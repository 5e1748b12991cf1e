"""``ustack.open_tun``: one call, and the kernel and the host talk."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

import ustack
from tests.socket.socket_live import Worker
from ustack.device.namespace import Namespace

PAYLOAD = bytes(range(256)) * 4096


@pytest.fixture
def host() -> Iterator[ustack.Host]:
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        pytest.skip("needs root and /dev/net/tun")
    with Namespace(), ustack.open_tun("", "10.0.0.2/24", "fd00::2/64") as opened:
        yield opened


def read_all(found: socket.socket) -> bytes:
    data = bytearray()
    while piece := found.recv(1 << 16):
        data += piece
    return bytes(data)


@pytest.mark.tun
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "fd00::2")])
def test_the_kernel_connects_to_the_host(host: ustack.Host, family: int, address: str) -> None:
    with host.create_server((address, 8080), family=family) as server, socket.socket(family) as client:
        client.connect((address, 8080))
        found, _ = server.accept()
        with found:
            writer = Worker(found.sendall, PAYLOAD)
            sender = Worker(client.sendall, PAYLOAD)
            assert client.recv(len(PAYLOAD), socket.MSG_WAITALL) == PAYLOAD
            sender_reader = Worker(found.recv, len(PAYLOAD), socket.MSG_WAITALL)
            assert sender_reader.finish() == PAYLOAD
            writer.finish()
            sender.finish()
            client.shutdown(socket.SHUT_WR)
            assert found.recv(1) == b""


@pytest.mark.tun
def test_the_host_connects_to_the_kernel(host: ustack.Host) -> None:
    with socket.create_server(("10.0.0.1", 0)) as server:
        with host.create_connection(server.getsockname()) as client:
            found, peer = server.accept()
            with found:
                assert peer == client.getsockname()
                client.sendall(PAYLOAD[:1000])
                client.shutdown(socket.SHUT_WR)
                assert read_all(found) == PAYLOAD[:1000]
        where = server.getsockname()
    with pytest.raises(ConnectionRefusedError):
        host.create_connection(where)


@pytest.mark.tun
def test_names(host: ustack.Host) -> None:
    assert host.device_name
    assert host.device_name in repr(host)
    with host.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, host.device_name.encode())
        with pytest.raises(OSError, match="No such device"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"other0")


@pytest.mark.tun
def test_what_open_tun_says_when_it_cannot(host: ustack.Host) -> None:
    for arguments, mtu, reason in (
        (("10.0.0.2/24",), 0, "'10.0.0.2/24' is an address: the name of the interface comes first"),
        (("tun7", "10.0.0.999/24"), 0, "does not appear to be an IPv4 or IPv6"),
        (("tun7", "198.18.0.2/24", "fd07::2/64"), 1279, "an MTU of 1279 is too small for IPv6, which needs 1280"),
        (("tun7", "198.18.0.2/24"), 67, "an MTU of 67 is not possible"),
    ):
        with pytest.raises(ValueError, match=reason):
            ustack.open_tun(*arguments, mtu=mtu)
    with pytest.raises(OSError, match=f"{host.device_name} is in use by another program"):
        ustack.open_tun(host.device_name, "198.18.0.2/24")
    with ustack.open_tun("tun7", "198.18.0.2/24", mtu=576) as small:
        assert small.stack.mtu == 576
