"""C3: the ACK of the first FIN is lost; and how long FIN_WAIT_2 may last."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "C3",
    "What happens when the ACK of the first FIN is lost, and how long does FIN_WAIT_2 last?",
    "Two clients are connected to a server whose program never closes. One client ends with close(), the other with "
    "shutdown(SHUT_WR). The network loses the first ACK that answers each FIN.",
    tries=("client.tcp_fin_timeout=10", "client.tcp_fin_timeout=300"),
    next=("C4", "C5", "C10", "C13"),
)
def its_ack_lost(lab: Lab) -> None:
    timeout = lab.client.settings.tcp_fin_timeout
    listener = lab.server.listen(80)
    closing = lab.client.connect(lab.server, 80)
    listener.accept()
    lab.settle()
    lab.link.lose(lab.server, nth=1)
    closing.close()
    lab.pass_time(1)
    fins = lab.flights(lab.client, has="FIN")
    lab.figure("FINs that the client sends", len(fins), 2)
    lab.say(
        fins[1:],
        "The client cannot know which of the two was lost, its FIN or the ACK: it resends the FIN. The server has "
        "had it already, and acknowledges the copy once more.",
    )
    lab.say(
        lab.first(Moved, lab.client, after="FIN_WAIT_2"),
        "Now the client is in FIN_WAIT_2: its own FIN is acknowledged, and it waits for the server's.",
    )

    half = lab.client.connect(lab.server, 80)
    listener.accept()
    lab.settle()
    lab.link.lose(lab.server, nth=1)
    half.shutdown(1)
    lab.pass_time(2 * timeout)
    waited = lab.first(Moved, lab.client, before="FIN_WAIT_2", after="CLOSED")
    entered = lab.first(Moved, lab.client, after="FIN_WAIT_2")
    lab.figure(
        "FIN_WAIT_2 after close() lasts", lab.instant(waited) - lab.instant(entered), timeout, "s",
        rule="tcp_fin_timeout",
    )  # fmt: skip
    lab.say(
        waited,
        "After close() nobody could read what the server may still send, so Linux ends FIN_WAIT_2 after "
        "tcp_fin_timeout = {timeout} s; RFC 9293 has no such limit.",
        timeout=timeout,
    )
    lab.pass_time(86400)
    lab.figure("state a day after shutdown(SHUT_WR)", half.state, "FIN_WAIT_2")
    lab.say(
        half.state == "FIN_WAIT_2",
        "After shutdown(SHUT_WR) the program still holds the socket and may read: that half close has no limit, and "
        "after a day the client is still in FIN_WAIT_2.",
    )
    lab.figure("connections of the server in CLOSE_WAIT", lab.server.states().count("CLOSE_WAIT"), 2)
    lab.show_listing(lab.server)
