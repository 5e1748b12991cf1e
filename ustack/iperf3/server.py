"""The end that waits: one test at a time, as iperf3 itself; whoever comes meanwhile is refused."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable
from typing import Any

from ustack.iperf3.network import Network, prepare
from ustack.iperf3.outcome import Outcome, Processor, sound_results
from ustack.iperf3.protocol import (
    COOKIE_SIZE,
    ProtocolError,
    State,
    expect_state,
    recv_exact,
    recv_json,
    recv_state,
    send_json,
    send_state,
)
from ustack.iperf3.settings import Test, from_parameters
from ustack.iperf3.streams import Interval, Run

NOT_BUILT = (13).to_bytes(4, "big") + bytes(4)
"""What a client is told of a test that is not done here: iperf3's IEUNIMP, and no errno."""

PATIENCE = 10.0
"""Seconds in which a client must open all its streams, and answer on the control connection."""

SILENCE = 120.0
"""Seconds without a byte after which a client is given up, as iperf3's --rcv-timeout."""

MOST_ARRIVALS = 256
"""Connections that may wait for their turn: two tests' streams."""

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
"""Reasons why a connection cannot be accepted now, and another can be soon."""

GREETING_PATIENCE = 3.0
"""Seconds in which a connection must bring its cookie: until then it keeps its place before those that came later."""


class Arrival:
    """A connection in the order of its arrival, which is the order in which streams are numbered."""

    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self.cookie = b""
        self.greeted = False
        self.gone = False


class Server:
    """Accepts until it is closed. `serve_one()` is one whole test; connections beside it wait or are refused."""

    def __init__(self, network: Network, address: str, port: int) -> None:
        self._network = network
        self.listener = network.listen(address, port)
        self.listener.settimeout(0.5)
        self._arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._cookie = b""
        self._closed = threading.Event()
        self._failure: OSError | None = None
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def close(self) -> None:
        self._closed.set()
        self._acceptor.join(timeout=2)
        self.listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                flow, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno in PASSING:
                    self._closed.wait(0.1)
                    continue
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            arrival = Arrival(flow)
            with self._changed:
                if len(self._arrivals) >= MOST_ARRIVALS:
                    flow.close()
                    continue
                self._arrivals.append(arrival)
            threading.Thread(target=self._greet, args=(arrival,), daemon=True).start()

    def _greet(self, arrival: Arrival) -> None:
        """Reads a cookie: a stream of the test that runs, a new test, or one too many."""
        flow = arrival.flow
        cookie = b""
        try:
            flow.settimeout(GREETING_PATIENCE)
            cookie = recv_exact(flow, COOKIE_SIZE)
            if self._cookie and cookie != self._cookie:
                send_state(flow, State.ACCESS_DENIED)
                cookie = b""
            flow.settimeout(PATIENCE)
        except (OSError, ProtocolError):
            cookie = b""
        with self._changed:
            arrival.cookie, arrival.greeted, arrival.gone = cookie, True, not cookie
            self._changed.notify_all()
        if not cookie:
            flow.close()

    def serve_one(self, interval: float, say: Callable[[list[Interval]], None]) -> Outcome:
        """Waits for a client and does its test. Raises ProtocolError and OSError; all its sockets are closed."""
        control, cookie = self._next(None)
        self._cookie = cookie
        run: Run | None = None
        try:
            send_state(control, State.PARAM_EXCHANGE)
            test = self._agree(control)
            run = Run(test)
            send_state(control, State.CREATE_STREAMS)
            self._collect(run)
            send_state(control, State.TEST_START)
            send_state(control, State.TEST_RUNNING)
            processor = Processor()
            try:
                self._transfer(control, run, interval, say)
            except (KeyboardInterrupt, ProtocolError) as ended:
                run.finish(closes=True)
                say(run.mark())
                if isinstance(ended, KeyboardInterrupt):
                    with contextlib.suppress(OSError):
                        send_state(control, State.SERVER_TERMINATE)
                local = run.results(processor.shares(), test.congestion)
                return Outcome(test, run, local, {}, is_server=True, ended=ended)
            send_state(control, State.EXCHANGE_RESULTS)
            remote = sound_results(recv_json(control))
            local = run.results(processor.shares(), test.congestion)
            send_json(control, local)
            send_state(control, State.DISPLAY_RESULTS)
            with contextlib.suppress(ProtocolError, OSError):  # some clients just leave now
                expect_state(control, State.IPERF_DONE)
            return Outcome(test, run, local, remote, is_server=True)
        finally:
            self._cookie = b""
            if run is not None:
                run.close()
            control.close()
            self._forget(cookie)

    def _next(self, patience: float | None) -> tuple[Any, bytes]:
        """The next connection with its cookie, in the order of arrival. Waits in steps: an interrupt gets through."""
        deadline = time.monotonic() + patience if patience is not None else float("inf")
        with self._changed:
            while time.monotonic() < deadline and not self._closed.is_set():
                while self._arrivals and self._arrivals[0].gone:
                    self._arrivals.pop(0)
                if self._arrivals and self._arrivals[0].greeted:
                    first = self._arrivals.pop(0)
                    return first.flow, first.cookie
                if self._failure is not None:
                    raise self._failure
                self._changed.wait(0.2)
        raise ProtocolError("the server was closed" if self._closed.is_set() else "the client opened too few streams")

    def _agree(self, control: Any) -> Test:
        try:
            test = from_parameters(recv_json(control))
            if test.congestion and not self._network.has_congestion(test.congestion):
                raise ProtocolError(f"the client wants {test.congestion[:16]!r}, a congestion control that is not here")
            return test
        except ProtocolError:
            with contextlib.suppress(OSError):
                control.sendall(bytes([State.SERVER_ERROR]) + NOT_BUILT)
            raise

    def _collect(self, run: Run) -> None:
        """The streams in the order of their arrival; in a two-way test the client's come first."""
        directions = [False, True] if run.test.bidirectional else [run.test.reverse]
        for sends in directions:
            for _ in range(run.test.parallel):
                flow, cookie = self._next(PATIENCE)
                if cookie != self._cookie:
                    flow.close()
                    raise ProtocolError("a stranger's stream came between")
                prepare(flow, Test(congestion=run.test.congestion, nodelay=run.test.nodelay))
                run.add(len(run.streams), flow, sends)

    def _transfer(self, control: Any, run: Run, interval: float, say: Callable[[list[Interval]], None]) -> None:
        """Moves data until the client says that it is over."""
        control.settimeout(interval or SILENCE)
        run.start()
        if run.test.omit:
            run.stop.wait(run.test.omit)
            run.omit()
        moved, moved_at = 0, time.monotonic()
        while True:
            try:
                state = recv_state(control)
            except TimeoutError:
                total = sum(stream.bytes for stream in run.streams)
                if total != moved:
                    moved, moved_at = total, time.monotonic()
                elif time.monotonic() - moved_at >= SILENCE:
                    raise ProtocolError(f"the client is silent for {SILENCE:.0f} seconds") from None
                say(run.mark())
                continue
            if state is State.TEST_END:
                break
            if state is State.CLIENT_TERMINATE:
                raise ProtocolError("the client was stopped")
        run.finish(closes=True)
        say(run.mark())
        control.settimeout(PATIENCE)

    def _forget(self, cookie: bytes) -> None:
        """Closes connections of this test that came too late; others keep their places."""
        with self._changed:
            late = [arrival for arrival in self._arrivals if arrival.cookie == cookie]
            self._arrivals = [arrival for arrival in self._arrivals if arrival.cookie != cookie]
        for arrival in late:
            arrival.flow.close()
