"""C7: what tcp_tw_reuse does, and its two dangers."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Arrived, Moved, TimerEvent
from ustack.wire.frame import Segment


@question(
    "C7",
    "What does tcp_tw_reuse do, and what is dangerous about it?",
    "A client that has only one port, with tcp_tw_reuse = 1, closes first. Its last ACK is lost, and so is what comes "
    "after it for a second: the client is in TIME_WAIT, the server in LAST_ACK. After 1.1 s the client connects again. "
    "Later the network delivers an old segment, and then an old RST whose number happens to fit.",
    client={"ip_local_port_range": (40000, 40000), "tcp_tw_reuse": 1},
    tries=("client.tcp_tw_reuse=0", "tcp_timestamps=0", "client.tcp_tw_reuse_delay=5000"),
    next=("B12", "C5", "C6", "C14", "E3"),
)
def tcp_tw_reuse(lab: Lab) -> None:
    settings = lab.client.settings
    listener = lab.server.listen(80)
    old = closed_without_the_last_ack(lab, listener)
    early = attempt(lab)
    lab.figure("connect() at once", early, "EADDRNOTAVAIL")
    lab.say(
        lab.first(Moved, lab.client, after="TIME_WAIT"),
        "TIME_WAIT holds the client's only port: connect() gets EADDRNOTAVAIL. tcp_tw_reuse lets go of it, where there "
        "are timestamps, once the old connection's last one came more than tcp_tw_reuse_delay = {delay} ms ago.",
        delay=settings.tcp_tw_reuse_delay,
    )
    lab.pass_time(1.1)
    lab.link.forget()
    may = settings.tcp_tw_reuse == 1 and settings.tcp_timestamps and settings.tcp_tw_reuse_delay <= 1000
    late = attempt(lab)
    lab.figure("connect() 1.1 s later", late, "no error" if may else "EADDRNOTAVAIL")
    lab.figure("TCPTimeWaitReused", lab.client.counters["TCPTimeWaitReused"], 1 if may else 0)
    if not may:
        lab.pass_time(30)
        last = lab.path(lab.server).split(", ")[-1]
        lab.figure("the server's old connection", last, "CLOSED")
        lab.figure("RSTs of the client", len(lab.flights(lab.client, has="RST")), 0)
        lab.say_if(
            settings.tcp_tw_reuse == 1 and not settings.tcp_timestamps,
            "Without timestamps nothing could tell an old segment from a new one: tcp_tw_reuse does nothing then.",
        )
        lab.say_if(
            lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer", action="moved"),
            "The port is not taken over: the server resends its FIN, TIME_WAIT acknowledges it, and both ends part "
            "in peace.",
        )
        return
    resets = lab.flights(lab.client, has="RST")
    lab.figure("RSTs of the client", len(resets), 1)
    lab.say(
        lab.flights(lab.client, has="SYN", lacks="ACK")[1],
        "Then connect() may take the port over: the timestamp of the new SYN is newer than all of the old connection, "
        "so PAWS keeps old segments out, and the ISN is chosen beyond the old numbers.",
    )
    lab.say(
        resets,
        "The first danger: the server is still in LAST_ACK and waits for the lost ACK. It answers the SYN with a "
        "challenge ACK of the old connection, the client answers that with a RST, and the server's old connection, "
        "whose bytes were all delivered, ends by a RST instead of an ACK. Only the next SYN opens the new one.",
    )
    old_messages(lab, listener, old)


def closed_without_the_last_ack(lab: Lab, listener: LabSocket) -> bytes:
    """The client in TIME_WAIT, the server in LAST_ACK. Returns a segment of the server's, kept by the network."""
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    kept = lab.link.keep(lab.server, text=True)
    served.sendall(b"220 welcome\r\n")
    lab.settle()
    client.read_all()
    client.close()
    lab.settle()
    lab.link.lose(lab.client, lacks="SYN")
    served.close()
    lab.settle()
    lab.link.lose(lab.server)
    return kept.packets[0]


def attempt(lab: Lab) -> str:
    """What connect() says; the socket stays open when it succeeds."""
    with lab.error() as found:
        lab.client.connect(lab.server, 80)
    return found[0]


def old_messages(lab: Lab, listener: LabSocket, old: bytes) -> None:
    """In the new connection: text of the old one, then a RST of the old one."""
    client = lab.client.open[-1]
    served, _ = listener.accept()
    served.sendall(b"220 welcome\r\n")
    lab.settle()
    client.read_all()
    lab.link.replay(lab.server, old)
    lab.settle()
    lab.say(
        lab.events(Arrived, lab.client, drop="PAWS"),
        "An old segment with text has an old timestamp: PAWS refuses it, whatever its sequence number.",
    )
    last = lab.flights(lab.server, text=True)[-1].frame
    assert isinstance(last, Segment)
    like = lab.flights(lab.server, text=True)[0]
    assert isinstance(like.frame, Segment)
    lab.link.forge(like, flags="RST ACK", seq=last.seq + last.payload_length)
    lab.settle()
    with lab.error() as found:
        client.recv(100)
    lab.figure("what an old RST does to recv()", found[0], "ECONNRESET", rule="RFC 7323 section 5.2")
    lab.say(
        lab.events(Moved, lab.client, before="ESTABLISHED", after="CLOSED"),
        "The second danger: a RST is exempt from PAWS. An old one whose number is exactly the next one kills the new "
        "connection, although its timestamp is as old; TIME_WAIT would have kept the port shut until it had died.",
    )
