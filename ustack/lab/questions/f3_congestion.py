"""F3: loss, the congestion window, and fairness."""

from __future__ import annotations

from statistics import median

from ustack.device.impairment import parse_impairment
from ustack.lab import Figure, Lab, flows, question
from ustack.lab.report import View

EVERY = 0.02
"""Seconds between two samples."""


@question(
    "F3",
    "How does TCP find out how fast it may send, and how do two flows share a link?",
    "A bottleneck of 1 Mbit/s, 40 ms long each way, with a queue of 12 packets. Reno, CUBIC and BBR each have it for "
    "themselves for 6 s (seconds); at the end of Reno's time the cable is out for a second. Then two flows share it "
    "for 15 s (pair).",
    link="delay=40ms,rate=1Mbit,limit=12",
    options={"seconds": "6", "pair": "cubic,cubic"},
    tries=("pair=reno,reno", "pair=bbr,cubic", "pair=reno,cubic", "rate=2Mbit"),
    next=("D2", "A7", "E4"),
)
def congestion(lab: Lab) -> None:
    rate = parse_impairment(lab.knobs.link).rate
    flows.listen_to_flows(lab.server)
    reno = flows.start_flow(lab.client, lab.server, "reno", 40001)
    lab.pass_time(0.4)  # slow start is on the ladder
    with lab.unseen("reno alone, then the cable is out for a second", every=EVERY):
        lab.pass_time(float(lab.option("seconds")))
        rates = {"reno": flows.rate_of(lab.views(lab.client, 40001))}
        lab.link.cut()
        lab.pass_time(1)
        lab.link.heal()
        lab.pass_time(2)
        flows.stop_flow(reno)
        lab.pass_time(1)
    for name, port in (("cubic", 40002), ("bbr", 40003)):
        with lab.unseen("{name} alone", every=EVERY, name=name):
            flow = flows.start_flow(lab.client, lab.server, name, port)
            lab.pass_time(float(lab.option("seconds")))
            rates[name] = flows.rate_of(lab.views(lab.client, port))
            flows.stop_flow(flow)
            lab.pass_time(1)
    for name, found in rates.items():
        lab.figure(f"{name} alone: share of the bottleneck", 100 * found / rate, 95, "%", within=15)

    first, second = lab.option("pair").split(",")
    with lab.unseen("{first} and {second} together", every=EVERY, first=first, second=second):
        pair = [
            flows.start_flow(lab.client, lab.server, name, port) for name, port in ((first, 40004), (second, 40005))
        ]
        lab.pass_time(15)
        together = [flows.rate_of(lab.views(lab.client, port)) for port in (40004, 40005)]
        for flow in pair:
            flows.stop_flow(flow)
        lab.pass_time(1)
    explain(lab, judge(lab, rate), together)


def judge(lab: Lab, rate: int) -> list[Figure]:
    """What the RFCs say of the window, checked on the samples."""
    reno, cubic, bbr = (lab.views(lab.client, port) for port in (40001, 40002, 40003))
    return [
        lab.figure("slow start: growth of cwnd for each byte acknowledged", flows.slow_start_growth(reno), 1,
                   within=0.05, rule="RFC 5681 section 3.1"),
        lab.figure("congestion avoidance: reno's growth in a round trip", flows.avoidance_growth(reno), 1, "segments",
                   within=0.25, rule="RFC 5681 section 3.1"),
        lab.figure("fast retransmit: what a loss leaves of reno's window", flows.left_by_loss(reno)[-1], 0.5,
                   within=0.06, rule="RFC 5681 section 3.1"),
        lab.figure("fast retransmit: what a loss leaves of cubic's window", flows.left_by_loss(cubic)[-1], 0.7,
                   within=0.06, rule="RFC 9438 section 4.6"),
        lab.figure("timeout: reno's window afterwards", flows.left_by_timeout(reno), 1, "segments",
                   rule="RFC 5681 section 3.1"),
        lab.figure("bbr: median of the pacing rate", median(view.snapshot.pacing_rate * 8e-6 for view in bbr),
                   rate * 1e-6, "Mbit/s", within=0.2),
    ]  # fmt: skip


def first_in(lab: Lab, state: str, port: int) -> View:
    """The first sample of a flow in one of Linux's congestion states."""
    return next(view for view in lab.views(lab.client, port) if view.snapshot.ca_state == state)


def explain(lab: Lab, judged: list[Figure], together: list[float]) -> None:
    first, second = lab.option("pair").split(",")
    index = flows.jain(together)
    fair = lab.figure("two flows: Jain's index of fairness", index, 1, within=0.1 if first == second else 0.5,
                      rule="1: the same for both; 1/2: one has all")  # fmt: skip
    lab.say(
        [flight for flight in lab.flights(lab.client, text=True) if flight.is_lost],
        "Nobody tells TCP the rate: it tries. In slow start cwnd begins with ten segments and grows by one for each "
        "that is acknowledged, so it doubles in a round trip, until the queue is full and packets are lost.",
    )
    lab.say(
        first_in(lab, "Recovery", 40001),
        "SACK shows the gap, and what is missing is sent again without waiting for a timer (fast retransmit, "
        "recovery). Reno halves its window and then adds one segment in a round trip (congestion avoidance): a saw.",
    )
    lab.say(
        first_in(lab, "Recovery", 40002),
        "CUBIC keeps 70 % of its window, comes back fast towards the size at which packets were lost last, grows "
        "slowly around it, and then tries further: by the clock, not by round trips (RFC 9438).",
    )
    lab.say(
        lab.views(lab.client, 40003)[0],
        "BBR is not led by loss: it measures the rate at which text is delivered and the least round trip, and paces "
        "at that rate, here {rate:.2f} Mbit/s. cwnd only bounds it.",
        rate=judged[5].seen,
    )
    lab.say(
        first_in(lab, "Loss", 40001),
        "A timeout is the strongest sign: no ACK comes at all, as with the cable out. The window falls to one segment, "
        "and slow start leads it up to ssthresh.",
    )
    lab.say(
        fair,
        "Two flows that share the link: {first} has {one:.0f} % of what both have, {second} {other:.0f} %. Jain's "
        "index is {index:.2f}. Flows of one kind meet in the middle, since who has more gives up more; of two kinds "
        "one may win.",
        first=first,
        second=second,
        one=100 * together[0] / sum(together),
        other=100 * together[1] / sum(together),
        index=index,
    )
