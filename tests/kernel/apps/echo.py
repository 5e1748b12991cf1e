"""An echo server on ustack, port 7: it reads and writes at the same time, and half-closes when the client does."""

import threading
from socket import AF_INET6

import ustack

PIECE = 1 << 18


def echo(connection) -> None:
    buffer = memoryview(bytearray(PIECE))
    with connection:
        while count := connection.recv_into(buffer):
            connection.sendall(buffer[:count])


with (
    ustack.open_tun("ustack0", "198.18.0.2/24", "fd00::2/64") as host,
    host.create_server(("::", 7), family=AF_INET6, dualstack_ipv6=True) as server,
):
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()
