"""C6: what TIME_WAIT is for: an old segment meets the next connection, with TIME_WAIT and without."""

from __future__ import annotations

from ustack.lab import Flight, Lab, LabSocket, question

OLD, KEPT_AT, NEW = 40_000, 32_000, 7_000
"""Bytes each way in the first connection, where in the client's the kept segment lies, bytes of the next connection."""


@question(
    "C6",
    "What is TIME_WAIT for?",
    "A client that has only one port connects, 40,000 bytes go each way, the client closes, and wants to connect again "
    "at once. The network has kept a copy of one of its segments and delivers it into the next connection. Then the "
    "same with TIME_WAIT switched off. No timestamps.",
    link="delay=1ms",
    client={"ip_local_port_range": (40000, 40000), "tcp_timestamps": 0},
    server={"tcp_timestamps": 0},
    options={"pause": "0.1"},
    tries=("pause=0.5", "tcp_timestamps=1", "client.tcp_timewait_length=5"),
    next=("C5", "C7", "C14", "E1"),
)
def what_time_wait_is_for(lab: Lab) -> None:
    listener = lab.server.listen(80)
    length = lab.client.settings.tcp_timewait_length
    copy = first_connection(lab, listener)
    with lab.error() as found:
        lab.client.connect(lab.server, 80)
    lab.figure("connect() in TIME_WAIT", found[0], "EADDRNOTAVAIL")
    lab.say(
        "TIME_WAIT" in lab.client.states(),
        "The client has closed first: its side of the four-tuple is in TIME_WAIT, and the only port that it has cannot "
        "be used for the same server.",
    )
    lab.pass_time(length)
    wrong, copy_flight = next_connection(lab, listener, copy)
    lab.figure("wrong bytes in the next stream, with TIME_WAIT", wrong, 0)
    lab.say(
        copy_flight,
        "After {length} s (2 MSL) the segment should have died in the network. Even if it has not, the clock of the "
        "ISN has gone on by 250,000 a second: the old number lies far before the window and is refused.",
        length=length,
    )

    lab.pass_time(length)
    lab.client.sysctl(tcp_timewait_length=0)
    copy = first_connection(lab, listener)
    wrong, copy_flight = next_connection(lab, listener, copy)
    lab.figure("wrong bytes in the next stream, without", wrong, 0 if copy_flight.drop else 1460)
    lab.say_if(
        wrong > 0 and copy_flight,
        "Without TIME_WAIT (tcp_timewait_length = 0; Linux has no such setting, its 60 s are fixed) the same port "
        "connects at once. The old segment has the right four-tuple and a number inside the window: the server keeps "
        "it, and without timestamps no rule can tell that it is not of this connection.",
    )
    lab.say_if(
        wrong > 0 and lab.flights(lab.client, text=True)[-1:],
        "The client's own bytes at that place come later and count as a duplicate: the program reads {wrong:,} bytes "
        "that nobody sent in this connection, and the checksum of each segment is right.",
        wrong=wrong,
    )
    lab.say_if(
        copy_flight.drop == "PAWS" and copy_flight,
        "With timestamps PAWS refuses the old segment even without TIME_WAIT: its timestamp is older than the last "
        "one.",
    )
    lab.say_if(
        copy_flight.drop not in ("", "PAWS") and copy_flight,
        "This time the clock of the ISN was fast enough: the old number lies before the window even without TIME_WAIT. "
        "That is luck, which a faster sender does not have.",
    )


def first_connection(lab: Lab, listener: LabSocket) -> bytes:
    """40,000 bytes, and the client closes first. Returns the segment of which the network has kept a copy."""
    began = lab.now
    with lab.unseen("the client connects, {count:,} bytes go each way, the client closes first", count=OLD):
        client = lab.client.connect(lab.server, 80)
        served, _ = listener.accept()
        kept = lab.link.keep(lab.client, text=True, nth=KEPT_AT // 1460)
        greet(lab, served, client)
        client.sendall(b"o" * OLD)
        client.close()
        lab.settle()
        assert len(served.read_all()) == OLD
        served.close()
        lab.settle()
        lab.pass_time(float(lab.option("pause")) - (lab.now - began))
    return kept.packets[0]


def greet(lab: Lab, served: LabSocket, client: LabSocket) -> None:
    """The server's bytes. Without them the old segment's ACK would betray it (RFC 5961 section 5)."""
    served.sendall(bytes(OLD))
    lab.settle()
    lab.settle()
    assert len(client.read_all()) == OLD


def next_connection(lab: Lab, listener: LabSocket, copy: bytes) -> tuple[int, Flight]:
    """The copy arrives, then the client sends 7,000 bytes. Returns how many of them the program reads wrong."""
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    with lab.unseen("the server sends {count:,} bytes", count=OLD):
        greet(lab, served, client)
    lab.link.replay(lab.client, copy)
    lab.settle()
    client.sendall(b"n" * NEW)
    lab.settle()
    wrong = NEW - served.read_all().count(b"n")
    client.close()
    lab.settle()
    served.close()
    lab.settle()
    return wrong, lab.flights(lab.client, late=True)[-1]
