"""Constructs of the language that scripts of others use, each shown to be read, and to be compared, not passed over."""

from __future__ import annotations

import pytest

from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.report import explain, one_line
from ustack.packetdrill.runner import Verdict, run_text
from ustack.packetdrill.shell import understand
from ustack.packetdrill.virtual import VirtualHost

LISTEN = """\
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
+0   < 1234 > 8080 S  0:0(0) win 65535 <mss 1000>
+0   > 8080 > 1234 S. 0:0(0) ack 1 <mss 1460>
+0.1 < 1234 > 8080 .  1:1(0) ack 1 win 65535
"""
OPEN = LISTEN + "+0   accept(3, ..., ...) = 4\n"
PEER = '{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("%s")}'
UDP = """\
0    socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0   bind(3, ..., ...) = 0
+0   < 777 > 8080 udp (50)
"""


def outcome(text, *overrides, path="script"):
    return run_text(text, VirtualHost, path=path, overrides=list(overrides))


@pytest.mark.parametrize(
    "line",
    [
        "+ 0.1 write(4, ..., 10) = 10",
        "+0 %{ import math\n      assert math.floor(2.5) == 2\n      }%",
        "+0 %{ if tcpi_snd_cwnd == 10:\n      a = 1\n   else:\n      a = 2\n   assert a == 1 }%",
        "+0 %{\n      assert tcpi_snd_cwnd == 10; \\\n  assert tcpi_unacked == 0\n}%",
        "+0 ioctl(4, SIOCOUTQNSD, [0]) = 0",
        "+0 write(4, ..., 0) = 0 +0 close(4) = 0",
    ],
)
def test_forms_that_pass(line):
    assert outcome(OPEN + line).verdict is Verdict.PASS


def test_an_option_may_have_space_around_its_sign():
    assert parse_script('--mss = 1000\n--define="A=1"\n0 close(3) = 0').settings[0].value == "1000"


def test_a_text_cut_short_is_a_text():
    assert parse_script('0 open("abc"..., 0) = 3') == parse_script('0 open("abc", 0) = 3')


@pytest.mark.parametrize(
    ("port", "host", "field"), [(1234, "192.0.2.1", ""), (1235, "192.0.2.1", "port"), (1234, "192.0.2.9", "addr")]
)
def test_the_address_of_accept_is_compared(port, host, field):
    result = outcome(LISTEN + f"+0 accept(3, {PEER % (port, host)}, [16]) = 4")
    assert [name for name, _, _ in result.differences] == ([f"address.sin_{field}"] if field else [])
    assert result.verdict is (Verdict.FAIL if field else Verdict.PASS)


@pytest.mark.parametrize(
    "call",
    [
        "recvfrom(3, ..., 100, 0, %s, ...) = 50",
        "recvmsg(3, {msg_name(...)=%s, msg_iov(1)=[{..., 100}], msg_flags=0}, 0) = 50",
    ],
)
def test_the_sender_of_a_datagram_is_compared(call):
    assert outcome(UDP + "+0 " + call % (PEER % (777, "192.0.2.1"))).verdict is Verdict.PASS
    assert outcome(UDP + "+0 " + call % (PEER % (778, "192.0.2.1"))).verdict is Verdict.FAIL


def test_an_ecr_of_nobody_fails():
    result = outcome(OPEN + "+0 < P. 1:11(10) ack 1 win 100 <nop,nop,TS val 100 ecr 77>")
    assert "none yet" in result.summary


@pytest.mark.parametrize(
    "command",
    [
        "nstat | grep -q TcpExtTCPDSACKUndo",
        "sysctl -q net.ipv4.tcp_sack=0 | cat",
        "tc qdisc add dev tun0 root netem loss 10%",
        "sysctl -q net.ipv4.tcp_sack=$(cat /tmp/x)",
        "echo 1 > /tmp/x > /tmp/y",
        "./no-such-script.sh",
    ],
)
def test_commands_that_do_more_are_refused(command):
    result = outcome(OPEN + f"+0 `{command}`")
    assert result.verdict is Verdict.UNSUPPORTED
    assert command in result.summary


def test_commands_that_are_understood():
    assert understand("nstat -n > /dev/null 2>&1\ntc qdisc replace dev tun0 root pfifo\nset -e")
    assert understand("echo 0 > /proc/sys/net/ipv4/tcp_sack")[0].sysctls == [("net.ipv4.tcp_sack", "0")]


def test_scripts_of_the_suites_own_are_read(tmp_path):
    (tmp_path / "quiet.sh").write_text("#!/bin/sh\n# no SACK\nset -e\nsysctl -q net.ipv4.tcp_sack=0\n")
    (tmp_path / "odd.sh").write_text("#!/bin/sh\nreboot\n")
    script = OPEN.replace("<mss 1000>", "<mss 1000,sackOK,nop,nop>")
    path = str(tmp_path / "a.pkt")
    assert outcome("`./quiet.sh`\n" + script, path=path).verdict is Verdict.PASS
    assert outcome("--init_scripts=./quiet.sh,./quiet.sh\n" + script, path=path).verdict is Verdict.PASS
    assert outcome("--init_scripts=./odd.sh\n" + script, path=path).summary == "command: reboot"


def test_what_is_not_fatal_is_said():
    wrong = LISTEN.replace("mss 1460", "mss 1461") + "+0 listen(3, 1) = -1 EINVAL (no)"
    assert outcome(wrong).verdict is Verdict.FAIL
    assert outcome(wrong, "non_fatal=packet").verdict is Verdict.FAIL
    result = outcome(wrong, "non_fatal=packet,syscall")
    assert result.verdict is Verdict.PASS
    assert "line 5: a packet came" in one_line(result)
    assert "line 7: listen() gave another result" in one_line(result)


# What a first-time writer gets wrong, and what the answer must contain


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("+0 write(4, ..., 9) = 9\n+0 > P. 0:9(9) ack 1", ("seq", "expected with:  +0 > ", "P. 1:10(9) ack 1")),
        ("+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9)", ("none written", "expected with:", "P. 1:10(9) ack 1")),
        ("+100ms close(4) = 0", ("script:8:5", "seconds without a unit", "'ms'")),
        ("+0 < PZ. 1:2(1) ack 1 win 9", ("script:8:6", "'Z' is no flag")),
        ("+0 > PA 1:2(1) ack 1", ("script:8:16", "AE of Accurate ECN, not ACK")),
        ("+0 write(4, ..., 9)\n+0 > P. 1:10(9) ack 1", ("script:8:20", "the result of write() on this line")),
        ("+0 wirte(4, ..., 9) = 9", ("unsupported: wirte() (line 8; did you mean write?)",)),
        ("+0 setsockopt(4, SOL_TCP, TCP_NODELY, [1], 4) = 0", ("line 8; did you mean TCP_NODELAY",)),
        ("+0 read(4, ..., 9) = -1 EAGIAN (xx)", ("unsupported: EAGIAN (line 8; did you mean EAGAIN?)",)),
        ("+0 < S 0:0(0) win 9 <mss 1000,sackok>", ("script:8:31", "did you mean sackOK")),
        ("+0 < . 1:1(0) <nop,nop,nop,nop> win 9", ("script:8:14", "'win N' here, after ack, before <options>")),
        ("+0 < P. 1:11(10) ack 1\n+0 close(4) = 0", ("script:8:23", "'win N'")),
        ("+0 write(4, 100) = 100", ("script:8", "takes 3 arguments, not 2", "write(4, ..., 1000) = 1000")),
        ('+0 setsockopt(4, SOL_TCP, TCP_CONGESTION, "reno, 4) = 0', ("script:8:43", "not closed")),
        ("+0 < P. 1:9(8) ack 1 win 9\n+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9) ack 9", ("ACK of its own first",)),
        ("+0 write(4, ..., 9) = 9\n+.1 < . 1:1(0) ack 10 win 9\n+0 > P. 1:11(10) ack 1", ("before the event above",)),
        ("+0 read(4, ..., 9) = 9", ("TIME...END", "+0...0.2 read(...)")),
        ("+0 %{ assert tcpi_snd_cwmd == 10 }%", ("did you mean tcpi_snd_cwnd",)),
        ("--mss=1000", ("script:8:1", "head of the file")),
        ("# a remark", ("script:8:1", "comments are '// ...'")),
    ],
)
def test_mistakes_are_explained(line, said):
    result = outcome(OPEN + line)
    assert result.verdict is not Verdict.PASS
    text = one_line(result) + "\n" + explain(result)
    assert [words for words in said if words not in text] == []


def test_the_window_scale_of_the_defaults_is_explained():
    text = OPEN.replace("<mss 1000>", "<mss 1000,nop,wscale 7>").replace("<mss 1460>", "<mss 1460,nop,wscale 8>")
    assert "tcp_rmem" in explain(outcome(text))


def test_a_misspelt_option_is_recognised():
    assert "did you mean tolerance_usecs" in outcome("--tolerance_usec=1\n" + OPEN).summary
