"""The runner as its users see it: verdicts, reports, the command line, the plugin, dialogues in Python."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import table
from mutants import mutants_of, passes

from ustack.packetdrill.command import add_arguments, run
from ustack.packetdrill.dialogue import Dialogue
from ustack.packetdrill.errors import Mismatch
from ustack.packetdrill.parser import parse_file
from ustack.packetdrill.report import explain
from ustack.packetdrill.runner import Verdict, run_text
from ustack.packetdrill.virtual import VirtualHost

RFC = Path(__file__).resolve().parent.parent / "rfc"

OPEN = """\
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < S  0:0(0) win 65535 <mss 1000>
+0   > S. 0:0(0) ack 1 <mss 1460>
+0.1 < .  1:1(0) ack 1 win 65535
+0   accept(3, ..., ...) = 4
"""


def outcome(text, *overrides):
    return run_text(text, VirtualHost, path="script", overrides=list(overrides))


def command(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("+0 read(4, ..., 10) = 5", "blocks"),
        ("+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = -1 EINVAL (no)", "another result"),
        ("+0 > . 1:1(0) ack 1", "nothing came until"),
        ("+0...0.1 read(4, ..., 10) = 5", "has not returned"),
        ("+0 %{ assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd }%", "the assertion failed: 10"),
        ("+0 %{ 1/0 }%", "ZeroDivisionError"),
        ("+0 %{ assert = }%", "cannot be read"),
        ("0.05 close(4) = 0", "later"),
    ],
)
def test_what_fails_says_why(line, said):
    result = outcome(OPEN + line)
    assert result.verdict is Verdict.FAIL
    assert said in explain(result)
    assert result.line == 8 or said == "has not returned"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("+0 mmap(4, 1) = 0", "mmap()"),
        ("+0 setsockopt(4, SOL_TCP, TCP_NONSENSE, [1], 4) = 0", "TCP_NONSENSE"),
        ("+0 `mkfifo /tmp/nothing`", "command: mkfifo /tmp/nothing"),
        ("+0 `sysctl -q net.ipv4.tcp_nonsense=1`", "sysctl net.ipv4.tcp_nonsense"),
        ("+0 %{ assert tcpi_nonsense == 1 }%", "tcpi_nonsense"),
        ("+0 send(4, ..., 1, MSG_ZEROCOPY) = 1", "MSG_ZEROCOPY"),
    ],
)
def test_what_is_not_there_is_named(line, name):
    result = outcome(OPEN + line)
    assert (result.verdict, result.summary) == (Verdict.UNSUPPORTED, name)


def test_a_failure_shows_both_sides():
    text = explain(outcome(OPEN + "+0 write(4, ..., 100) = 100\n+0 > . 2:102(100) ack 1"))
    for said in ("line 9", "flags   .          P.", "seq     2          1", "accept(3", "ESTABLISHED", "timers:", "»"):
        assert said in text


def test_a_refused_segment_is_explained():
    result = outcome(OPEN + "+0 < [badsum] P. 1:11(10) ack 1 win 9\n+0 > . 1:1(0) ack 11")
    assert "TCP_CHECKSUM" in explain(result)
    assert "RFC 9293 section 3.1" in explain(result)


def test_times_are_exact_with_exact_only():
    late = OPEN + "+0 write(4, ..., 9) = 9\n+0.003 > P. 1:10(9) ack 1"
    assert outcome(late).verdict is Verdict.PASS
    assert outcome(late, "exact=1").verdict is Verdict.FAIL
    assert outcome(late, "tolerance_usecs=1000").verdict is Verdict.FAIL


def test_what_nobody_expected_fails():
    sent = OPEN + "+0 write(4, ..., 9) = 9\n"
    assert outcome(sent).verdict is Verdict.PASS  # others' scripts end in the midst of a dialogue
    assert outcome(sent, "exact=1").verdict is Verdict.FAIL
    spoken = sent + "+0.1 < . 1:1(0) ack 10 win 9"
    assert outcome(spoken, "exact=1").verdict is Verdict.FAIL
    assert outcome(spoken).verdict is Verdict.PASS  # Linux's tool reads packets only for a line that expects one
    assert outcome(spoken + "\n+0 > . 1:1(0) ack 1").verdict is Verdict.FAIL  # ... and finds the first one then


def test_segments_are_joined_unless_strict():
    text = OPEN + "+0 write(4, ..., 2000) = 2000\n+0 > P. 1:2001(2000) ack 1"
    assert outcome(text).verdict is Verdict.PASS
    assert outcome(text, "strict_segments=1").verdict is Verdict.FAIL


def test_boundaries_can_be_ignored_and_that_is_said():
    text = OPEN + "+0 write(4, ..., 2000) = 2000\n+0 > . 1:501(500) ack 1\n+0 > P. 501:2001(1500) ack 1"
    assert outcome(text).verdict is Verdict.FAIL
    result = outcome(text, "boundaries=ignore")
    assert result.verdict is Verdict.PASS
    assert result.relaxed == ["segment boundaries"]


def test_the_same_every_time():
    text = (RFC / "9293/3.8.1-rto-backoff.pkt").read_text()
    dialogues = {tuple((entry.at, entry.text) for entry in outcome(text).entries) for _ in range(3)}
    assert len(dialogues) == 1


def test_command_line(tmp_path, capsys):
    good, bad, odd = tmp_path / "good.pkt", tmp_path / "bad.pkt", tmp_path / "odd.pkt"
    good.write_text(OPEN)
    bad.write_text(OPEN + "+0 read(4, ..., 10) = 5")
    odd.write_text("0 mmap(1) = 0")
    assert command(good, odd) == 0
    assert capsys.readouterr().out.endswith("1 passed, 0 failed, 1 unsupported\n")
    junit, pcaps = tmp_path / "junit.xml", tmp_path / "pcap"
    assert command(tmp_path, tmp_path / "none.pkt", "--junit", junit, "--pcap", pcaps, "--trace") == 1
    assert capsys.readouterr().out.endswith("1 passed, 2 failed, 1 unsupported\n")
    suite = ET.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    assert (pcaps / "good.pkt.pcap").read_bytes()[:4] == b"\x4d\x3c\xb2\xa1"


def test_a_definition_on_the_command_line(tmp_path):
    script = tmp_path / "a.pkt"
    script.write_text("0 socket(..., SOCK_STREAM, PROTO) = 3")
    assert command(script, "-D", "PROTO=IPPROTO_TCP") == 0


def test_dialogue_in_python():
    with Dialogue() as sim:
        sim.listen()
        sim.inject("S 0:0(0) win 65535 <mss 1000>")
        sim.expect("S. 0:0(0) ack 1 <mss 1460>")
        sim.after(0.1)
        sim.inject(". 1:1(0) ack 1 win 65535")
        sim.call("accept(3, ..., ...) = 4")
        for start in range(1, 3001, 1000):
            assert sim.call("write(4, ..., 1000) = 1000") == 1000
            assert sim.expect(f"P. {start}:{start + 1000}(1000) ack 1").window == 64240
            sim.after(0.1)
            sim.inject(f". 1:1(0) ack {start + 1000} win 65535")
        assert sim.info()["tcpi_bytes_acked"] == 3000
        sim.expect_nothing(10)
        assert sim.now == pytest.approx(10.4)
    assert "accept" in sim.ladder()


def test_dialogue_fails_for_what_is_left():
    with pytest.raises(Mismatch, match="does not expect"), Dialogue() as sim:  # noqa: PT012
        sim.listen()
        sim.inject("S 0:0(0) win 65535 <mss 1000>")
        sim.after(0.5)
        sim.call("close(3) = 0")


def test_fixture(packetdrill):
    packetdrill(OPEN, exact=True)
    with pytest.raises(Exception, match="another result"):
        packetdrill(OPEN + "+0 close(4) = 5")


SAMPLE = [path for path in sorted(RFC.rglob("*.pkt")) if "expected failure:" not in path.read_text()][::6]


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_mutants_die(path):
    """Every sixth script here; ``mutants.py`` runs them all. What lives is named: see EQUIVALENT."""
    script = parse_file(path)
    assert passes(script)
    alive = [mutant.name for mutant in mutants_of(script) if passes(mutant.script)]
    assert all(name.endswith(EQUIVALENT) for name in alive)
    assert len(alive) <= 8


EQUIVALENT = ("expectation removed", "expectation repeated")
"""Timers: without one of the resends that a script lists, the rest, whose times are relative, is the same
dialogue some moments earlier; and in a row of equal probes one more or one less is as right."""


def test_the_table_is_current():

    assert (RFC / "README.md").read_text(encoding="utf-8") == table.table(), "run python tests/rfc/table.py"
