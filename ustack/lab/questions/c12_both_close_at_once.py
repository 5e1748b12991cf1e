"""C12: both ends close at the same moment."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "C12",
    "What happens when both ends close at the same moment?",
    "A client and a server are connected, 10 ms apart, and both call close() before the other's FIN has come.",
    options={"gap": "0"},
    tries=("gap=0.005", "gap=0.05", "delay=100ms"),
    next=("C1", "B11", "C6"),
)
def both_close_at_once(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    began, gap = lab.now, float(lab.option("gap"))
    client.close()
    lab.pass_time(gap)
    served.close()
    lab.settle()
    do_cross = gap < lab.link.round_trip / 2
    lab.figure(
        "states of the client",
        lab.path(lab.client, since=began),
        f"FIN_WAIT_1, {'CLOSING' if do_cross else 'FIN_WAIT_2'}, TIME_WAIT",
    )
    lab.figure(
        "states of the server",
        lab.path(lab.server, since=began),
        "FIN_WAIT_1, CLOSING, TIME_WAIT" if do_cross else "CLOSE_WAIT, LAST_ACK, CLOSED",
    )
    lab.figure("segments of the close", len([one for one in lab.flights() if lab.instant(one) >= began]), 4)
    lab.say(
        do_cross and lab.flights(has="FIN"),
        "Two FINs are on their way at the same time: each end has closed first, as far as it knows, and is in "
        "FIN_WAIT_1.",
    )
    lab.say(
        lab.events(Moved, lab.client, after="CLOSING"),
        "The FIN that arrives does not acknowledge ours, which the peer had not seen when it sent its own: each end "
        "acknowledges the other's FIN and is in CLOSING, not in FIN_WAIT_2.",
    )
    lab.say(
        lab.events(Moved, lab.client, before="CLOSING", after="TIME_WAIT"),
        "When an end's own FIN is acknowledged, the connection is over both ways: CLOSING becomes TIME_WAIT.",
    )
    lab.pass_time(lab.server.settings.tcp_timewait_length)
    both = lab.events(Moved, before="TIME_WAIT", after="CLOSED")
    lab.figure("ends that were in TIME_WAIT", len(both), 2 if do_cross else 1)
    lab.say(
        len(both) == 2 and both,
        "Both have closed first, so both pass through TIME_WAIT: it is the one way to close after which a server and "
        "its client both wait for {length} s.",
        length=lab.server.settings.tcp_timewait_length,
    )
    lab.say_if(
        not do_cross and lab.events(Moved, lab.server, after="LAST_ACK"),
        "The first FIN has arrived before the second is sent: this is the ordinary close, with one TIME_WAIT.",
    )
