"""UDP on ustack: answers what comes to port 9, turned round, until standard input ends."""

import sys
import threading
from socket import AF_INET, SOCK_DGRAM

import ustack

with ustack.open_tun("ustack0", "198.18.0.2/24", "fd00::2/64") as host:
    door = host.socket(AF_INET, SOCK_DGRAM)
    door.bind(("", 9))

    def answer() -> None:
        while True:
            data, sender = door.recvfrom(65535)
            door.sendto(data[::-1], sender)

    threading.Thread(target=answer, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
