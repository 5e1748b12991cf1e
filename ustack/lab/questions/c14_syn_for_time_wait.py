"""C14: a SYN comes for a connection in TIME_WAIT."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Arrived
from ustack.wire.frame import Segment


@question(
    "C14",
    "What happens to a SYN for a connection that is in TIME_WAIT?",
    "The server closes first and is in TIME_WAIT. A second later the client connects again from the same port, since "
    "it has only one. The server closes that connection first, too, and then the network delivers a copy of the very "
    "first SYN.",
    kernel="server",
    client={"ip_local_port_range": (40000, 40000)},
    tries=("tcp_timestamps=0", "server.tcp_rfc1337=1", "delay=100ms"),
    next=("B2", "C6", "C7", "E3"),
)
def syn_for_time_wait(lab: Lab) -> None:
    listener = lab.server.listen(80)
    kept = lab.link.keep(lab.client, has="SYN")
    visit(lab, listener)
    lab.figure("state of the server", lab.server.states()[-1], "TIME_WAIT")
    old = lab.flights(lab.server, has="FIN")[-1].frame
    lab.pass_time(1)
    visit(lab, listener)
    new = lab.flights(lab.server, has="SYN ACK")[-1].frame
    assert isinstance(old, Segment)
    assert isinstance(new, Segment)
    lab.figure("SYNs of the client", len(lab.flights(lab.client, has="SYN")), 2)
    beyond = (new.seq - old.seq - 1) & 0xFFFFFFFF
    lab.figure(
        "the server's new ISN lies beyond the old numbers by", beyond, 65537, rule="Linux tw_snd_nxt + 65535 + 2"
    )
    lab.say(
        lab.flights(lab.client, has="SYN")[1:],
        "The new SYN cannot be an old one: its sequence number lies beyond all that the old connection sent, or its "
        "timestamp is newer. TIME_WAIT ends, and a new connection begins at once (RFC 6191).",
    )
    lab.say(
        lab.flights(lab.server, has="SYN ACK")[1:],
        "The server chooses an ISN that lies 65,537 beyond its own old numbers, so that what it sent in the old "
        "connection lies before the client's new window.",
    )

    lab.figure("state of the server again", lab.server.states()[-1], "TIME_WAIT")
    lab.link.replay(lab.client, kept.packets[0])
    lab.settle()
    lab.settle()
    lab.figure("SYN-ACKs for the old SYN", len(lab.flights(lab.server, has="SYN ACK")) - 2, 0)
    lab.say(
        lab.events(Arrived, lab.server, drop="TIME_WAIT"),
        "The copy of the old SYN has an old number and no newer timestamp: it opens nothing. TIME_WAIT answers it with "
        "the last ACK, once more.",
    )
    resets = lab.flights(lab.client, has="RST")
    lab.figure("RSTs of the client", len(resets), 1)
    is_killed = lab.server.states()[-1] == "LISTEN"
    lab.figure("TIME_WAIT is still there", not is_killed, bool(lab.server.settings.tcp_rfc1337))
    lab.say(
        is_killed and resets,
        "That ACK meets a client that knows no such connection and sends a RST. The RST ends TIME_WAIT before its "
        "time, unless tcp_rfc1337 is 1 (RFC 1337 calls it assassination).",
    )
    lab.say_if(
        not is_killed and resets,
        "That ACK meets a client that knows no such connection and sends a RST. With tcp_rfc1337 = 1 TIME_WAIT "
        "ignores it and lasts its time.",
    )


def visit(lab: Lab, listener: LabSocket) -> None:
    """A connection that the server closes first."""
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    served.close()
    lab.settle()
    client.close()
    lab.settle()
    lab.settle()
