"""What scripts of the field use beyond the plain dialogue: each form is read, carried out and compared."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET

import pytest

from ustack.packetdrill.command import add_arguments, run
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.printer import format_script
from ustack.packetdrill.runner import Verdict, run_text
from ustack.packetdrill.virtual import VirtualHost, machines_algorithm

LISTEN = """\
0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0   bind(3, ..., ...) = 0
+0   listen(3, 1) = 0
"""
OPEN = f"""{LISTEN}\
+0   < S  0:0(0) win 65535 <mss 1000>
+0   > S. 0:0(0) ack 1 <mss 1460>
+0.1 < .  1:1(0) ack 1 win 65535
+0   accept(3, ..., ...) = 4
"""
DATA = "+0 < P. 1:101(100) ack 1 win 9\n+0 > . 1:1(0) ack 101\n"
CUBIC = '+0 setsockopt(4, SOL_TCP, TCP_CONGESTION, "cubic", 5) = 0\n'
BLOCKED = "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"


def outcome(text, *overrides):
    return run_text(text, VirtualHost, path="script", overrides=list(overrides))


def passes(text, *overrides):
    result = outcome(text, *overrides)
    assert (result.verdict, result.summary, result.differences) == (Verdict.PASS, "", [])


@pytest.mark.parametrize(
    "line",
    [
        "+0 < R 1:1(0) ack 7 win 0\n+0 read(4, ..., 9) = -1 ECONNRESET (reset)",
        "+0 < - 1:1(0) ack 7 win 0",
        "+0 write(4, ..., 500 + 2 * 250) = 1000\n+0 > P. 1:1001(1000) ack 1",
        "+0 write(4, ..., 2000 - 500 * 2) = 1000\n+0 > P. 1:1001(1000) ack 1",
        "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], sizeof(int)) = 0",
        "+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=0, linger=0}, sizeof(struct linger)) = 0",
        CUBIC + '+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, "cubic", [5]) = 0',
        CUBIC + '+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, "cubic", [16]) = 0',
        "+0 %{ assert tcpi_state == TCPI_ESTABLISHED == TCP_ESTABLISHED }%",
        "+0 %{ assert tcpi_snd_cwnd == 10;\\\n }%",
        "+0 %{ assert tcpi_snd_cwnd == 10;\\\n      assert tcpi_unacked == 0;\\\n}%",
        "+0 fcntl(4, F_GETFD) = 0\n+0 fcntl(4, F_SETFD, FD_CLOEXEC) = 0\n+0 fcntl(4, F_GETFD) = 1",
        "+0 epoll_create(0) = -1 EINVAL (no)",
        "+0 epoll_create(1) = 5\n+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, NULL) = -1 ENOENT (no)",
        "+0 epoll_create(1) = 5\n+0 epoll_wait(5, ..., 0, 0) = -1 EINVAL (no)",
    ],
)
def test_forms_that_pass(line):
    passes(OPEN + line)


def test_what_sets_no_congestion_control_has_the_machines(tmp_path):
    """Else the same script would be put to one algorithm here, and to another one with --live."""
    for text, name in (("bbr\n", "bbr"), ("reno\n", "reno"), ("nosuch\n", "cubic")):
        (tmp_path / "knob").write_text(text)
        assert machines_algorithm(tmp_path / "knob") == name
    assert machines_algorithm(tmp_path / "none") == "cubic"
    name = machines_algorithm()
    passes(OPEN + f'+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, "{name}", [{len(name)}]) = 0')


def test_a_request_for_a_cookie_needs_no_nops():
    script = parse_script("0 < S 0:0(0) win 9 <mss 1000,FO>")
    assert script == parse_script("0 < S 0:0(0) win 9 <mss 1000,FO,nop,nop>")
    assert parse_script(format_script(script)) == script


def test_what_an_ack_number_without_its_flag_says_is_compared():
    refused = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 < . 1:1(0) ack 1 win 9\n+0 > R 1:1(0) ack %d"
    assert outcome(refused % 0).verdict is Verdict.PASS
    assert [name for name, _, _ in outcome(refused % 1).differences] == ["ack field"]


NULLS = {
    "read(4, NULL, 100)": "EFAULT",
    "recv(4, NULL, 100, 0)": "EFAULT",
    "recvfrom(4, NULL, 100, 0, ..., ...)": "EFAULT",
    "readv(4, NULL, 1)": "EFAULT",
    "recvmsg(4, NULL, 0)": "EFAULT",
    "write(4, NULL, 100)": "EFAULT",
    "send(4, NULL, 100, 0)": "EFAULT",
    "sendto(4, NULL, 100, 0, ..., ...)": "EFAULT",
    "writev(4, NULL, 1)": "EFAULT",
    "sendmsg(4, NULL, 0)": "EFAULT",
    "poll(NULL, 1, 0)": "EFAULT",
    "bind(3, NULL, 16)": "EFAULT",
    "connect(4, NULL, 16)": "EFAULT",
    "getsockopt(4, SOL_TCP, TCP_NODELAY, NULL, [4])": "EFAULT",
    "getsockopt(4, SOL_TCP, TCP_NODELAY, [0], NULL)": "EFAULT",
    "setsockopt(4, SOL_TCP, TCP_NODELAY, NULL, 4)": "EFAULT",
    "read(9, NULL, 100)": "EBADF",
    "writev(9, NULL, 1)": "EBADF",
}


@pytest.mark.parametrize("call", NULLS)
def test_null_pointers(call):
    passes(OPEN + DATA + f"+0 {call} = -1 {NULLS[call]} (no)")


def test_a_null_pointer_matters_when_there_is_something_to_copy():
    passes(OPEN + BLOCKED + "+0 read(4, NULL, 100) = -1 EAGAIN (nothing)\n+0 write(4, NULL, 0) = 0")
    passes(OPEN + "+0 < F. 1:1(0) ack 1 win 9\n+0 > . 1:1(0) ack 2\n+0 read(4, NULL, 100) = 0")
    passes(OPEN + "+0 shutdown(4, SHUT_WR) = 0\n+0 write(4, NULL, 100) = -1 EPIPE (over)")


@pytest.mark.parametrize("address", ["AF_UNSPEC", "{sa_family=AF_UNSPEC}", "{sa_family=AF_UNSPEC, sin_port=htons(0)}"])
def test_connect_to_no_family_ends_a_connection(address):
    passes(
        OPEN
        + f"""\
        +0 connect(4, {address}, ...) = 0
        +0 > R. 1:1(0) ack 1
        +0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0
        +0 read(4, ..., 9) = -1 ENOTCONN (not)
        +0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
        +0 connect(4, ..., ...) = -1 EINPROGRESS (again)
        """
    )


FILES = """\
`head -c 10k /dev/zero >/tmp/zeros
truncate -s 5 /tmp/few; dd if=/dev/zero of=/tmp/more bs=1460 count=10 status=none 2> /dev/null`
"""


def test_files_of_zeros_exist_for_the_script_alone():
    passes(
        FILES
        + OPEN
        + """\
        +0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
        +0 open("/tmp/few", O_RDONLY) = 5
        +0 sendfile(4, 5, NULL, 3) = 3
        +0 > P. 1:4(3) ack 1
        +0 sendfile(4, 5, NULL, 99) = 2
        +0 > P. 4:6(2) ack 1
        +0 sendfile(4, 5, NULL, 99) = 0
        +0 sendfile(4, 5, [1], 2) = 2
        +0 > P. 6:8(2) ack 1
        +0 `rm -f /tmp/few /tmp/never`
        +0 open("/tmp/few", O_RDONLY) = -1 ENOENT (gone)
        +0 sendfile(4, 4, NULL, 5) = -1 EINVAL (a socket)
        +0 sendfile(4, 4, [0], 5) = -1 ESPIPE (which has no places)
        +0 close(5) = 0
        `rm -f /tmp/zeros /tmp/more`"""
    )


def test_commands_end_as_they_say():
    passes(OPEN + "+0 `exit 0`")
    passes(OPEN + "+0 `sysctl -q net.ipv4.tcp_sack=0; exit 0; reboot`")
    assert "status 3" in outcome(OPEN + "+0 `exit 3`").summary
    assert "no such file" in outcome(OPEN + "+0 `rm /tmp/never-made`").summary
    assert outcome(OPEN + "+0 `head -c 10 /dev/random > /tmp/x`").verdict is Verdict.UNSUPPORTED


def test_an_edge_is_reported_once_and_again_when_more_comes():
    watched = "+0 epoll_create(1) = 5\n+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, fd=4}) = 0\n"
    passes(
        OPEN
        + watched
        + """\
        +0 epoll_wait(5, ..., 1, 0) = 0
        +0 < P. 1:11(10) ack 1 win 9
        +0 > . 1:1(0) ack 11
        +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
        +0 epoll_wait(5, ..., 1, 0) = 0
        +0 < P. 11:21(10) ack 1 win 9
        +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
        +0 read(4, ..., 5) = 5
        +0 epoll_wait(5, ..., 1, 0) = 0
        """
    )


def test_code_sees_the_connection_that_a_blocking_accept_has_just_delivered():
    passes(
        LISTEN
        + """\
        +0...0.1 accept(3, ..., ...) = 4
        +0   < S  0:0(0) win 65535 <mss 1000>
        +0   > S. 0:0(0) ack 1 <mss 1460>
        +0.1 < .  1:1(0) ack 1 win 65535
        +0   %{ assert tcpi_state == TCP_ESTABLISHED }%
        """
    )


def command(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def test_expected_failures_of_a_folder_are_counted_as_such(tmp_path, capsys):
    fails = OPEN + "+0 > . 1:1(0) ack 9\n"
    (tmp_path / "good.pkt").write_text(OPEN)
    (tmp_path / "bad.pkt").write_text("// expected failure: nobody sends this\n" + fails)
    assert command(tmp_path, "--junit", tmp_path / "out.xml") == 0
    said = capsys.readouterr().out
    assert "bad.pkt: expected failure: nobody sends this [a packet was expected" in said
    assert said.endswith("1 passed, 0 failed, 0 unsupported, 1 expected failure\n")
    skipped = ET.parse(tmp_path / "out.xml").getroot().find(".//skipped")
    assert skipped is not None
    assert skipped.attrib["message"].startswith("expected failure: nobody")
    (tmp_path / "bad.pkt").write_text("// expected failure: it passes\n" + OPEN)
    assert command(tmp_path) == 1
    assert "take that line out" in capsys.readouterr().out


@pytest.mark.parametrize(
    "assignment",
    [
        "ip_no_pmtu_disc=2",
        "tcp_comp_sack_nr=44",
        "tcp_mtu_probing=1",
        "tcp_no_metrics_save=0",
        "tcp_shrink_window=1",
        "tcp_sack=x",
    ],
)
def test_a_sysctl_that_is_not_followed_is_refused_by_its_name(assignment):
    result = outcome(OPEN + f"+0 `sysctl -q net.ipv4.{assignment}`")
    assert result.verdict is Verdict.UNSUPPORTED
    assert result.summary.replace("'", "").startswith(f"sysctl net.ipv4.{assignment}")


@pytest.mark.parametrize("assignment", ["tcp_ecn=4", "tcp_min_tso_segs=4", "tcp_tso_rtt_log=0", "tcp_autocorking=0"])
def test_a_sysctl_that_is_followed_is_taken(assignment):
    passes(OPEN + f"+0 `./set_sysctls.py /proc/sys/net/ipv4/{assignment}`")


@pytest.mark.parametrize(
    ("packet", "most"),
    [("P. 1:65497(65496) ack 1 win 9", 65495), ("P. 1:65485(65484) ack 1 win 9 <nop,nop,TS val 1 ecr 0>", 65483)],
)
def test_what_fits_no_packet_is_said(packet, most):
    assert f"holds {most} at most" in outcome(OPEN + f"+0 < {packet}").summary


def test_a_super_segment_counts_as_one_as_on_linux_behind_a_tun_device():
    passes(
        "--mss=1000\n" + OPEN + "+0 < P. 1:20001(20000) ack 1 win 9\n+0 > . 1:1(0) ack 20001\n"
        "+0 %{ assert (tcpi_segs_in, tcpi_rcv_mss) == (3, 1000), (tcpi_segs_in, tcpi_rcv_mss) }%"
    )
