"""B13: why the handshake has three steps: a server that is content with two, and is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ustack.lab import Lab, LabPlace, LabSocket, Side, question
from ustack.trace import Arrived, Moved
from ustack.wire import ipv4
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import ACK, SYN, TcpHeader, build_segment


class TwoWayPlace(LabPlace):
    """Deliberately wrong: a SYN is a connection at once. As soon as the SYN-ACK has left, this host makes the third ACK
    up, and its TCP believes that the client has sent it."""

    def receive(self, packets: Sequence[bytes]) -> None:
        super().receive(packets)
        for packet in packets:
            syn = parse_packet(packet)
            if isinstance(syn, Segment) and syn.flags & (SYN | ACK) == SYN:
                listener = self.stack.tcp.listener_of(syn.key)
                if listener is not None and syn.key in listener.requests:
                    super().receive([third_ack(syn, listener.requests[syn.key].iss)])


def third_ack(syn: Segment, iss: int) -> bytes:
    """The packet that the client would have to send."""
    header = TcpHeader(syn.source_port, syn.destination_port, syn.seq + 1, (iss + 1) & 0xFFFFFFFF, ACK, 65535)
    ends = syn.source, syn.destination
    return ipv4.build(*ends, 6, build_segment(*ends, header, b"", b""))


@question(
    "B13",
    "Why three steps? Would two do, or are four better?",
    "A client visits a server and goes. Two minutes later the network delivers a copy of its SYN: nobody wants a "
    "connection any more, and the RST that says so is lost. The same with a deliberately wrong server, for which the "
    "handshake is over after two steps.",
    options={"lose": "yes"},
    tries=("lose=no", "server.tcp_synack_retries=1"),
    next=("B1", "B2", "B5", "B11"),
)
def two_or_four_steps(lab: Lab) -> None:
    wrong = lab.add("two-way", "10.0.0.3", place=TwoWayPlace)
    link = lab.join(lab.client, wrong, "delay=10ms")
    right_listener, wrong_listener = lab.server.listen(80), wrong.listen(80)
    kept, wrong_kept = lab.link.keep(lab.client, has="SYN"), link.keep(lab.client, has="SYN")
    with lab.unseen("the client visits both servers and goes; two minutes pass"):
        visit(lab, lab.server, right_listener)
        visit(lab, wrong, wrong_listener)
        lab.pass_time(120)

    if lab.option("lose") == "yes":
        lab.link.lose(lab.client, has="RST")
        link.lose(lab.client, has="RST")
    lab.link.replay(lab.client, kept.packets[0])
    link.replay(lab.client, wrong_kept.packets[0])
    lab.settle()
    for note in lab.report.notes:  # its TCP takes the ACK that TwoWayPlace made up for one of the client's
        if note.side == wrong.name and isinstance(note.event, Moved) and note.event.after == "ESTABLISHED":
            note.event = replace(note.event, why="deliberately wrong: nobody has acknowledged the SYN-ACK")
    lab.say(
        lab.flights(lab.client, has="RST")[:1],
        "Both servers answer the old SYN with a SYN-ACK: they cannot know better. The client can: it has no such "
        "connection, and answers with a RST.",
    )
    lab.figure("connections for the program of the two-way server", len(accepted(wrong_listener)), 1)
    lab.say(
        lab.events(Moved, wrong, after="ESTABLISHED"),
        "For the server of two steps the old SYN is a connection: it is ESTABLISHED, and accept() hands it to the "
        "program, although nobody is there.",
    )
    lab.pass_time(300)
    lab.figure("connections for the program of the right server", len(accepted(right_listener)), 0)
    gone = lab.events(Moved, lab.server, after="LISTEN")
    lab.figure("SYN-ACKs for the old SYN", len(lab.flights(lab.server, has="SYN ACK")),
               1 + (lab.server.settings.tcp_synack_retries if lab.option("lose") == "yes" else 0))  # fmt: skip
    lab.say(
        gone,
        "The right server waits for the third step. A RST that arrives ends the half-open connection at once; if it is "
        "lost, the connection is forgotten after tcp_synack_retries = {retries} resends. Its program never hears of "
        "it.",
        retries=lab.server.settings.tcp_synack_retries,
    )
    lab.pass_time(86400)
    for_ever = wrong.states().count("ESTABLISHED")
    lab.figure("connections of the two-way server a day later", for_ever, 1 if lab.option("lose") == "yes" else 0)
    lab.say_if(
        for_ever > 0,
        "The two-way server's program still waits for somebody to speak, a day later: nothing in TCP ends a connection "
        "that both sides leave silent.",
    )
    lab.say(
        lab.flights(lab.server, has="SYN ACK"),
        "Each side's SYN must be acknowledged, that would be four; but the server's ACK and SYN share a segment, so "
        "three are enough. Only when both open at once are there four (B11).",
    )
    lab.say(
        lab.events(Arrived, lab.server),
        "The third step is the only proof that the client has seen the server's sequence number, and wants this "
        "connection.",
    )


def visit(lab: Lab, server: Side, listener: LabSocket) -> None:
    """A client comes and goes."""
    client = lab.client.connect(server, 80)
    served, _ = listener.accept()
    client.close()
    lab.settle()
    served.close()
    lab.settle()


def accepted(listener: LabSocket) -> list[LabSocket]:
    """All that accept() hands out."""
    listener.setblocking(False)
    found: list[LabSocket] = []
    try:
        while True:
            found.append(listener.accept()[0])
    except BlockingIOError:
        return found
