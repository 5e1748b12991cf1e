"""C5: the last ACK of the close is lost."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved, TimerEvent


@question(
    "C5",
    "What happens when the last ACK is lost?",
    "A client closes; the server's program closes 0.1 s later. The network loses the client's ACK of the server's FIN.",
    options={"lost": "3"},
    tries=("lost=1", "lost=5", "client.tcp_timewait_length=20", "client.tcp_timewait_length=0"),
    next=("C4", "C6", "C7"),
)
def last_ack_lost(lab: Lab) -> None:
    length = lab.client.settings.tcp_timewait_length
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    client.close()
    lab.pass_time(0.1)
    lost = int(lab.option("lost"))
    lab.link.lose(lab.client, lacks="RST", nth=1, count=lost)
    served.close()
    lab.pass_time(30)
    lab.pass_time(length)

    fins = lab.flights(lab.server, has="FIN")
    lab.figure("FINs that the server sends", len(fins), lost + 1 if length else 2)
    lab.say(
        lab.first(Moved, lab.client, after="TIME_WAIT"),
        "The client has had the server's FIN: it acknowledges it and is in TIME_WAIT. An ACK takes no sequence "
        "number, so it is never resent by itself.",
    )
    lab.say(
        fins[1:],
        "The server is in LAST_ACK and hears nothing: it resends its FIN, as if the FIN had been lost.",
    )
    lab.say(
        lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer", action="moved"),
        "This is the first purpose of TIME_WAIT: somebody must be there to acknowledge the FIN again. C6 shows the "
        "second.",
    )
    starts = lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer", action="set")
    moves = lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer", action="moved")
    if length:
        lab.figure("how often TIME_WAIT starts anew", len(moves), lost)
        ended = lab.first(TimerEvent, lab.client, timer="TIME-WAIT timer", action="fired")
        lab.figure("from the last FIN to the end", lab.instant(ended) - lab.instant(moves[-1]), length, "s",
                   rule="2 MSL")  # fmt: skip
        lasted = lab.instant(ended) - lab.instant(starts)
        lab.figure("TIME_WAIT lasts longer in all than its time", lasted > length, True)
    lab.say(
        moves,
        "Each FIN starts the {length} s (2 MSL) of TIME_WAIT anew, so that the next ACK may be lost as well.",
        length=length,
    )
    lab.say_if(
        lab.flights(lab.client, has="RST"),
        "Without TIME_WAIT nobody is there: the FIN that comes again gets a RST, and the server cannot tell a "
        "clean end from a broken one.",
    )
