"""Every kind of segment in every state: how to get into each state, and what the segments are.

Used by ``test_arrivals.py``, which compares ``arrivals.txt`` with ustack and with the kernel. Run as a program
(as root) it prints the table anew: ustack's answer, and the kernel's where it differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tcp.peer import SYN_OPTIONS, Peer

TABLE = Path(__file__).with_name("arrivals.txt")
FLIGHT = 1001
"""The host has sent 1000 bytes that nobody acknowledged, where the state lets it."""


def closed(peer: Peer) -> None:
    peer.names.update(u=0, n=1)


def listening(peer: Peer) -> None:
    peer.host.listen(peer.our_port, family=peer.family)


def syn_sent(peer: Peer) -> None:
    peer.host.connect(peer.port, peer.our_port, peer.family)
    peer.expect("S 0")


def requested(peer: Peer) -> None:
    """SYN-RECEIVED from LISTEN."""
    listening(peer)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")


def simultaneous(peer: Peer) -> None:
    """SYN-RECEIVED from SYN-SENT."""
    syn_sent(peer)
    peer.send(f"S 0 <{SYN_OPTIONS}>")
    peer.expect("S. 0 ack 1")


def established(peer: Peer) -> Any:
    call = peer.opens()
    call.write(1, FLIGHT)
    peer.expect("P. 1:1001 ack 1")
    return call


def fin_wait_1(peer: Peer) -> Any:
    call = established(peer)
    call.shutdown()
    peer.expect("F. 1001 ack 1")
    return call


def fin_wait_2(peer: Peer) -> Any:
    call = fin_wait_1(peer)
    peer.send(". 1 ack 1002")
    peer.expect()
    peer.names["u"] = 1002
    return call


def fin_wait_1_orphan(peer: Peer) -> None:
    call = established(peer)
    call.close()
    peer.expect("F. 1001 ack 1")


def fin_wait_2_orphan(peer: Peer) -> None:
    fin_wait_1_orphan(peer)
    peer.send(". 1 ack 1002")
    peer.names["u"] = 1002


def close_wait(peer: Peer) -> Any:
    call = established(peer)
    peer.send("F. 1 ack 1")
    peer.host.settle()
    peer.expect(". 1001 ack 2")
    return call


def closing(peer: Peer) -> None:
    fin_wait_1(peer)
    peer.send("F. 1 ack 1")
    peer.expect(". 1002 ack 2")


def last_ack(peer: Peer) -> None:
    close_wait(peer).shutdown()
    peer.expect("F. 1001 ack 2")


def time_wait(peer: Peer) -> None:
    fin_wait_2(peer)
    peer.send("F. 1 ack 1002")
    peer.expect(". 1002 ack 2")


STATES: dict[str, Callable[[Peer], Any]] = {
    "CLOSED": closed,
    "LISTEN": listening,
    "SYN-SENT": syn_sent,
    "SYN-RECEIVED": requested,
    "SYN-RECEIVED-2": simultaneous,
    "ESTABLISHED": established,
    "FIN-WAIT-1": fin_wait_1,
    "FIN-WAIT-1-ORPHAN": fin_wait_1_orphan,
    "FIN-WAIT-2": fin_wait_2,
    "FIN-WAIT-2-ORPHAN": fin_wait_2_orphan,
    "CLOSE-WAIT": close_wait,
    "CLOSING": closing,
    "LAST-ACK": last_ack,
    "TIME-WAIT": time_wait,
}

SEGMENTS: dict[str, str] = {
    "SYN next": "S r",
    "SYN of old": "S r-1",
    "SYN in window": "S r+100",
    "SYN outside": "S w+100",
    "SYN with text": "S r:r+10",
    "SYN-ACK next": "S. r ack n",
    "SYN-ACK of old": "S. r-1 ack n",
    "SYN-ACK wrong": "S. r-1 ack n+1",
    "ACK of all": ". r ack n",
    "ACK again": ". r ack u",
    "ACK too old": ". r ack u-200000",
    "ACK unsent": ". r ack n+1",
    "ACK old seq": ". r-1 ack n",
    "ACK in window": ". r+100 ack n",
    "ACK at right edge": ". w ack n",
    "ACK outside": ". w+1 ack n",
    "text in order": "P. r:r+100 ack n",
    "text, old ACK": "P. r:r+100 ack u",
    "text ahead": "P. r+100:r+200 ack n",
    "text again": "P. r-100:r ack n",
    "text half old": "P. r-50:r+50 ack n",
    "text over edge": "P. w-50:w+50 ack n",
    "text outside": "P. w+100:w+200 ack n",
    "text, no ACK": "P r:r+100",
    "text, ACK unsent": "P. r:r+100 ack n+1",
    "FIN next": "F. r ack n",
    "FIN, old ACK": "F. r ack u",
    "FIN ahead": "F. r+100 ack n",
    "FIN again": "F. r-1 ack n",
    "FIN outside": "F. w+100 ack n",
    "FIN with text": "FP. r:r+100 ack n",
    "FIN, no ACK": "F r",
    "SYN-FIN": "SF r",
    "RST next": "R r",
    "RST-ACK next": "R. r ack n",
    "RST in window": "R r+1",
    "RST old": "R r-1",
    "RST outside": "R w+100",
    "SYN-RST": "SR r",
    "URG": "U. r:r+10 ack n urg 5",
    "no flag": "- r",
    "every flag": "FSRP.U r:r+10 ack n",
}


def ask(peer: Peer, state: str, segment: str) -> list[str]:
    """Brings the host into the state, sends the segment; what it answered and the state afterwards."""
    STATES[state](peer)
    return answer(peer, segment)


def answer(peer: Peer, segment: str) -> list[str]:
    """The host's answer and state; numbers about the window's right edge count from there."""
    edge = peer.names["w"]

    def from_edge(found: re.Match[str]) -> str:
        return f"w{int(found[0]) - edge:+d}"

    peer.send(segment)
    peer.host.settle()
    said = "; ".join(peer.words(packet) for packet in peer.heard())
    return [re.sub(r"\b6\d{4}\b", from_edge, said) or "nothing", peer.state()]


REMARKS = {
    "SYN-RECEIVED-2": "RFC 9293 section 3.10.7.4, fifth: our SYN is not acknowledged; Linux is content with SND.UNA",
    "FIN-WAIT-1-ORPHAN": "the duplicate is acknowledged; Linux has let go of the connection",
    "FIN-WAIT-2-ORPHAN": "RFC 9293 and RFC 5961 as in FIN-WAIT-2; Linux keeps only a mini-socket",
    "CLOSE-WAIT": "RFC 9293 section 3.10.7.4, seventh: text behind the FIN is ignored; Linux answers",
    "LAST-ACK": "RFC 9293 section 3.10.7.4, seventh: text behind the FIN is ignored; Linux answers",
    "CLOSING": "RFC 9293 section 3.10.7.4, seventh: text behind the FIN is ignored; Linux answers",
}
"""Why ustack does not do as Linux, where it does not."""


def remark(state: str, segment: str) -> str:
    behind_fin = state in ("CLOSE-WAIT", "CLOSING", "LAST-ACK")
    return REMARKS.get(state if behind_fin else segment) or REMARKS[state]


class Row:
    """What ``arrivals.txt`` says about one segment in one state: ustack's answer and state, the rules that refused;

    ``linux`` is the kernel's answer and state (mostly the same)."""

    def __init__(self, line: str) -> None:
        cells = [cell.strip() for cell in line.split("|")]
        self.state, self.segment = cells[:2]
        self.answer = cells[2:4]
        self.refused = cells[4]
        self.linux = self.answer

    def __repr__(self) -> str:
        return f"{self.state}, {self.segment}"


def read_table() -> list[Row]:
    """All rows; a line ``# Linux: ...`` behind a row says what the kernel does instead."""
    rows: list[Row] = []
    for line in TABLE.read_text("utf-8").splitlines():
        if line.startswith("# Linux: "):
            rows[-1].linux = [cell.strip() for cell in line[9:].partition(" (")[0].split("|")]
        elif not line.startswith("#"):
            rows.append(Row(line))
    return rows


def main() -> None:
    from tests.tcp.kernel_twin import kernel  # noqa: PLC0415 - only as root
    from tests.tcp.world import VirtualHost  # noqa: PLC0415

    print("# state | segment | answer | state after | refused as; written by: python -m tests.tcp.arrivals")
    with kernel() as twin:
        twin.be_patient()
        port = 10000
        for state, enter in STATES.items():
            for name, segment in SEGMENTS.items():
                port += 1
                ours = ask(Peer(VirtualHost(), port, port), state, segment)
                theirs = ask(Peer(twin, port, port), state, segment)
                peer = Peer(VirtualHost(), port, port)
                enter(peer)
                refused = ",".join(peer.refused(segment))
                print(f"{state:<17} | {name:<17} | {ours[0]:<36} | {ours[1]:<12} | {refused}".rstrip())
                if ours != theirs:
                    print(f"# Linux: {theirs[0]} | {theirs[1]} ({remark(state, name)})", flush=True)


if __name__ == "__main__":
    main()
