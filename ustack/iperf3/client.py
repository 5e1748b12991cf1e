"""The end that asks: it decides how long, in which direction, over how many streams, and says when it is over."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from ustack.iperf3.network import Network
from ustack.iperf3.outcome import Outcome, Processor, sound_results
from ustack.iperf3.protocol import (
    State,
    expect_state,
    make_cookie,
    recv_json,
    send_json,
    send_state,
)
from ustack.iperf3.settings import Test
from ustack.iperf3.streams import Interval, Run

CONTROL_PATIENCE = 30.0
"""Seconds that the server may take for an answer on the control connection."""


def measure(
    network: Network, address: str, port: int, test: Test, interval: float, say: Callable[[list[Interval]], None]
) -> Outcome:
    """One whole test. Raises ProtocolError and OSError; all its sockets are closed whichever way it ends."""
    control = network.connect(address, port)
    run = Run(test)
    try:
        control.settimeout(CONTROL_PATIENCE)
        cookie = make_cookie(os.urandom(36))
        control.sendall(cookie)
        expect_state(control, State.PARAM_EXCHANGE)
        send_json(control, test.parameters())
        expect_state(control, State.CREATE_STREAMS)
        _open_streams(network, address, port, run, cookie)
        expect_state(control, State.TEST_START)
        expect_state(control, State.TEST_RUNNING)
        start = _describe(address, port, test, run, control)
        processor = Processor()
        try:
            _transfer(run, interval, say)
        except KeyboardInterrupt as ended:
            run.finish()
            say(run.mark())
            with contextlib.suppress(OSError):
                send_state(control, State.CLIENT_TERMINATE)
            local = run.results(processor.shares(), test.congestion)
            return Outcome(test, run, local, {}, is_server=False, start=start, ended=ended)
        send_state(control, State.TEST_END)
        expect_state(control, State.EXCHANGE_RESULTS)
        local = run.results(processor.shares(), test.congestion)
        send_json(control, local)
        remote = sound_results(recv_json(control))
        expect_state(control, State.DISPLAY_RESULTS)
        send_state(control, State.IPERF_DONE)
        return Outcome(test, run, local, remote, is_server=False, start=start)
    finally:
        run.close()
        control.close()


def _open_streams(network: Network, address: str, port: int, run: Run, cookie: bytes) -> None:
    """All forward ones first, then, in a two-way test, as many backward ones: both ends number them alike."""
    directions = [True, False] if run.test.bidirectional else [not run.test.reverse]
    for sends in directions:
        for _ in range(run.test.parallel):
            flow = network.connect(address, port, run.test)
            run.add(len(run.streams), flow, sends)
            flow.sendall(cookie)


def _transfer(run: Run, interval: float, say: Callable[[list[Interval]], None]) -> None:
    """Lets data move until the time or the bytes are over, and closes the intervals meanwhile."""
    test = run.test
    run.start()
    if test.omit:
        time.sleep(test.omit)
        run.omit()
    until = run.started + test.seconds if not test.total else float("inf")
    mark = run.started + interval if interval else float("inf")
    while time.monotonic() < until and run.sending() and not _moved_all(run):
        now = time.monotonic()
        if now >= mark:
            say(run.mark())
            mark += interval
        pause = min(mark, until) - now
        run.stop.wait(max(0.0, min(pause, 0.01 if test.total else pause)))
    run.finish()
    say(run.mark())


def _moved_all(run: Run) -> bool:
    total = run.test.total
    return bool(total) and sum(stream.bytes - stream.omitted for stream in run.streams) >= total


def _describe(address: str, port: int, test: Test, run: Run, control: Any) -> dict[str, Any]:
    """The `start` part of the JSON report."""
    connected = []
    for stream in run.streams:
        local, remote = stream.flow.getsockname(), stream.flow.getpeername()
        connected.append({"socket": stream.number, "local_host": local[0], "local_port": local[1],
                          "remote_host": remote[0], "remote_port": remote[1]})  # fmt: skip
    return {
        "connected": connected,
        "version": "ustack iperf3",
        "connecting_to": {"host": address, "port": port},
        "test_start": {
            "protocol": "TCP", "num_streams": test.parallel, "blksize": test.block, "omit": test.omit,
            "duration": test.seconds, "bytes": 0 if test.blocks else test.total, "blocks": test.blocks,
            "reverse": int(test.reverse), "bidir": int(test.bidirectional),
        },
    }  # fmt: skip
