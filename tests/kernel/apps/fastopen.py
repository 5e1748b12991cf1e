"""Fast Open between ustack and the kernel, in both roles and both families; what each end counted is said."""

import socket
import threading
from pathlib import Path

import ustack
from ustack.settings import Settings

TCP_FASTOPEN, MSG_FASTOPEN = 23, 0x20000000
KEY = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"
NET = Path("/proc/sys/net/ipv4")
TEXT = b"x" * 700


def kernel_counts() -> dict[str, int]:
    names, values = [
        line.split()[1:] for line in Path("/proc/net/netstat").read_text().splitlines() if line.startswith("TcpExt:")
    ]
    return {name: int(value) for name, value in zip(names, values, strict=True) if "FastOpen" in name}


def answer(listener, visits: int) -> None:
    for _ in range(visits):
        connection, _ = listener.accept()
        with connection:
            taken = b""
            while len(taken) < len(TEXT):
                taken += connection.recv(10_000)
            connection.sendall(taken)
            while connection.recv(10):
                pass


def visit(maker, address) -> int:
    """One exchange; whether the SYN's text was acknowledged."""
    with maker() as client:
        client.sendto(TEXT, MSG_FASTOPEN, address)
        taken = b""
        while len(taken) < len(TEXT):
            taken += client.recv(10_000)
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
        return info[5] >> 5 & 1


(NET / "tcp_fastopen").write_text("3")
(NET / "tcp_fastopen_key").write_text(KEY)
settings = Settings(tcp_fastopen=3, tcp_fastopen_key=KEY)
with ustack.open_tun("ustack0", "198.18.0.2/24", "fd00::2/64", settings=settings) as host:
    print("ready", flush=True)
    for family, ours, kernels in (
        (socket.AF_INET, "198.18.0.2", "198.18.0.1"),
        (socket.AF_INET6, "fd00::2", "fd00::1"),
    ):
        for role in ("client", "server"):
            with host.socket(family) if role == "server" else socket.socket(family) as listener:
                address = (ours if role == "server" else kernels, 9000)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 5)
                listener.listen(5)
                thread = threading.Thread(target=answer, args=(listener, 3))
                thread.start()
                kind = host.socket if role == "client" else socket.socket
                acked = [visit(lambda kind=kind, family=family: kind(family), address) for _ in range(3)]
                thread.join()
            print(role, family.name, *acked, flush=True)
    for name in ("TCPFastOpenActive", "TCPFastOpenPassive", "TCPFastOpenCookieReqd", "TCPFastOpenActiveFail"):
        print(name, host.counters[name], kernel_counts()[name], flush=True)
