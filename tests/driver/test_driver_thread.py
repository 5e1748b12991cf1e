"""Who leads, who follows, who stands in: and nobody sleeps through what was meant for him."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driver.driver_world import Caller, World, until, world
from ustack.device.memory import MemoryPair
from ustack.driver.lock import PoliteLock
from ustack.driver.loop import Loop
from ustack.driver.thread import HANDOVER, ThreadDriver


def test_the_thread_that_waits_does_the_work() -> None:
    with world() as here:
        endpoint = here.stack.open(7)
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        here.arrive(b"x", 7)
        assert caller.result() == b"x"
        assert here.stack.threads == ["caller"]
        assert here.driver.leader == 0


def test_what_is_there_already_is_returned_without_a_system_call() -> None:
    with world() as here:
        endpoint = here.stack.open(7)
        endpoint.inbox.append(b"x")
        assert here.receive(endpoint) == b"x"
        assert here.driver.turns[0] == 0


def test_a_deadline_ends_the_wait() -> None:
    with world() as here:
        endpoint = here.stack.open(7)
        assert here.receive(endpoint, here.driver.now() + 1_000_000) is None
        assert here.receive(endpoint, here.driver.now() - 1) is None
        assert here.driver.leader == 0


def test_followers_are_woken_by_the_leader_and_only_those_concerned() -> None:
    with world() as here:
        endpoints = [here.stack.open(port) for port in (1, 2, 3)]
        callers = []
        for number, endpoint in enumerate(endpoints):
            callers.append(Caller(lambda endpoint=endpoint: here.receive(endpoint), f"caller {number}"))
            until(here.is_polling if not number else lambda number=number: here.followers() == number)
        here.arrive(b"third", 3)
        assert callers[2].result() == b"third"
        assert here.followers() == 1
        here.arrive(b"second", 2)
        assert callers[1].result() == b"second"
        here.arrive(b"first", 1)
        assert callers[0].result() == b"first"
        assert set(here.stack.threads) == {"caller 0"}


def test_two_threads_may_wait_for_one_endpoint() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        callers = [Caller(lambda: here.receive(endpoint)) for _ in range(2)]
        until(lambda: here.is_polling() and here.followers() == 1)
        here.arrive(b"a", 1)
        until(lambda: any(not caller.is_alive() for caller in callers))
        here.arrive(b"b", 1)
        assert sorted(caller.result() for caller in callers) == [b"a", b"b"]


def test_followers_are_served_after_the_leader_has_gone() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        leader = Caller(lambda: here.receive(first), "leader")
        until(here.is_polling)
        follower = Caller(lambda: here.receive(second), "follower")
        until(lambda: here.followers() == 1)
        here.arrive(b"1", 1)
        assert leader.result() == b"1"
        here.arrive(b"2", 2)
        assert follower.result() == b"2"
        assert here.stack.threads[-1] == "ustack guard"


def test_a_leader_that_works_for_another_changes_places_with_it() -> None:
    with world() as here:
        patient, busy = here.stack.open(1), here.stack.open(2)
        waits = Caller(lambda: here.receive(patient), "waits")
        until(here.is_polling)
        received: list[bytes | None] = []
        works = Caller(lambda: [received.append(here.receive(busy)) for _ in range(HANDOVER + 4)], "works")
        for count in range(HANDOVER + 4):
            until(lambda: here.is_polling() and here.followers() == 1)
            here.arrive(b"x", 2)
            until(lambda count=count: len(received) > count)
        works.result()
        assert set(here.stack.threads[:HANDOVER]) == {"waits"}
        assert here.stack.threads[-1] == "works"
        until(lambda: here.followers() == 1)
        here.arrive(b"at last", 1)
        assert waits.result() == b"at last"


def test_a_followers_deadline_passes() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        leader = Caller(lambda: here.receive(first))
        until(here.is_polling)
        assert here.receive(second, here.driver.now() + 1_000_000) is None
        assert here.followers() == 0
        here.arrive(b"1", 1)
        assert leader.result() == b"1"


def test_the_guard_answers_while_the_application_does_something_else() -> None:
    with world() as here:
        here.stack.echoes = True
        with here.driver.lock:
            here.driver.flush()
        here.arrive(b"ping", 9)
        until(here.sent)
        here.arrive(b"ping", 9)
        until(here.sent)
        assert set(here.stack.threads) == {"ustack guard"}


def test_the_guard_meets_deadlines() -> None:
    with world() as here:
        with here.driver.lock:
            here.driver.flush()
        until(here.guard_sleeps)
        with here.driver.lock:
            here.stack.deadline = here.driver.now() + 1_000_000
            here.driver.flush()
        until(lambda: here.stack.deadlines_met)


def test_the_leader_meets_deadlines_that_others_bring_nearer() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        with here.driver.lock:
            here.stack.deadline = here.driver.now() + 1_000_000
            here.driver.flush()
        assert caller.result() == b"deadline"


def test_wake_asks_leader_and_followers_again() -> None:
    with world() as here:
        doors = [False, False]
        keys = [object(), object()]

        def wait(number: int) -> bool:
            with here.driver.lock:
                return here.driver.wait(lambda: doors[number], None, keys[number])

        leader = Caller(lambda: wait(0))
        until(here.is_polling)
        follower = Caller(lambda: wait(1))
        until(lambda: here.followers() == 1)
        for number, caller in ((1, follower), (0, leader)):
            with here.driver.lock:
                doors[number] = True
                here.driver.wake(keys[number])
            assert caller.result() is True


def test_a_wait_without_a_waiter_hears_of_everything() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)

        def wait() -> bool:
            with here.driver.lock:
                return here.driver.wait(second.readable)

        leader = Caller(lambda: here.receive(first))
        until(here.is_polling)
        follower = Caller(wait)
        until(lambda: here.followers() == 1)
        here.arrive(b"2", 2)
        assert follower.result() is True
        here.arrive(b"1", 1)
        leader.result()


def test_an_idle_stack_sleeps_for_ever() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        here.arrive(b"1", 1)
        caller.result()
        never = 1 << 62
        until(lambda: here.driver._guard._until == never and not here.driver._guard._rests_until)


def test_a_ready_that_raises_raises_in_its_own_thread() -> None:
    def explode() -> bool:
        if here.stack.threads:
            raise ZeroDivisionError
        return False

    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        leader = Caller(lambda: here.receive(first))
        until(here.is_polling)

        def wait() -> bool:
            with here.driver.lock:
                return here.driver.wait(explode, None, second)

        follower = Caller(wait)
        until(lambda: here.followers() == 1)
        here.arrive(b"2", 2)
        with pytest.raises(ZeroDivisionError):
            follower.result()
        here.arrive(b"1", 1)
        assert leader.result() == b"1"


# Signals


def interrupt_when(condition: Any) -> Caller:
    def send() -> None:
        until(condition)
        os.kill(os.getpid(), signal.SIGINT)

    return Caller(send)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, also where the tests run in the background of a script, whose shell has switched it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_reaches_a_leader_and_the_lead_passes_on() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        interrupter = interrupt_when(lambda: here.is_polling() and here.followers() == 1)
        follower_starts = Caller(lambda: (until(here.is_polling), here.receive(second))[1])
        with pytest.raises(KeyboardInterrupt):
            here.receive(first)
        interrupter.result()
        assert here.driver.leader == 0
        assert not here.driver.lock._is_owned()
        here.arrive(b"2", 2)
        assert follower_starts.result() == b"2"
        here.arrive(b"1", 1)
        assert here.receive(first) == b"1"


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_reaches_a_follower() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        leader = Caller(lambda: here.receive(first))
        until(here.is_polling)
        interrupter = interrupt_when(lambda: here.followers() == 1)
        with pytest.raises(KeyboardInterrupt):
            here.receive(second)
        interrupter.result()
        assert here.followers() == 0
        assert not here.driver.lock._is_owned()
        here.arrive(b"1", 1)
        assert leader.result() == b"1"


def test_a_signal_handler_that_returns_does_not_end_the_wait() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        seen: list[int] = []

        def note(number: int, frame: object) -> None:
            seen.append(number)
            here.arrive(b"1", 1)

        before = signal.signal(signal.SIGUSR1, note)
        try:
            sender = Caller(lambda: (until(here.is_polling), os.kill(os.getpid(), signal.SIGUSR1)))
            assert here.receive(endpoint) == b"1"
            sender.result()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert seen == [signal.SIGUSR1]


def test_a_signal_handler_may_wait_too() -> None:
    with world() as here:
        outer, inner = here.stack.open(1), here.stack.open(2)
        got: list[bytes | None] = []

        def nested(number: int, frame: object) -> None:
            here.arrive(b"2", 2)
            got.append(here.receive(inner))
            here.arrive(b"1", 1)

        before = signal.signal(signal.SIGUSR1, nested)
        try:
            sender = Caller(lambda: (until(here.is_polling), os.kill(os.getpid(), signal.SIGUSR1)))
            got.append(here.receive(outer))
            sender.result()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert got == [b"2", b"1"]
        assert here.driver.leader == 0


def test_many_interrupts_leave_a_working_driver() -> None:
    """Signals at arbitrary points of a busy conversation: whatever they hit, the next call works."""
    with world() as here:
        echo = World(here.pair.right)
        echo.stack.address, echo.stack.peer = echo.stack.peer, echo.stack.address
        echo.stack.echoes = True
        endpoint = here.stack.open(1)
        stop = threading.Event()

        def pester() -> None:
            while not stop.is_set():
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(200):
                    os.sched_yield()

        class PesteredError(Exception):
            pass

        def strike(number: int, frame: object) -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            raise PesteredError

        with echo.driver.lock:
            echo.driver.flush()
        hits = rounds = 0
        pesterer = None
        before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            pesterer = Caller(pester)
            while rounds < 200:
                try:
                    signal.signal(signal.SIGUSR1, strike)
                    here.send(endpoint, b"x")
                    here.receive(endpoint)
                    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
                    rounds += 1
                except PesteredError:
                    hits += 1
                    assert not here.driver.lock._is_owned()
                    assert here.driver.leader == 0
        finally:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            stop.set()
            if pesterer is not None:
                pesterer.result()
            signal.signal(signal.SIGUSR1, before)
        assert here.driver.failure is None
        endpoint.inbox.clear()
        here.send(endpoint, b"last")
        while here.receive(endpoint) != b"last":
            pass
        echo.driver.close()
        echo.pair.close()


# Failures and the end


def test_a_defect_met_by_the_guard_stops_the_stack_for_all() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        here.stack.fails = AssertionError("defect")
        with here.driver.lock:
            here.driver.flush()
        here.arrive(b"x", 1)
        until(lambda: here.driver.failure)
        for _ in range(2):
            with pytest.raises(OSError, match="defect") as caught:
                here.receive(endpoint)
            assert caught.value.errno == errno.EIO
        with here.driver.lock, pytest.raises(OSError, match="defect"):
            here.driver.flush()


def test_a_defect_met_by_a_leader_is_raised_there_and_others_go_on() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        leader = Caller(lambda: here.receive(first))
        until(here.is_polling)
        follower = Caller(lambda: here.receive(second))
        until(lambda: here.followers() == 1)
        here.stack.fails = AssertionError("defect")
        here.arrive(b"lost", 1)
        with pytest.raises(AssertionError, match="defect"):
            leader.result()
        here.arrive(b"2", 2)
        assert follower.result() == b"2"


def test_a_device_that_goes_away_ends_every_wait() -> None:
    with world() as here:
        first, second = here.stack.open(1), here.stack.open(2)
        callers = [Caller(lambda endpoint=endpoint: here.receive(endpoint)) for endpoint in (first, second)]
        until(lambda: here.is_polling() and here.followers() == 1)

        def fail(now: int) -> Any:
            raise OSError(errno.EIO, "gone")

        here.pair.left.receive = fail  # type: ignore[method-assign]
        here.arrive(b"x", 1)
        for caller in callers:
            with pytest.raises(OSError, match="gone"):
                caller.result()


def test_close_ends_every_wait_and_every_thread() -> None:
    threads = threading.active_count()
    here = World()
    first, second = here.stack.open(1), here.stack.open(2)
    callers = [Caller(lambda endpoint=endpoint: here.receive(endpoint)) for endpoint in (first, second)]
    until(lambda: here.is_polling() and here.followers() == 1)
    here.driver.close()
    for caller in callers:
        with pytest.raises(OSError, match="closed") as caught:
            caller.result()
        assert caught.value.errno == errno.ENETDOWN
    here.driver.close()
    with here.driver.lock:
        here.driver.flush()
        with pytest.raises(OSError, match="closed"):
            here.driver.wait(first.readable)
    here.pair.close()
    assert threading.active_count() == threads


def test_nothing_is_left_behind() -> None:
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with world() as here:
            here.receive(here.stack.open(1), 0)
    del here
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_finalizers_may_leave_work_without_the_lock() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        done: list[str] = []
        with here.driver.lock:
            here.driver.flush()
            here.driver.defer(lambda: done.append("under the lock"))
        until(lambda: done)
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        here.driver.defer(lambda: done.append("while somebody leads"))
        until(lambda: len(done) == 2)
        here.arrive(b"1", 1)
        caller.result()


def test_a_child_of_fork_has_no_stack_and_does_no_harm() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        with here.driver.lock:
            here.driver.flush()
        until(here.guard_sleeps)
        child = os.fork()
        if not child:
            code = 1
            try:
                with here.driver.lock:
                    here.driver.flush()
                here.receive(endpoint)
            except OSError as error:
                code = 0 if error.errno == errno.ENETDOWN else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        here.arrive(b"1", 1)
        assert here.receive(endpoint) == b"1"


EXIT = """
import threading, time
from tests.driver.driver_world import World, until
here = World()
endpoints = [here.stack.open(port) for port in (1, 2)]
for endpoint in endpoints:
    threading.Thread(target=here.receive, args=(endpoint,), daemon=True).start()
until(lambda: here.is_polling() and here.followers() == 1)
class Late:
    def __del__(self):
        with here.driver.lock:
            here.driver.flush()
        print("finalized")
late = Late()
"""


def test_the_interpreter_ends_with_daemon_threads_that_wait() -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", EXIT], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "finalized\n", "")


# Load


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_no_wake_up_is_lost(threads: int) -> None:
    rounds = 1000 // threads
    with world() as here:
        there = World(here.pair.right)
        there.stack.address, there.stack.peer = there.stack.peer, there.stack.address
        there.stack.echoes = True
        with there.driver.lock:
            there.driver.flush()

        def converse(port: int) -> int:
            endpoint = here.stack.open(port)
            for number in range(rounds):
                text = b"%d" % number
                here.send(endpoint, text)
                assert here.receive(endpoint) == text
            return rounds

        callers = [Caller(lambda port=port: converse(port)) for port in range(1, threads + 1)]
        assert [caller.result() for caller in callers] == [rounds] * threads
        there.driver.close()
        there.pair.close()


def test_a_busy_leader_lets_others_in() -> None:
    """The device is always readable: a leader that only lets go of the lock to poll would keep it for itself."""

    class Flood(MemoryPair):
        pass

    pair = Flood()
    here = World(pair.left)
    endpoint = here.stack.open(1)
    packet_world = World()
    packet_world.arrive(b"noise", 99)
    noise = packet_world.pair.left.read_packets(0)
    pair.right.write_packets(noise, 0)
    pair.left.receive = lambda now: []  # type: ignore[method-assign]  # the noise stays: readable for ever
    caller = Caller(lambda: here.receive(endpoint))
    until(lambda: here.driver.leader)
    for _ in range(1000):
        with here.driver.lock:
            pass
    with here.driver.lock:
        endpoint.inbox.append(b"enough")
    assert caller.result() == b"enough"
    for driven in (here, packet_world):
        driven.driver.close()
        driven.pair.close()
    pair.close()


def test_the_lock_is_free_after_an_exception_and_nests() -> None:
    lock = PoliteLock()
    with pytest.raises(ZeroDivisionError), lock, lock:
        raise ZeroDivisionError
    assert not lock._is_owned()
    with lock, lock:
        state = lock.let_go()
        assert not lock._is_owned()
        assert Caller(lambda: lock.acquire(False) and lock.release()).result() is None
        lock.retake(state)
        assert lock._is_owned()
    assert not lock._is_owned()


def test_a_driver_without_a_descriptor_still_meets_deadlines() -> None:
    here = World()
    here.pair.left.fileno = lambda: -1  # type: ignore[method-assign]
    anything: Any = here.stack
    driver = ThreadDriver(Loop(anything, here.pair.left, time.monotonic_ns))
    endpoint = here.stack.open(1)
    with driver.lock:
        here.stack.deadline = driver.now() + 1_000_000
        assert driver.wait(endpoint.readable, None, endpoint)
    driver.close()
    here.driver.close()
