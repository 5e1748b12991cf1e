"""On the kernel's side: one datagram to a closed port, one of each size to port 9; says what came of it."""

import socket
import sys

address = sys.argv[1]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as door:
    door.settimeout(10)
    door.connect((address, 12345))
    door.send(b"anybody?")
    try:
        door.recv(100)
    except ConnectionRefusedError:
        print("refused")
for size in map(int, sys.argv[2:]):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(10)
        door.connect((address, 9))
        data = bytes(range(256)) * (size // 256 + 1)
        door.send(data[:size])
        print(size, "right" if door.recv(65535) == data[:size][::-1] else "wrong")
