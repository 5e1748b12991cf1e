"""What a plot rests on: samples of the connections and of the bottleneck's queue, and a bound of what is kept."""

from __future__ import annotations

import pytest

from ustack.lab import Lab, flows, question
from ustack.lab.question import REGISTRY
from ustack.lab.report import thinned
from ustack.lab.world import Lab as World


@pytest.fixture
def lab() -> World:
    @question("Z9", "How is a flow sampled?", "A bottleneck.", link="delay=20ms,rate=2Mbit,limit=10")
    def flow(lab: Lab) -> None:
        """Nothing: the test does it."""

    return World(REGISTRY.pop("Z9"))


def test_samples_have_what_a_plot_needs(lab: World) -> None:
    flows.listen_to_flows(lab.server)
    with lab.unseen("a flow", every=0.05):
        flow = flows.start_flow(lab.client, lab.server, "bbr", 40001, 100_000)
        lab.pass_time(1)
    views = lab.views(lab.client, 40001)
    assert 5 <= len(views) <= 21
    assert {view.at % 50_000_000 for view in views} == {0}
    assert max(view.snapshot.cwnd for view in views) > 10 * 1448
    assert max(view.snapshot.in_flight for view in views) > 5 * 1448
    assert views[-1].snapshot.srtt > 40_000_000
    assert views[-1].snapshot.pacing_rate > 0
    queue = [packets for _, sender, packets in lab.report.waiting if sender == "client"]
    assert max(queue) > 5
    assert queue[-1] == 0
    flows.stop_flow(flow)
    lab.close()


def test_a_run_of_any_length_keeps_so_many_views(lab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ustack.lab.world.MOST_VIEWS", 100)
    flows.listen_to_flows(lab.server)
    flows.start_flow(lab.client, lab.server, "reno", 40001, 300_000)
    lab.pass_time(2)
    views = lab.views(lab.client, 40001)
    assert len(lab.report.views) <= 100
    assert views[0].at < 100_000_000
    assert views[-1].snapshot.snd_una == 300_001
    lab.close()


def test_thinning_keeps_every_second_view_and_the_last(lab: World) -> None:
    flows.listen_to_flows(lab.server)
    flows.start_flow(lab.client, lab.server, "reno", 40001, 10_000)
    lab.pass_time(1)
    views = lab.views(lab.client, 40001)
    half = thinned(views)
    assert len(views) / 2 <= len(half) <= len(views) / 2 + 1
    assert half[-1] is views[-1]
    assert half[0] is views[0]
    lab.close()


def test_jain() -> None:
    assert flows.jain([1, 1]) == 1
    assert flows.jain([1, 0]) == 0.5
