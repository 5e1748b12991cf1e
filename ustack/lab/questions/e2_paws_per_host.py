"""E2: PAWS per host, as tcp_tw_recycle had it, and two clients behind one NAT address."""

from __future__ import annotations

from ustack.lab import Lab, Side, question
from ustack.stack.stack import Stack
from ustack.tcp.isn import IsnGenerator
from ustack.units import SECOND
from ustack.wire.frame import Segment
from ustack.wire.tcp import SYN

MEMORY = 60
"""Seconds for which a host's newest timestamp is remembered (TCP_PAWS_MSL of Linux before 4.12)."""


class Uptime(IsnGenerator):
    """Timestamps count from the start of the machine, as they did before Linux 4.10: ``days`` ago."""

    days = 0

    def timestamp_offset(self, key: bytes) -> int:
        return self.days * 86_400_000


class PawsPerHost:
    """What tcp_tw_recycle = 1 did: a SYN is compared with the newest timestamp of its *address*, whatever its port."""

    def __init__(self, lab: Lab, server: Stack) -> None:
        self.lab = lab
        self.server = server

    def __call__(self, segment: Segment) -> str:
        for old in self.server.tcp.time_waits.values():
            is_young = self.lab.network.now - old.since < MEMORY * SECOND
            is_before = 1 < (old.ts_recent - segment.ts_val) & 0xFFFFFFFF < 0x80000000
            if segment.flags & SYN and old.key[:16] == segment.source and is_young and is_before:
                return "PAWS_PER_HOST"
        return ""


def start_clock(side: Side, days: int) -> None:
    """The machine was started so many days ago."""
    clock = Uptime(side.host.stack.host.isn.secret)
    clock.days = days
    side.host.stack.host.isn = clock


@question(
    "E2",
    "Why did tcp_tw_recycle lock out clients behind a NAT?",
    "Two clients share one address behind a NAT; the first has been up for ten days, its neighbour for one. The server "
    "runs with tcp_tw_recycle = 1, as Linux before 4.12 could. The first client fetches a line and the server closes; "
    "5 s later (pause) the neighbour connects.",
    server={"tcp_tw_recycle": 1},
    options={"pause": "5"},
    tries=("server.tcp_tw_recycle=0", "pause=61", "tcp_timestamps=0"),
    next=("E1", "C7", "C14"),
    shows=("TS",),
)
def paws_per_host(lab: Lab) -> None:
    neighbour = lab.add("neighbour", lab.client.address, left=True)
    lab.join(neighbour, lab.server, "delay=10ms")
    start_clock(lab.client, 10)
    start_clock(neighbour, 1)
    is_wrong = bool(lab.server.settings.tcp_tw_recycle)
    if is_wrong:
        lab.refuse(lab.server, PawsPerHost(lab, lab.server.host.stack))
    listener = lab.server.listen(80)
    first = lab.client.start_connecting(lab.server, 80, 40001)
    served, _ = listener.accept()
    served.sendall(b"here it is\n")
    served.close()
    lab.settle()
    first.recv(100)
    first.close()
    lab.settle()
    waiting = lab.server.states().count("TIME_WAIT")
    lab.pass_time(float(lab.option("pause")))

    began = lab.now
    second = neighbour.start_connecting(lab.server, 80, 40002)
    lab.run_until(lambda: second.state == "ESTABLISHED", 200)
    syns = lab.flights(neighbour, has="SYN")
    refused = [flight for flight in syns if flight.drop]
    with_timestamps = lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps
    blocked = is_wrong and with_timestamps and float(lab.option("pause")) < MEMORY
    lab.figure("connections in TIME_WAIT at the server", waiting, 1)
    lab.figure("SYNs of the neighbour that are dropped", len(refused), 10 if blocked else 0)
    lab.figure("the neighbour is connected after", lab.now - began, 67.02 if blocked else 0.02, "s", within=0.1)
    _explain(lab, neighbour, is_wrong)


def _explain(lab: Lab, neighbour: Side, is_wrong: bool) -> None:
    syns = lab.flights(neighbour, has="SYN")
    refused = [flight for flight in syns if flight.drop]
    lab.say_if(
        refused,
        "The server remembered the newest timestamp of an address, for a minute after one of its connections went into "
        "TIME_WAIT: so it could forget TIME_WAIT itself early, and reuse the four-tuple.",
    )
    lab.say_if(
        refused,
        "But behind a NAT one address is many machines, and each has a clock of its own. The neighbour's timestamps "
        "are nine days behind, so for this rule its SYN is an old duplicate: it is dropped without a word.",
    )
    lab.say_if(
        refused[1:],
        "The neighbour sends its SYN again and again. Only the one that comes when the minute is over gets in; had the "
        "first client kept coming, none would have.",
    )
    lab.say_if(
        None if refused else syns,
        "The neighbour's SYN has another four-tuple than the connection in TIME_WAIT, and is answered at once, "
        "whatever "
        "its clock says." if not is_wrong else
        "Nothing is remembered of this address that the SYN could be behind, and it is answered at once.",
    )  # fmt: skip
    lab.say(
        lab.flights(lab.client, has="SYN"),
        "RFC 7323 compares timestamps within one connection only, and RFC 6191 with the TIME_WAIT of the same "
        "four-tuple: there one clock made them all.",
    )
    lab.say(
        syns,
        "Linux removed tcp_tw_recycle in 4.12: since 4.10 timestamps begin at a random offset for each connection, and "
        "then even a single client has no order to show. What remains is tcp_tw_reuse, for the side that connects.",
    )
