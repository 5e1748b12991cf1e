"""The harness against the kernel's own TCP in namespaces of its own: short runs, no figure is judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tools.bench import build, machine, netns, offload, roster, run
from tools.bench.__main__ import chosen_cases, chosen_subjects
from tools.bench.cases import CASES, compare
from tools.bench.netns import Link
from tools.bench.run import Conditions, NotMeasured

SHORT = Conditions(seconds=0.05, warm_up=0.02, placement="free")


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("cc") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not can_make_namespaces(), reason="no right to make network namespaces here")


@pytest.fixture(scope="module", autouse=True)
def client():
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return build.client()


@needs_namespaces
@pytest.mark.parametrize("name", ["kernel-loopback", "kernel-veth", "kernel-veth-plain"])
@pytest.mark.parametrize("mode", ["in", "out", "rr", "connects"])
def test_the_client_measures_the_kernel(name, mode):
    with run.serving(roster.ALL[name], SHORT) as live:
        answer = run.ask(live, SHORT, mode).answer
    assert answer["mode"] == mode
    assert answer.get("gbit", 1) > 0
    assert answer.get("failed", 0) == 0


@needs_namespaces
@pytest.mark.parametrize("mode", ["in", "out"])
def test_many_flows(mode):
    with run.serving(roster.ALL["kernel-loopback"], SHORT, "many") as live:
        answer = run.ask(live, SHORT, mode, "--flows", "8").answer
    assert answer["flows"] == 8
    assert 0 < answer["jain"] <= 1


@needs_namespaces
def test_held_connections_answer_pings():
    with run.serving(roster.ALL["kernel-veth"], SHORT, "idle") as live:
        words = live.bed.client.command(*run.client_words("hold", live.bed.address, SHORT, "--count", "50"))
        done = subprocess.run(words, input="ping 20\nquit\n", capture_output=True, text=True, timeout=30, check=True)
    held, ping = map(json.loads, done.stdout.splitlines())
    assert held == {"mode": "hold", "held": 50}
    assert ping["count"] == 20


@needs_namespaces
def test_every_offload_is_off():
    with netns.bed(Link.VETH_PLAIN) as bed:
        script = "from tools.bench import offload; print(offload.switch_off('v0'))"
        assert bed.client.run("python3", "-c", script).strip() == "[]"


@needs_namespaces
def test_a_sink_that_lies_about_its_count_is_a_failed_run():
    """A server that answers a wrong number must not become a figure."""
    liar = (
        "import signal, socket\n"
        "s = socket.create_server(('127.0.0.1', 7001)); print('ready', flush=True)\n"
        "c, _ = s.accept()\n"
        "while c.recv(1 << 20): pass\n"
        "c.sendall(bytes(8)); c.close(); signal.pause()\n"
    )
    subject = roster.Subject("liar", "a liar", "peer", Link.LOOPBACK, {"services": ("python3", "-c", liar)})
    with run.serving(subject, SHORT) as live, pytest.raises(NotMeasured, match="another number"):
        run.ask(live, SHORT, "in")


@needs_namespaces
def test_a_subject_that_dies_is_a_reason():
    subject = roster.Subject("dead", "dead", "peer", Link.LOOPBACK, {"services": ("sh", "-c", "echo gone >&2; exit 3")})
    with pytest.raises(NotMeasured, match="gone"), run.serving(subject, SHORT):
        pass


@needs_namespaces
def test_a_case_gives_a_ratio_for_who_is_there_and_a_reason_for_who_is_not():
    result = compare(CASES["P1"], 1, SHORT, ["kernel-veth", "ghost"], lambda text: None)
    by_name = {line.subject: line for line in result.lines}
    assert by_name["kernel-veth"].estimate is not None
    assert by_name["kernel-loopback"].kind == "baseline"


def test_the_flood_refuses_what_is_not_of_the_test_network(client):
    for words in (["192.0.2.1", "--device", "lo"], ["10.9.0.2"], ["::1", "--device", "lo"]):
        done = subprocess.run([str(client), "flood", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1


def test_missing_programs_have_reasons():
    ghost = roster.Subject("ghost", "a ghost", "peer", Link.TUN, {"http": ("no-such-program",)})
    assert "no program for this case" in str(ghost.missing("services"))
    assert "not there" in str(ghost.missing("http"))


def test_names_choose():
    assert chosen_cases("P3") == ["P3in", "P3out"]
    assert chosen_cases("p6") == ["P6"]
    assert {"P1", "P2", "P4", "P5", "P7", "P8", "P9", "P10", "P12"} <= set(chosen_cases(""))
    assert "smoltcp" in chosen_subjects("smoltcp")
    assert "lwip" not in chosen_subjects("smoltcp")
    with pytest.raises(ValueError, match="no case"):
        chosen_cases("P99")
    with pytest.raises(ValueError, match="no subject"):
        chosen_subjects("windows")


def test_placements():
    assert machine.placement("free").client == frozenset()
    split = machine.placement("split")
    if len(os.sched_getaffinity(0)) > 1:
        assert not split.client & split.subject
    with pytest.raises(ValueError, match="placement"):
        machine.placement("elsewhere")


def test_what_we_use_ourselves_is_not_foreign():
    with machine.watched(1) as watch:
        sum(range(200_000))
    assert 0 <= watch.foreign <= 1


def test_unknown_devices_raise():
    with pytest.raises(OSError, match="No such device"):
        offload.switch_off("nodevice0")
