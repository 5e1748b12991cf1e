"""A3: what names a connection."""

from __future__ import annotations

import errno
import socket

from ustack.lab import Lab, LabSocket, Side, question

SOURCE_PORT = 40000


@question(
    "A3",
    "What names a connection? How can thousands share the server's port 80?",
    "A server listens on ports 80 and 81 of TCP and has bound port 80 of UDP. The client and another host connect, all "
    "from port 40000; then the client opens thousands of connections more.",
    kernel="server",
    live={"clients": "200"},
    options={"clients": "1500"},
    tries=("clients=500", "client.ip_local_port_range=41000,41999"),
    next=("A8", "B12", "A6"),
)
def four_tuple(lab: Lab) -> None:
    other = lab.add("other", "10.0.0.3")
    lab.join(other, lab.server, "delay=10ms")
    lab.server.listen(80, backlog=4096)
    lab.server.listen(81)
    receiver = lab.server.socket(kind=socket.SOCK_DGRAM)
    receiver.bind(("", 80))

    connect_from(lab.client, SOURCE_PORT, lab.server, 80)
    connect_from(other, SOURCE_PORT, lab.server, 80)
    connect_from(lab.client, SOURCE_PORT, lab.server, 81)
    lab.settle()
    lab.say(
        lab.flights(other, has="SYN"),
        "A connection is named by both addresses and both ports, the four-tuple: two clients may have the same port, "
        "and one client may use its port once more towards another port of the server.",
    )
    with lab.error() as found:
        connect_from(lab.client, SOURCE_PORT, lab.server, 80)
    same = lab.figure("connect() with the four-tuple of a connection that lives", found[0], "EADDRNOTAVAIL")
    lab.say(
        same.holds,
        "Only all four together must not come again: connect() refuses that with EADDRNOTAVAIL, before a packet "
        "leaves.",
    )

    sender = lab.client.socket(kind=socket.SOCK_DGRAM)
    sender.bind(("", SOURCE_PORT))
    sender.sendto(b"a datagram", (lab.server.address, 80))
    datagram, _ = receiver.recvfrom(100)
    by_udp = lab.figure("what UDP's socket on port 80 reads meanwhile", datagram.decode(), "a datagram")
    lab.say(
        by_udp.holds,
        "TCP's port 80 and UDP's port 80 have nothing to do with each other: IP's header says which of the two gets "
        "the packet, and each has a table of its own.",
    )
    lab.say(
        len(lab.show_listing(lab.server)) > 1,
        "At the server every connection keeps the port of its listener: neither the handshake nor accept() takes "
        "another.",
    )
    thousands(lab)


def thousands(lab: Lab) -> None:
    """As many connections more as the client has ports for."""
    low, high = lab.client.settings.ip_local_port_range
    wanted = int(lab.option("clients"))
    failed = False
    with lab.unseen("the client opens {count} connections more to port 80", count=wanted):
        for _ in range(wanted):
            try:
                lab.client.start_connecting(lab.server, 80)
            except OSError as error:
                failed = error.errno == errno.EADDRNOTAVAIL
                break
        lab.pass_time(1)
    rows = [line.split() for line in lab.server.listing() if line.startswith("ESTAB")]
    ends = {(local, remote) for _, _, _, local, remote, *_ in rows if local.endswith(":80")}
    possible = min(wanted, high - low + 1 - (low <= SOURCE_PORT <= high))
    many = lab.figure("four-tuples with port 80 of the server", len(ends), 2 + possible)
    lab.figure("ports of the server that they take", len({local for local, _ in ends}), 1)
    lab.say(
        many,
        "So {count} connections take one port of the server. What runs out is the client's ports, {low} to {high}, and "
        "only towards this address and port.",
        count=len(ends),
        low=low,
        high=high,
    )
    lab.say_if(failed, "Here they did run out: connect() said EADDRNOTAVAIL.")


def connect_from(client: Side, port: int, server: Side, to: int) -> LabSocket:
    """A connection from a port that others of this host may have bound, too."""
    made = client.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("", port))
    made.connect((server.address, to))
    return made
