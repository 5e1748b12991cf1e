"""ustack's iperf3 against itself and, where it is installed, against iperf3: on the kernel's loopback, by bytes."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest

from ustack.cli.command import main
from ustack.cli.values import size
from ustack.device.namespace import Namespace
from ustack.iperf3 import client, outcome, protocol
from ustack.iperf3.network import Network
from ustack.iperf3.protocol import ProtocolError, State
from ustack.iperf3.server import Server
from ustack.iperf3.settings import Test as Parameters
from ustack.iperf3.settings import from_parameters

MEGABYTE = 1 << 20
WAYS = [{}, {"reverse": True}, {"parallel": 3}, {"parallel": 3, "reverse": True}, {"bidirectional": True}]


def quiet(_parts: object) -> None:
    return None


@pytest.fixture
def server():
    waiting = Server(Network(), "127.0.0.1", 0)
    yield waiting
    waiting.close()


def in_thread(work):
    box: list[object] = []

    def body() -> None:
        try:
            box.append(work())
        except Exception as error:  # the test looks at it
            box.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread, box


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ours_against_ours_count_the_same_streams(server, way):
    thread, box = in_thread(lambda: server.serve_one(60, quiet))
    test = Parameters(total=8 * MEGABYTE, **way)
    done = client.measure(Network(), "127.0.0.1", server.port, test, 60, quiet)
    thread.join(20)
    assert isinstance(box[0], outcome.Outcome)
    totals = [done.totals(backwards) for backwards in done.directions()]
    assert all(sent["bytes"] >= received["bytes"] for sent, received in totals)
    # A test by bytes ends, as iperf3's, when its streams have moved them: the other way may not have begun by then.
    begun = [(sent["bytes"], received["bytes"]) for sent, received in totals if sent["bytes"]]
    assert sum(sent for sent, _ in begun) >= 8 * MEGABYTE
    assert any(received > 0 for _, received in begun)
    assert box[0].test.parallel == test.parallel


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ours_against_ours_by_time_moves_bytes_each_way(server, way):
    thread, box = in_thread(lambda: server.serve_one(60, quiet))
    done = client.measure(Network(), "127.0.0.1", server.port, Parameters(seconds=1, **way), 60, quiet)
    thread.join(20)
    assert isinstance(box[0], outcome.Outcome)
    assert len(done.directions()) == (2 if way.get("bidirectional") else 1)
    for backwards in done.directions():
        sent, received = done.totals(backwards)
        assert sent["bytes"] >= received["bytes"] > 0
        assert box[0].totals(backwards)[1]["bytes"] == received["bytes"]


def test_several_tests_one_after_the_other(server):
    for _ in range(3):
        thread, box = in_thread(lambda: server.serve_one(60, quiet))
        client.measure(Network(), "127.0.0.1", server.port, Parameters(total=MEGABYTE), 60, quiet)
        thread.join(20)
        assert isinstance(box[0], outcome.Outcome)


def test_a_second_client_is_refused_while_a_test_runs(server):
    thread, box = in_thread(lambda: server.serve_one(60, quiet))
    first = socket.create_connection(("127.0.0.1", server.port))
    first.sendall(protocol.make_cookie(bytes(36)))
    assert protocol.recv_state(first) is State.PARAM_EXCHANGE
    with socket.create_connection(("127.0.0.1", server.port)) as second:
        second.sendall(protocol.make_cookie(b"\1" * 36))
        with pytest.raises(ProtocolError, match="busy"):
            protocol.recv_state(second)
    first.close()
    thread.join(20)
    assert isinstance(box[0], ProtocolError)


@pytest.mark.parametrize(
    "said",
    [
        {"udp": True},
        {"tcp": True, "parallel": 100_000},
        {"tcp": True, "len": 1 << 40},
        {"tcp": True, "time": "ten"},
        {"tcp": True, "parallel": -1},
        {"tcp": True, "parallel": True},
    ],
    ids=str,
)
def test_parameters_no_server_should_take_are_refused(said):
    with pytest.raises((ProtocolError, TypeError)):
        from_parameters(said)


def test_parameters_survive_the_wire():
    test = Parameters(parallel=5, reverse=True, congestion="cubic", nodelay=True, total=77, block=999, mss=1400)
    assert from_parameters(json.loads(json.dumps(test.parameters()))) == Parameters(
        seconds=0, parallel=5, reverse=True, congestion="cubic", nodelay=True, total=77, block=999, mss=1400
    )
    blocks = Parameters(total=5 * 999, blocks=5, block=999)
    assert from_parameters(json.loads(json.dumps(blocks.parameters()))) == Parameters(
        seconds=0, total=5 * 999, blocks=5, block=999
    )


@pytest.mark.parametrize("wire", [b"", b"\x00", b"\x63", b"\xff", b"\x0b", b"\xfe" + bytes(8), b"\xfe\x00"])
def test_refusals_and_nonsense_from_a_server_are_one_error(wire):
    left, right = socket.socketpair()
    right.sendall(wire)
    right.close()
    with left, pytest.raises(ProtocolError):
        protocol.recv_state(left)


@pytest.mark.parametrize("wire", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\3{{{", b"\0\0\0\1", b"\0\0"])
def test_json_that_is_none_is_refused(wire):
    left, right = socket.socketpair()
    right.sendall(wire)
    right.close()
    with left, pytest.raises(ProtocolError):
        protocol.recv_json(left)


def test_streams_are_numbered_as_iperf3_numbers_them():
    assert [protocol.stream_id(index) for index in range(4)] == [1, 3, 4, 5]


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("128K", 131072), ("1M", MEGABYTE), ("0.5g", 1 << 29)])
def test_sizes(text, value):
    assert size(1, 1 << 40)(text) == value


def test_reports_in_words(server):
    in_thread(lambda: server.serve_one(60, quiet))
    done = client.measure(Network(), "127.0.0.1", server.port, Parameters(total=MEGABYTE, parallel=2), 60, quiet)
    out = io.StringIO()
    outcome.print_interval(done.run.intervals[-1], out)
    outcome.print_summary(done, out)
    assert "[SUM]" in out.getvalue()
    assert "receiver" in out.getvalue()
    report = outcome.as_json(done)
    assert len(report["end"]["streams"]) == 2
    assert report["end"]["sum_sent"]["bytes"] >= MEGABYTE


def test_nobody_there_is_a_message_and_status_1(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert main(["iperf3", "-c", "127.0.0.1", "-p", str(taken.getsockname()[1]), "--kernel"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.fixture
def own_network():
    """A network without anybody else: a port that is free stays free until iperf3 has it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network of its own")
    with Namespace():
        yield


needs_iperf3 = pytest.mark.skipif(shutil.which("iperf3") is None, reason="iperf3 is not installed")


@needs_iperf3
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("way", [[], ["-R"], ["-P", "3"], ["-P", "3", "-R"], ["--bidir"]], ids=str)
def test_theirs_measures_ours(address, way):
    server = Server(Network(), address, 0)
    try:
        thread, box = in_thread(lambda: server.serve_one(60, quiet))
        words = ["iperf3", "-c", address, "-p", str(server.port), "-n", "16M", "-J", *way]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        thread.join(20)
    finally:
        server.close()
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["end"]["sum_received"]["bytes"] > 0
    assert isinstance(box[0], outcome.Outcome)


@needs_iperf3
def test_theirs_is_told_that_udp_is_not_built():
    server = Server(Network(), "127.0.0.1", 0)
    try:
        thread, box = in_thread(lambda: server.serve_one(60, quiet))
        words = ["iperf3", "-c", "127.0.0.1", "-p", str(server.port), "-u", "-t", "1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        thread.join(20)
    finally:
        server.close()
    assert done.returncode == 1
    assert "not implemented" in done.stderr
    assert isinstance(box[0], ProtocolError)
    assert str(box[0]) == "only TCP tests are served here"


@needs_iperf3
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ours_measures_theirs(own_network, address, way):
    theirs = subprocess.Popen(
        ["iperf3", "-s", "-1", "-B", address, "-p", "5201", "--forceflush"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert theirs.stdout is not None
        for line in theirs.stdout:
            if "listening" in line:
                break
        done = client.measure(Network(), address, 5201, Parameters(total=16 * MEGABYTE, **way), 60, quiet)
        theirs.stdout.read()
        theirs.stdout.close()
        assert theirs.wait(20) == 0
    finally:
        if theirs.poll() is None:
            theirs.kill()
            theirs.wait()
    for backwards in done.directions():
        assert done.totals(backwards)[1]["bytes"] > 0
