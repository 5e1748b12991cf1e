"""The thread that waits does the work.

An application thread that would block *leads*: it polls the device itself and turns the stack's wheel until
what it waits for has come. So a reply is read by the very thread that wants it, with no switch between
threads. Others that wait meanwhile *follow*: each sleeps on a lock of its own, and the leader
frees exactly those whose wait is over; one that works for the same follower all the time changes places with it.
When nobody leads, because the application computes or has gone home, a *guard* thread stands in
(:mod:`ustack.driver.guard`): timers run and packets are answered all the same. An idle stack uses no CPU at all.

State changes only under ``lock``; nobody holds it while sleeping.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import weakref
from _thread import allocate_lock, get_ident
from array import array
from collections import deque
from collections.abc import Callable, Hashable

from ustack.driver.guard import Guard
from ustack.driver.lock import PoliteLock
from ustack.driver.loop import DeviceError, Loop

NEVER = 1 << 62

HANDOVER = 4
"""A leader that woke the same follower so often, and found nothing for itself, lets it lead."""


class _Sleeper:
    """A thread that follows. ``signal`` is held; freeing it wakes the thread, once."""

    __slots__ = ("is_woken", "ready", "signal", "thread")

    def __init__(self, ready: Callable[[], bool], thread: int) -> None:
        self.ready = ready
        self.thread = thread
        self.is_woken = False
        self.signal = allocate_lock()
        self.signal.acquire()

    def rouse(self) -> None:
        """Wakes the thread whatever it waits for."""
        if not self.is_woken:
            self.is_woken = True
            self.signal.release()

    def rouse_if_ready(self) -> bool:
        """Wakes the thread when its wait is over, or when asking fails: then it finds out itself. Whether it did."""
        if self.is_woken:
            return False
        try:
            ready = self.ready()
        except Exception:
            ready = True
        if ready:
            self.rouse()
        return ready


class ThreadDriver:
    """Drives a Loop for blocking callers in any number of threads.

    All calls but ``close`` and ``defer`` are made with ``lock`` held, once (``with driver.lock``).
    ``failure`` is what stopped the stack, if something did: the device went away, or a defect of ours.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.clock = loop.clock
        self.lock = PoliteLock()
        self.failure: BaseException | None = None
        self.is_closed = False
        self.leader = 0
        """Identity of the thread that leads; 0: nobody."""
        self.turns = array("q", [0])
        """One more whenever somebody begins or ends to lead, so odd while somebody does: tells the guard, and the C
        core that watches for it, whether the application is at work."""
        self._lead_until = 0
        """While the leader polls: when it will stop by itself; else 0."""
        self._lead_waiter: object = None
        self._sleepers: dict[object, list[_Sleeper]] = {}
        self._favourite = 0
        """The thread that was woken last, and how often in a row while the leader's own wait went on."""
        self._streak = 0
        self._successor: _Sleeper | None = None
        """Leads as soon as the leader has let go of the device."""
        self._deferred: deque[Callable[[], object]] = deque()
        self._gone = allocate_lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_rung = False
        self._give_back_bell = weakref.finalize(self, os.close, self._bell)
        self._give_back_bell.atexit = False
        self._polled = (loop.device.fileno(), self._bell)
        self._guard = Guard(self)
        loop.awaken = self.wake
        _drivers.add(self)

    def now(self) -> int:
        """The instant, ns."""
        return self.clock()

    # Waiting

    def wait(self, ready: Callable[[], bool], deadline: int | None = None, waiter: Hashable = None) -> bool:
        """Blocks until ``ready()`` (True) or the instant ``deadline`` (False); the lock is free meanwhile.

        ``waiter`` is the owner of the endpoint in question: ``ready`` is asked again when an event comes for it
        (None: for any). Whoever changes the answer in another way calls :meth:`wake`. ``ready`` is called with the
        lock held, by any thread. Raises OSError when the stack is closed (ENETDOWN) or has failed (EIO),
        and whatever a signal handler raises.
        """
        if ready():
            return True
        me = get_ident()
        while True:
            self._check()
            if self.leader == me or not (self.leader or self._successor):  # the first: a leader's signal handler
                done = self._lead(ready, deadline, waiter, me)
                if done is not None:
                    return done
                continue
            self._follow(ready, deadline, waiter, me)
            if ready():
                return True
            if deadline is not None and self.now() >= deadline:
                return False

    def _check(self) -> None:
        if self.failure is not None:
            why = f"the device is gone: {self.failure}" if isinstance(self.failure, OSError) else repr(self.failure)
            raise OSError(errno.EIO, f"the stack has stopped: {why}") from self.failure
        if self.is_closed:
            raise OSError(errno.ENETDOWN, "the stack is closed")

    def _lead(self, ready: Callable[[], bool], deadline: int | None, waiter: object, me: int) -> bool | None:
        """As ``wait``; None: a successor leads from now on."""
        outer = self.leader, self._lead_waiter
        if not outer[0]:
            self.turns[0] += 1
        self.leader, self._lead_waiter = me, waiter
        try:
            self._guard.disarm()
            while True:
                self._poll(deadline)
                now = self.clock()
                if not self.is_closed and self.failure is None:
                    self.step(now)
                if ready():
                    self._streak = 0
                    return True
                self._check()
                if deadline is not None and now >= deadline:
                    return False
                if self._successor is not None and not outer[0]:
                    return None
        except BaseException:
            if not self.is_closed and self.failure is None:
                self.step(self.clock())  # a batch that the device has read ahead announces itself no more
            raise
        finally:
            self.leader, self._lead_waiter = outer
            if not self.leader:
                self.turns[0] += 1
                self._leave()

    def _poll(self, deadline: int | None) -> None:
        """Lets the lock go until something arrives, the bell rings, a signal comes or the next deadline is due."""
        until = self.loop.deadline()
        if until is None:
            until = NEVER
        if deadline is not None and deadline < until:
            until = deadline
        timeout = -1 if until == NEVER else max(0, until - self.clock())
        device = self.loop.device
        device.end_batch()
        state = None
        self._lead_until = until
        try:
            state = self.lock.let_go()
            device.wait(self._polled, timeout)
        finally:
            self._lead_until = 0  # before the lock is ours: whatever changes until then is seen after it
            try:
                self.lock.retake(state)
            finally:
                if self._is_rung:
                    self._is_rung = False
                    os.eventfd_read(self._bell)

    def _leave(self) -> None:
        if self._successor is not None:
            self._successor.rouse()
        if self.is_closed:
            self._give_back_bell()
            if self._gone.locked():
                self._gone.release()
        else:
            self._guard.stand_in()

    def step(self, now: int) -> None:
        """One turn of the wheel; a device that has gone stops the stack."""
        try:
            self.loop.step(now)
            if self._deferred:
                self.run_deferred()
        except DeviceError as failed:
            self.fail(failed.args[0])

    def _follow(self, ready: Callable[[], bool], deadline: int | None, waiter: Hashable, me: int) -> None:
        """Sleeps until woken, a signal comes or the deadline."""
        sleeper = _Sleeper(ready, me)
        sleepers = self._sleepers.setdefault(waiter, [])
        sleepers.append(sleeper)
        if self._favourite == me and self._streak >= HANDOVER and self._successor is None:
            self._streak = 0
            self._successor = sleeper
            if self._lead_until:
                self._ring()
        state = None
        timeout = -1.0 if deadline is None else max(0.0, (deadline - self.now()) / 1e9)
        try:
            state = self.lock.let_go()
            sleeper.signal.acquire(True, min(timeout, 1e6))
        finally:
            try:
                self.lock.retake(state)
            finally:
                if self._successor is sleeper:
                    self._successor = None
                sleepers.remove(sleeper)
                if not sleepers and self._sleepers.get(waiter) is sleepers:
                    del self._sleepers[waiter]

    def wake(self, waiter: Hashable) -> None:
        """Something changed for ``waiter``: those whose wait is over by that are woken."""
        if self._sleepers:
            for key in (waiter, None):
                for sleeper in self._sleepers.get(key, ()):
                    if sleeper.rouse_if_ready():
                        self._streak = self._streak + 1 if self._favourite == sleeper.thread else 1
                        self._favourite = sleeper.thread
        if self._lead_until and (self._lead_waiter is waiter or self._lead_waiter is None):
            self._ring()

    def _ring(self) -> None:
        """Calls the leader back from its polling."""
        if not self._is_rung:
            self._is_rung = True
            os.eventfd_write(self._bell, 1)

    # Beside waiting

    def flush(self) -> None:
        """After calls on endpoints: sends, tells, and sees to it that somebody minds the next deadline.

        Raises OSError (EIO) when the stack has failed.
        """
        if self.is_closed:
            return
        if self.failure is not None:
            self._check()
        if self.loop.has_work():
            try:
                self.loop.flush(self.clock())
                if self._deferred:
                    self.run_deferred()
            except DeviceError as failed:
                self.fail(failed.args[0])
                return
        if self._lead_until:
            deadline = self.loop.deadline()
            if deadline is not None and deadline < self._lead_until:
                self._ring()
        elif not self.leader:
            self._guard.mind()

    def defer(self, action: Callable[[], object]) -> None:
        """Has ``action`` called soon, with the lock held. For finalizers, which run anywhere: takes no lock itself."""
        self._deferred.append(action)
        self._guard.call()

    def run_deferred(self) -> None:
        """Does what finalizers left to do."""
        deferred = self._deferred
        if not deferred:
            return
        while deferred:
            action = deferred.popleft()
            with contextlib.suppress(OSError):
                action()
        self.loop.flush(self.now())

    def fail(self, failure: BaseException) -> None:
        """The stack can do no more: every wait, now and later, raises."""
        if self.failure is None:
            self.failure = failure
        self._rouse_all()

    def _rouse_all(self) -> None:
        for sleepers in self._sleepers.values():
            for sleeper in sleepers:
                sleeper.rouse()
        if self._lead_until:
            self._ring()

    def close(self) -> None:
        """Ends all waits (OSError ENETDOWN), stops the guard and closes the device: every descriptor is given back when
        it returns. Not with the lock held."""
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
            self._rouse_all()
            leads_another = self.leader not in {0, get_ident()}
            if leads_another:
                self._gone.acquire(False)
        self._guard.close()
        if leads_another:
            with self._gone:  # the leader frees it, and no longer uses the device's descriptor
                pass
        _drivers.discard(self)
        self.loop.device.close()
        with self.lock:
            if not self.leader:  # else a signal's handler has called this, and the leader gives the bell back
                self._give_back_bell()

    def stop_guard(self) -> None:
        """Ends the guard for good; who waits goes on. Not with the lock held."""
        self._guard.stop()

    def forked(self) -> None:
        """In the child of a fork(): the stack stays with the parent; here it is closed."""
        self.lock.forked()
        self.is_closed = True
        self.leader = self._lead_until = 0
        self._successor = None
        self._sleepers.clear()
        self._guard.forked()
        self._give_back_bell()
        self.loop.device.forked()


_drivers: weakref.WeakSet[ThreadDriver] = weakref.WeakSet()


def _stop_guards() -> None:
    """A daemon thread that the interpreter's end freezes might hold a lock: none may be left by then."""
    for driver in list(_drivers):
        driver.stop_guard()


def _forked() -> None:
    for driver in list(_drivers):
        driver.forked()
    _drivers.clear()


atexit.register(_stop_guards)
os.register_at_fork(after_in_child=_forked)
