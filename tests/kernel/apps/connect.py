"""Connects from ustack to an address and port and says how that went."""

import errno
import sys
import time

import ustack

with ustack.open_tun("ustack0", "198.18.0.2/24", "fd00::2/64") as host:
    print("ready", flush=True)
    begun = time.monotonic()
    try:
        host.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    except OSError as error:
        print(type(error).__name__, errno.errorcode[error.errno])
    else:
        print("connected")
    print("at once" if time.monotonic() - begun < 1 else "late", flush=True)
