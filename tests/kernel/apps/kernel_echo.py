"""On the kernel's side: sends SIZE bytes to the echo server and reads them at the same time; both hashes are told."""

import hashlib
import os
import socket
import sys
import threading

address, size = sys.argv[1], int(sys.argv[2])
PIECE = 1 << 18

sent, read = hashlib.sha256(), hashlib.sha256()
with socket.create_connection((address, 7), 60) as connection:

    def write() -> None:
        left = size
        while left:
            piece = os.urandom(min(PIECE, left))
            sent.update(piece)
            connection.sendall(piece)
            left -= len(piece)
        connection.shutdown(socket.SHUT_WR)

    writer = threading.Thread(target=write)
    writer.start()
    while piece := connection.recv(PIECE):
        read.update(piece)
    writer.join()
print("equal" if sent.digest() == read.digest() else "different")
