"""The data behind each graph: what a picture would show, without the picture."""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest

from tests.explain.captures import play, seen_at
from ustack.explain.flow import Flow
from ustack.explain.reading import read
from ustack.lab.world import Lab
from ustack.plot import decisions, scenario, wire
from ustack.plot.live import Recorder
from ustack.plot.panel import MOST, Marked, Panel, Picture, Samples, rates
from ustack.units import MILLISECOND, SECOND

SIZE = 120_000


def upload(lab: Lab) -> None:
    listener = lab.server.listen()
    client = lab.client.connect(lab.server)
    served, _ = listener.accept()
    lab.link.lose(lab.client, text=True, nth=20)
    client.setblocking(False)
    sent = got = 0
    while got < SIZE:
        with contextlib.suppress(BlockingIOError):
            sent += client.send(bytes(SIZE - sent)) if sent < SIZE else 0
        got += len(served.read_all())
        lab.pass_time(0.001)
    lab.settle()


@pytest.fixture(scope="module")
def lab() -> Lab:
    return play(upload)


@pytest.fixture(scope="module")
def flow(lab: Lab) -> Flow:
    (found,) = read(seen_at(lab, "client")).flows
    return found


def values(panel: Panel, name: str) -> list[float]:
    (found,) = [
        one.points for one in (*panel.curves, *panel.marks) if one.name == name or one.name.startswith(f"{name} (")
    ]
    return [value for _, value in found]


def panel(picture: Picture, title: str) -> Panel:
    (found,) = [one for one in picture.panels if one.title.startswith(title)]
    return found


def test_the_sequence_graph_ends_with_every_byte(flow: Flow) -> None:
    found = wire.time_sequence(flow, 0)
    assert values(found, "sent")[-1] == SIZE + 1
    assert values(found, "acknowledged")[-1] == SIZE + 1
    assert values(found, "acknowledged") == sorted(values(found, "acknowledged"))
    assert values(found, "resent") == values(found, "sent again later") == [1 + 19 * 1448]
    allowed = values(found, "receiver's window ends")
    assert allowed == sorted(allowed)
    (sacks,) = [one for one in found.marks if one.spans]
    assert all(high > low for (_, low), high in zip(sacks.points, sacks.spans, strict=True))


def test_throughput_adds_up_to_what_was_sent(flow: Flow) -> None:
    found = wire.throughput(flow, 0)
    for name, size in (("sent", SIZE + 1448), ("acknowledged", SIZE + 1)):
        (points,) = [curve.points for curve in found.curves if curve.name.startswith(name)]
        width = points[1][0] - points[0][0]
        assert sum(value for _, value in points[:-1]) * width / 8e9 == pytest.approx(size)


def test_round_trips_are_those_of_the_link(flow: Flow) -> None:
    found = values(wire.round_trips(flow, 0), "segment to its ACK")
    assert min(found) == 20 * MILLISECOND
    assert max(found) < 22 * MILLISECOND  # what the hole delayed was told by SACK in time


def test_in_flight_begins_and_ends_at_nothing(flow: Flow) -> None:
    found = wire.in_flight(flow, 0)
    flight = values(found, "in flight")
    assert flight[-1] == 0
    assert 14_480 <= max(flight) <= max(values(found, "receiver's window"))


def test_a_quiet_rest_is_not_drawn() -> None:
    def scene(lab: Lab) -> None:
        upload(lab)
        lab.pass_time(3600)
        lab.client.open[0].sendall(b"") if lab.client.open else None
        lab.client.close()
        lab.settle()

    (found,) = read(seen_at(play(scene), "client")).flows
    picture = wire.picture(found, 0)
    assert picture.length() > 3600 * SECOND
    assert picture.span()[1] - picture.span()[0] < 10 * SECOND
    assert "1 h" in picture.note


def test_the_decisions_of_a_lab_run(lab: Lab) -> None:
    picture = scenario.of_report(lab.report)
    cwnd = values(panel(picture, "Congestion window"), "cwnd")
    assert cwnd[0] == 10 * 1460 or cwnd[0] == 10 * 1448
    ssthresh = values(panel(picture, "Congestion window"), "ssthresh")
    assert ssthresh  # the loss set it
    assert min(ssthresh) < max(cwnd)
    assert values(panel(picture, "Sequence numbers"), "resent") == [1 + 19 * 1448]
    assert len(values(panel(picture, "Sequence numbers"), "marked lost")) == 1
    assert min(values(panel(picture, "Round trip"), "smoothed RTT")) >= 20 * MILLISECOND
    delivered = values(panel(picture, "Rates"), "delivered")
    assert max(delivered) > 1_000_000


def test_the_queue_of_a_bottleneck() -> None:
    def scene(lab: Lab) -> None:
        listener = lab.server.listen()
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        client.setblocking(False)
        for _ in range(400):
            with contextlib.suppress(BlockingIOError):
                client.send(bytes(65536))
            served.read_all()
            lab.pass_time(0.002)

    made = play(scene, rate="10Mbit", limit="30")
    picture = scenario.of_report(made.report, "delay=10ms,rate=10Mbit,limit=30")
    found = panel(picture, "Queue")
    assert 25 <= max(values(found, "waiting")) <= 31
    assert values(found, "no room: dropped")


def test_samples_are_bounded_and_keep_their_peaks() -> None:
    samples, marked, chance = Samples(), Marked(), random.Random(7)
    for at in range(1_000_000):
        samples.add(at, 5000 if at == 777_777 else chance.randrange(1000))
        marked.add(at, 1)
    assert len(samples.points) <= MOST + 1
    assert len(marked.points) <= MOST + 1
    assert max(value for _, value in samples.points) == 5000
    assert samples.points == sorted(samples.points)
    assert samples.points[0][0] < 2_000
    assert samples.points[-1][0] == 999_999
    assert marked.count == 1_000_000


def test_the_begin_is_as_fine_as_the_end() -> None:
    samples = Samples()
    for at in range(1_000_000):
        samples.add(at * 1000, at + (at % 3) * 10)
    instants = [at for at, _ in samples.points]
    gaps = [later - sooner for sooner, later in itertools.pairwise(instants)]
    assert max(gaps) <= 1_000_000_000 // 300
    assert all(abs(value - at / 1000) <= 20 for at, value in samples.points)
    assert len(samples.points) <= MOST


def test_very_many_at_one_instant() -> None:
    samples = Samples()
    for count in range(100_000):
        samples.add(7, count)
    assert len(samples.points) <= MOST
    assert samples.last() == 99_999


def test_a_level_stretch_takes_two_samples() -> None:
    samples = Samples()
    for at in range(1000):
        samples.add(at, 3)
    assert samples.points == [(0, 3), (999, 3)]


def test_rates_of_nothing_and_of_one_instant() -> None:
    assert rates([(5, 125)], 5, 5 + SECOND, 1)[0] == (5, 1000)
    assert {value for _, value in rates([], 0, SECOND)} == {0}


def test_a_recorder_follows_a_host(lab: Lab) -> None:
    def scene(lab: Lab) -> None:
        recorder.attach(lab.client.host)
        upload(lab)

    recorder = Recorder()
    play(scene)
    story = recorder.largest()
    assert story is not None
    picture = decisions.picture(story, story.who)
    assert values(panel(picture, "Sequence numbers"), "acknowledged")[-1] == SIZE + 1
    assert story.resent.count == 1
