"""C4: the second FIN, that of the side that closes last, is lost."""

from __future__ import annotations

from itertools import pairwise

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "C4",
    "What happens when the second FIN is lost?",
    "A client closes; the server's program closes 0.1 s later. From then on the network loses every FIN of the server.",
    options={"lost": "100"},
    tries=("lost=1", "lost=3", "server.tcp_orphan_retries=2", "client.tcp_fin_timeout=300"),
    next=("C2", "C3", "C5"),
)
def second_fin_lost(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    client.close()
    lab.pass_time(0.1)
    lost = int(lab.option("lost"))
    lab.link.lose(lab.server, has="FIN", nth=1, count=lost)
    served.close()
    lab.pass_time(600)

    fins = lab.flights(lab.server, has="FIN")
    ended = lab.first(Moved, lab.server, after="CLOSED")
    waits = [lab.instant(later) - lab.instant(sooner) for sooner, later in pairwise(fins[1:])]
    doubled = all(abs(later - 2 * sooner) < 1e-6 for sooner, later in pairwise(waits))
    if len(waits) > 1:
        lab.figure("each resend after the first waits twice as long", doubled, True, rule="RFC 6298 section 5.5")
    lab.figure("state of the server when it is over", lab.path(lab.server).split(", ")[-1], "CLOSED")
    lab.say(
        fins[0],
        "The server has closed last: in LAST_ACK it waits for nothing but the ACK of its FIN, and resends the FIN "
        "until it comes.",
    )
    lab.say(
        fins[1:],
        "The client, in FIN_WAIT_2, can do nothing: it has nothing to resend, and does not know that the server has "
        "closed.",
    )
    if lost < len(fins):
        lab.figure("FINs that the server sends", len(fins), lost + 1)
        lab.say_if(
            lab.first(Moved, lab.client, after="TIME_WAIT"),
            "The FIN that gets through brings the client into TIME_WAIT, and its ACK ends LAST_ACK.",
        )
        return
    retries = lab.server.settings.tcp_orphan_retries or 8
    limit = ((2 << retries) - 1) * 0.2
    lasted = lab.instant(ended) - lab.instant(fins[2])
    before = lab.instant(fins[-1]) - lab.instant(fins[2])
    lab.figure("the first timeout after the limit is the last", before < limit <= lasted, True)
    lab.say(
        ended,
        "After {limit:.1f} s of resends (tcp_orphan_retries = {retries}, where 0 means 8) the next timeout is the "
        "last: the server forgets the connection.",
        limit=limit,
        retries=lab.server.settings.tcp_orphan_retries,
    )
    gone = lab.first(Moved, lab.client, before="FIN_WAIT_2", after="CLOSED")
    timeout = lab.client.settings.tcp_fin_timeout
    entered = lab.first(Moved, lab.client, after="FIN_WAIT_2")
    lab.figure("FIN_WAIT_2 of the client lasts", lab.instant(gone) - lab.instant(entered), timeout, "s",
               rule="tcp_fin_timeout")  # fmt: skip
    lab.say(
        gone,
        "The client does not wait for ever either: its FIN_WAIT_2 ends after tcp_fin_timeout = {timeout} s, without "
        "TIME_WAIT.",
        timeout=timeout,
    )
