"""Half close on ustack. ``last``: reads to the end, then answers. ``first``: ends its own side, then reads on."""

import socket
import sys

import ustack

with ustack.open_tun("ustack0", "198.18.0.2/24") as host, host.create_server(("", 9000)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    with connection:
        if sys.argv[1] == "first":
            connection.sendall(b"all that I have\n")
            connection.shutdown(socket.SHUT_WR)
        taken = b""
        while piece := connection.recv(65536):
            taken += piece
        if sys.argv[1] == "last":
            connection.sendall(b"you sent %d bytes\n" % len(taken))
    print(f"read {len(taken)}", flush=True)
