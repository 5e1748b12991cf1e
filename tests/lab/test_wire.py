"""What the wire did to packets stands in the report, whether a rule or the link's model did it."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.lab.report import Flight
from ustack.lab.world import answer

BULK = 100_000


def transfer(lab: Lab) -> None:
    """The client sends much, the server reads it."""
    listener = lab.server.listen()
    client = lab.client.connect(lab.server)
    served, _ = listener.accept()
    client.sendall(bytes(BULK))
    client.close()
    while served.recv(1 << 20):
        pass


def flights_of(link: str) -> list[Flight]:
    return answer(question("Z1", "?", ".", link=link)(transfer)).flights


def test_what_the_link_loses_is_lost() -> None:
    lost = [one for one in flights_of("delay=10ms,loss=10%") if not one.arrivals and one.is_lost]
    assert lost


def test_a_turned_bit_is_told_and_refused() -> None:
    spoilt = [one for one in flights_of("delay=10ms,corrupt=10%") if one.fate == "corrupted"]
    assert spoilt
    assert all(one.drop or not one.arrivals for one in spoilt)


def test_a_rule_spoils_just_the_packet_it_is_about() -> None:
    def spoilt_third(lab: Lab) -> None:
        lab.link.corrupt(lab.client, nth=3, text=True)
        transfer(lab)

    flights = answer(question("Z2", "?", ".")(spoilt_third)).flights
    texts = [one for one in flights if one.sender == "client" and getattr(one.frame, "payload_length", 0)]
    assert [one.drop for one in texts[:5]] == ["", "", "TCP_CHECKSUM", "", ""]


def test_copies_are_told() -> None:
    assert any(one.fate == "repeated" and len(one.arrivals) == 2 for one in flights_of("delay=10ms,duplicate=10%"))


def test_closing_at_the_end_of_the_run_is_no_part_of_it() -> None:
    def left_open(lab: Lab) -> None:
        lab.server.listen()
        lab.client.connect(lab.server)

    flights = answer(question("Z3", "?", ".")(left_open)).flights
    assert [one.text.split()[0] for one in flights] == ["S", "S.", "."]
