"""B1: the three-way handshake."""

from __future__ import annotations

import socket

from ustack.lab import Flight, Lab, question
from ustack.wire.frame import Segment

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@question(
    "B1",
    "What happens in the three-way handshake, and may its segments carry data?",
    "A client connects. Then it connects once more, with TCP_QUICKACK switched off, so that its ACK may wait, and "
    "writes a request as soon as connect() has returned.",
    kernel="both",
    shows=("ISN",),
    tries=("delay=100ms", "tcp_timestamps=0", "tcp_window_scaling=0"),
    next=("B5", "B6", "B9", "B13"),
)
def three_way_handshake(lab: Lab) -> None:
    lab.server.listen(80)
    lab.client.connect(lab.server, 80)
    lab.settle()
    syn, syn_ack, ack = lab.report.flights[:3]
    after_syn = f"{syn.sender_state}, {syn.receiver_state}"
    lab.figure("states of client and server after the first segment", after_syn, "SYN_SENT, SYN_RECEIVED")
    after_syn_ack = f"{syn_ack.receiver_state}, {syn_ack.sender_state}"
    lab.figure("after the second", after_syn_ack, "ESTABLISHED, SYN_RECEIVED")
    after_ack = f"{ack.sender_state}, {ack.receiver_state}"
    lab.figure("after the third", after_ack, "ESTABLISHED, ESTABLISHED", rule="RFC 9293 section 3.5, figure 6")
    lab.say(
        syn,
        "The SYN tells the client's initial sequence number, {isn} (behind the SYN the ladder counts from there), and "
        "what it can do: MSS, SACK, window scaling, timestamps.",
        isn=segment(syn).seq,
    )
    lab.say(
        syn_ack,
        "The SYN-ACK acknowledges that number and tells the server's own. For the client the connection stands now: "
        "both directions have been heard, and connect() returns.",
    )
    lab.say(
        ack,
        "The third segment acknowledges the server's number. Only with it does the server know that its own SYN came "
        "through and that the client's SYN was no old one.",
    )

    eager = lab.client.socket()
    eager.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    eager.connect((lab.server.address, 80))
    eager.sendall(REQUEST)
    lab.settle()
    first, second, third = lab.report.flights[3:6]
    sizes = ", ".join(str(segment(one).payload_length) for one in (first, second, third))
    lab.figure("bytes of text in the three segments of the second handshake", sizes, f"0, 0, {len(REQUEST)}")
    lab.say(
        third,
        "The third segment is an ordinary one and may carry text: here the ACK had not left yet when the request was "
        "written, and rides on it.",
    )
    lab.say(
        second,
        "The first two carry none: RFC 9293 would allow it, but what the SYN brought would have to wait for the third "
        "segment, for nobody knows yet whether the sender is who it says it is. Fast Open (RFC 7413) puts text into "
        "the SYN with a cookie from an earlier visit.",
    )


def segment(flight: Flight) -> Segment:
    """The segment of a flight."""
    assert isinstance(flight.frame, Segment)
    return flight.frame
