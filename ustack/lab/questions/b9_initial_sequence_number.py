"""B9: why and how the initial sequence number is chosen."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise

from ustack.lab import Flight, Lab, question
from ustack.wire.frame import Segment

TURN = 1 << 32
TICK = 4e-6
"""Seconds of one step of M (RFC 9293 section 3.4.1)."""


@question(
    "B9",
    "Why does a connection not begin with sequence number 0, and how is the first one chosen?",
    "Once an hour, six times, a client connects from port 40000 and from port 40001 to the same port of the server, "
    "and leaves with a RST, so that both ports are free again.",
    shows=("ISN",),
    options={"times": "6", "pause": "3600"},
    tries=("pause=60", "pause=17179.869184", "times=3"),
    next=("B2", "B13", "C6", "E1"),
)
def initial_sequence_number(lab: Lab) -> None:
    lab.server.listen(80, backlog=100)
    for _ in range(int(lab.option("times"))):
        for port in (40000, 40001):
            visit(lab, port)
        lab.pass_time(float(lab.option("pause")))
    syns = lab.flights(lab.client, has="SYN")
    first, second = syns[::2], syns[1::2]

    steps = [(isn(later) - isn(sooner)) % TURN for sooner, later in pairwise(first)]
    ticks = [round((later.at - sooner.at) / 1e9 / TICK) % TURN for sooner, later in pairwise(first)]
    wrong = sum(abs(step - tick) > 1 for step, tick in zip(steps, ticks, strict=True))
    lab.figure("steps of the ISN that are not the time since the last one in ticks of 4 us", wrong, 0, rule="RFC 6528")
    lab.say(
        first[1:],
        "For the same four-tuple the ISN goes on with a clock, M, that ticks every 4 us: {step} ticks from the first "
        "visit to the second. So a segment of the old connection that is still on its way has other numbers than the "
        "new one.",
        step=steps[0],
    )
    hours = lab.figure(
        "hours of one turn of 2^32 ticks", round(TURN * TICK / 3600, 2), 4.77, rule="RFC 9293 section 3.4.1"
    )
    lab.say(
        hours,
        "One turn of 2^32 ticks takes 4.77 h, longer than any segment lives. RFC 793 and older texts say 4.55 h: that "
        "would be 2^18 ticks a second (3.8 us), as 2^32 / 2^18 s are 16,384 s.",
    )

    clocked = [round((other.at - one.at) / 1e9 / TICK) for one, other in zip(first, second, strict=True)]
    apart = [(isn(other) - isn(one) - ticks) % TURN for one, other, ticks in zip(first, second, clocked, strict=True)]
    constant = max(apart) - min(apart) <= 1
    lab.figure("the other port's ISN lies equally far off each time", "yes" if constant else "no", "yes")
    far = lab.figure(
        "and further than the clock moves in a second", "yes" if 250_000 < apart[0] < TURN - 250_000 else "no", "yes"
    )
    lab.say(
        far.holds,
        "To M comes F, a keyed hash of the four-tuple and a secret: for port 40001 the number lies {apart} away. "
        "Whoever knows his own ISN learns nothing of another's, and cannot forge segments for it (RFC 1948, now RFC "
        "6528).",
        apart=apart[0],
    )
    lab.say(
        constant,
        "F is the same each time: only M moves. A random ISN could not be guessed either, but it could fall back "
        "behind the last connection's numbers; M + F does neither.",
    )


def visit(lab: Lab, port: int) -> None:
    """A connection from a port that leaves nothing behind."""
    client = lab.client.start_connecting(lab.server, 80, port)
    lab.settle()
    client.silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    lab.settle()


def isn(syn: Flight) -> int:
    """The sequence number on the wire."""
    assert isinstance(syn.frame, Segment)
    return syn.frame.seq
