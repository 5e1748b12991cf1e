"""B3: the SYN is lost, or the host is unreachable."""

from __future__ import annotations

from itertools import pairwise

from ustack.lab import Flight, Lab, question
from ustack.wire.frame import Segment


@question(
    "B3",
    "How long does connect() try when nobody answers?",
    "The server's cable is out: each SYN of the client is lost. connect() has no timeout of its own.",
    kernel="client",
    live={"client.tcp_syn_retries": "1", "client.tcp_syn_linear_timeouts": "1"},
    options={"back_after": "never"},
    tries=("client.tcp_syn_linear_timeouts=0", "client.tcp_syn_retries=2", "back_after=4.5"),
    next=("B4", "B10", "D2"),
)
def syn_lost(lab: Lab) -> None:
    settings = lab.client.settings
    lab.server.listen(80)
    lab.link.cut()
    back = lab.option("back_after")
    if back != "never":
        lab.network.clock.after(round(float(back) * 1e9), lab.link.heal)
    with lab.error() as found:
        lab.client.connect(lab.server, 80)
    ended = lab.now

    linear, retries = settings.tcp_syn_linear_timeouts, settings.tcp_syn_retries
    waits = [1.0] * linear + [min(2.0**number, settings.tcp_rto_max_ms / 1000) for number in range(retries + 1)]
    times = [sum(waits[:number]) for number in range(len(waits))]
    if back != "never":
        times = [at for number, at in enumerate(times) if number == 0 or times[number - 1] < float(back)]
        waits = waits[: len(times) - 1]
    syns = lab.flights(lab.client, has="SYN")
    gaps = [lab.instant(later) - lab.instant(sooner) for sooner, later in pairwise(syns)]
    shown, wanted = (", ".join(f"{round(gap):.0f}" for gap in one) for one in (gaps, waits[: len(times) - 1]))
    lab.figure("seconds between the SYNs", shown, wanted, rule="tcp_syn_linear_timeouts, tcp_syn_retries")
    lab.figure("different sequence numbers in them", len({number_of(syn) for syn in syns}), 1)
    lab.figure("what connect() gets", found[0], "ETIMEDOUT" if back == "never" else "no error")
    if back == "never":
        lab.figure("from connect() to its end", ended - lab.instant(syns), sum(waits), "s", within=0.05)

    lab.say(
        syns[1:],
        "A SYN takes a sequence number, so it is resent like text, and with the same number. Nothing has been measured "
        "yet, and RTO begins with 1 s (RFC 6298 section 2).",
    )
    lab.say_if(
        linear and syns[1:],
        "Linux (since 6.5) sends the first {linear} again after 1 s each (tcp_syn_linear_timeouts), because most "
        "losses are soon over; only then it doubles: 1, 2, 4 s and so on.",
        linear=linear,
    )
    lab.say_if(not linear and syns[1:], "Without linear timeouts each wait is twice the last: 1, 2, 4 s and so on.")
    lab.say(
        lab.outcome("ETIMEDOUT"),
        "tcp_syn_retries = {retries} counts the doublings: after {count} SYNs and {time:.0f} s connect() gets "
        "ETIMEDOUT. Older texts have 5 doublings and no linear waits: 63 s.",
        retries=retries,
        count=len(syns),
        time=sum(waits),
    )
    lab.say_if(
        back != "never" and syns[-1:],
        "The cable is back, and the next SYN comes through: connect() returns as if nothing had been, only later.",
    )
    lab.say(
        lab.outcome("ETIMEDOUT"),
        "A host that is off, a wrong address and a firewall that drops silently all look like this, beyond a router "
        "(in one's own network ARP finds nobody: EHOSTUNREACH after some seconds); a port that nobody has is "
        "answered with a RST at once.",
    )


def number_of(flight: Flight) -> int:
    """The sequence number on the wire."""
    assert isinstance(flight.frame, Segment)
    return flight.frame.seq
