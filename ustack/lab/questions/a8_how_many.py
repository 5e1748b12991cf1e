"""A8: how many connections can a server hold?"""

from __future__ import annotations

import errno
import gc
import os
import sys
from types import FunctionType, ModuleType

from ustack.lab import Lab, LabSocket, Side, question

UNREAD = 1000
"""Bytes that each client sends, and that nobody reads."""
SMALLEST_RING = 4096


@question(
    "A8",
    "How many connections can a server hold: 65,535, one for each port?",
    "Three hosts have 100 ephemeral ports each. Each connects to port 80 of the server until connect() fails. Then "
    "each connection brings 1,000 bytes, which nobody reads.",
    client={"ip_local_port_range": (40000, 40099)},
    options={"hosts": "3"},
    tries=("hosts=6", "client.ip_local_port_range=40000,40019", "server.tcp_mem=20,30,40"),
    next=("A3", "B12", "B7"),
)
def how_many(lab: Lab) -> None:
    low, high = lab.client.settings.ip_local_port_range
    hosts = [lab.client]
    for number in range(2, int(lab.option("hosts")) + 1):
        hosts.append(lab.add(f"client {number}", f"10.0.0.{number + 1}", ip_local_port_range=(low, high)))
        lab.join(hosts[-1], lab.server, "delay=10ms")
    lab.server.listen(80, backlog=4096)
    descriptors = len(os.listdir("/proc/self/fd"))
    clients = [lab.client.connect(lab.server, 80)]
    lab.settle()
    with lab.unseen("{count} hosts connect to port 80 until each has no port left", count=len(hosts)):
        errors = [connect_until_it_fails(host, lab.server, clients) for host in hosts]
        lab.settle()
    connections = list(lab.server.host.stack.tcp.connections.values())
    ports = high - low + 1
    all_of = lab.figure("connections that the server holds on its port 80", len(connections), len(hosts) * ports)
    lab.say(
        all_of.holds and all(error == "EADDRNOTAVAIL" for error in errors),
        "No: connect() failed at each host when its {ports} ports were in use, and yet the server took {count} "
        "connections on one port. Ports limit one client towards one server; a server does not run out of them.",
        ports=ports,
        count=len(connections),
    )
    taken = len(os.listdir("/proc/self/fd")) - descriptors
    of_process = lab.figure("descriptors of this process that ustack's connections take", taken, 0)
    lab.say(
        of_process.holds,
        "A process has a limit of descriptors (ulimit -n), and the kernel's sockets take one each: accept() then fails "
        "with EMFILE. Ustack's take none, until somebody asks for fileno().",
    )

    memory = lab.server.host.stack.host.memory
    lab.figure("bytes of buffers while nothing was sent", memory.used(), 0)
    tcp = lab.server.host.stack.tcp
    shared = [tcp, tcp.host, *tcp.listeners[80], *connections]
    first, last = (size_of(one, shared) for one in (connections[0], connections[-1]))
    each = lab.figure("bytes of memory for the last connection, as for the first", last, first, within=first * 0.02)
    lab.say(
        each,
        "What remains is memory: an idle connection is its control block, {size} bytes of Python objects here, and no "
        "buffer. So 1 GiB holds {count} of them.",
        size=first,
        count=(1 << 30) // first,
    )

    with lab.unseen("each connection brings 1,000 bytes, and nobody reads them"):
        for one in clients:
            one.sendall(bytes(UNREAD))
        lab.settle()
    most = lab.server.settings.tcp_mem[2] * 4096
    wanted = len(connections) * max(SMALLEST_RING, 1 << (UNREAD - 1).bit_length())
    held = lab.figure("bytes of buffers with 1,000 bytes unread in each", memory.used(), min(wanted, most))
    lab.say(
        held,
        "Text that nobody has read takes a buffer, a page at least: {size} bytes for all. tcp_mem bounds their sum, "
        "{most} bytes here; beyond it what arrives is dropped.",
        size=memory.used(),
        most=most,
    )


def connect_until_it_fails(host: Side, server: Side, made: list[LabSocket]) -> str:
    """Adds to ``made``; the name of the error that ended it."""
    while True:
        try:
            made.append(host.start_connecting(server, 80))
        except OSError as error:
            return errno.errorcode[error.errno or 0]


def size_of(root: object, shared: list[object]) -> int:
    """Bytes of an object and of all that only it refers to; ``shared`` is the other objects' as well."""
    seen = {id(one) for one in shared if one is not root}
    total, found = 0, [root]
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        found.extend(gc.get_referents(one))
    return total
