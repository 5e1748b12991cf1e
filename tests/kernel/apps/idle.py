"""A stack that listens on 80 and 443 and does nothing else; it ends with its standard input."""

import sys
from socket import AF_INET6

import ustack

with ustack.open_tun("ustack0", "198.18.0.2/24", "fd00::2/64") as host:
    servers = [host.create_server(("::", port), family=AF_INET6, dualstack_ipv6=True) for port in (80, 443)]
    print("ready", flush=True)
    sys.stdin.read()
