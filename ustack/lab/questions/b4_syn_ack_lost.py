"""B4: the SYN-ACK is lost."""

from __future__ import annotations

from itertools import pairwise

from ustack.lab import Lab, question


@question(
    "B4",
    "What happens when the SYN-ACK is lost?",
    "The network loses the first SYN-ACK, and the SYN that the client sends again a second later. Then the client "
    "sends a SYN from another port and dies before it is answered.",
    kernel="server",
    live={"server.tcp_synack_retries": "1"},
    tries=("server.tcp_synack_retries=2", "delay=200ms", "client.tcp_timestamps=0"),
    next=("B3", "B5", "B8"),
)
def syn_ack_lost(lab: Lab) -> None:
    lab.server.listen(80)
    lab.link.lose(lab.server, has="SYN ACK", nth=1)
    lab.link.lose(lab.client, has="SYN", nth=2)
    client = lab.client.connect(lab.server, 80)
    lab.settle()
    syns, answers = lab.flights(lab.client, has="SYN"), lab.flights(lab.server, has="SYN ACK")
    lab.figure("SYNs and SYN-ACKs that it takes", f"{len(syns)}, {len(answers)}", "2, 2")
    lab.figure("seconds that connect() takes", round(lab.instant(lab.flights(lab.client, has="ACK"))), 1, "s")
    lab.say(
        syns[1:],
        "The client cannot tell a lost SYN-ACK from a lost SYN: it has no answer, and sends its SYN again after 1 s.",
    )
    lab.say(
        answers[1:],
        "The server has a timer of its own: no third segment came, so after 1 s it sends the SYN-ACK again, with the "
        "same sequence number. One of the two is enough; a SYN that comes again is answered at once as well.",
    )
    lab.say(
        client.state == "ESTABLISHED",
        "The second SYN-ACK arrives, and both sides have their connection. Neither application has noticed more than "
        "the delay.",
    )

    gone = lab.now
    lab.client.start_connecting(lab.server, 80)
    lab.kill(lab.client)
    retries = lab.server.settings.tcp_synack_retries
    waits = [2.0**number for number in range(retries + 1)]
    lab.run_until(lambda: "SYN_RECEIVED" in lab.server.states(), 1)
    lab.run_until(lambda: "SYN_RECEIVED" not in lab.server.states(), 2 * sum(waits))
    ended = lab.now - gone
    late = [flight for flight in lab.flights(lab.server, has="SYN ACK") if lab.instant(flight) > gone]
    gaps = [lab.instant(later) - lab.instant(sooner) for sooner, later in pairwise(late)]
    shown, wanted = (", ".join(f"{round(gap):.0f}" for gap in one) for one in (gaps, waits[:-1]))
    lab.figure("seconds between the SYN-ACKs that nobody answers", shown, wanted, rule="tcp_synack_retries")
    lab.figure(
        "seconds until the server forgets the client", ended, sum(waits) + lab.link.round_trip / 2, "s", within=0.1
    )
    lab.say(
        late[1:],
        "When nobody answers, tcp_synack_retries = {retries} bounds the server: so many resends, each after twice the "
        "time, and after {time:.0f} s it forgets the client. Its application never hears of it.",
        retries=retries,
        time=sum(waits),
    )
