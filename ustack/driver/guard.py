"""The thread that stands in while nobody waits."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from typing import TYPE_CHECKING

from ustack import native

if TYPE_CHECKING:
    from ustack.driver.thread import ThreadDriver

NEVER = 1 << 62

REST = 1_000_000
"""While the application comes and goes faster than this (ns), the guard is not woken by packets: each would else
wake a thread that only competes for the interpreter."""

REST_MAX = 32_000_000
"""Each rest in which it did so is followed by one twice as long, up to this: then the guard asks again whether the
application is still at work."""

TICK = 500_000
"""A rest is no deaf one: so often (ns) the C core looks at the device, without the interpreter and without the lock."""

GRACE = 100_000
"""So long (ns) a packet may lie at the device of an application that is at work, before the guard takes it: mostly the
application is on its way."""

WATCH = 64
"""After a packet that nobody else took, the guard does not rest for so many turns of the lead: an application that
leaves packets to it, because it waits for something else, will do so again."""

LATE = 10_000_000
"""While somebody leads, deadlines are the leader's: the guard wakes for one at most this often (ns), only so that it
need not be called at each change of leadership."""


class Guard:
    """A daemon thread that is asleep as long as an application thread leads.

    It sleeps in an epoll set that others change under it: the device's descriptor is *armed* (one event, then
    no more) only while nobody leads. Arming costs the leaver one system call and wakes nobody.
    All methods but ``call``, ``stop`` and ``forked`` are called with the driver's lock held.
    """

    def __init__(self, driver: ThreadDriver) -> None:
        self._driver = driver
        self._thread: threading.Thread | None = None
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._give_back_bell = weakref.finalize(self, os.close, self._bell)
        self._give_back_bell.atexit = False
        self._callers: list[int] = []
        """Threads that are about to ring the bell."""
        self._epoll.register(self._bell, select.EPOLLIN)
        self._device = driver.loop.device.fileno()
        if self._device >= 0:
            self._epoll.register(self._device, 0)
        self._is_armed = False
        self._is_stopped = False
        self._until = 0
        """While asleep: when it will wake by itself; awake or not begun: 0."""
        self._is_rung = False
        self._rests_until = 0
        """Not 0: the device is left unarmed until then."""
        self._rest = REST
        self._watches_until = 0
        """No rest begins before this turn."""
        self._seen_turns = 0

    # Called by application threads

    def disarm(self) -> None:
        """Somebody leads: the device is not ours."""
        if self._is_armed:
            self._is_armed = False
            self._epoll.modify(self._device, 0)

    def stand_in(self) -> None:
        """Nobody leads any more."""
        if not self._rests_until:
            self._arm()
        self.mind()

    def _arm(self) -> None:
        if not self._is_armed and self._device >= 0:
            self._is_armed = True
            self._epoll.modify(self._device, select.EPOLLIN | select.EPOLLONESHOT)

    def mind(self) -> None:
        """The stack's next deadline may have come nearer, while nobody leads."""
        if self._thread is None:
            self._start()
        elif self._until:
            deadline = self._driver.loop.deadline()
            if deadline is not None and deadline < self._until and not self._is_rung:
                self._is_rung = True
                self.call()

    def call(self) -> None:
        """Wakes the thread, if there is one. Needs no lock."""
        self._callers.append(0)
        try:
            if not self._is_stopped:
                os.eventfd_write(self._bell, 1)
        finally:
            self._callers.pop()

    def _start(self) -> None:
        if not self._is_stopped:
            thread = threading.Thread(target=self._run, name="ustack guard", daemon=True)
            thread.start()  # a signal's exception may come out of this, whether the thread has begun or not
            self._thread = thread

    def stop(self) -> None:
        """Ends the thread and waits for that. Without the driver's lock."""
        thread = self._thread
        self._is_stopped = True
        if self._give_back_bell.alive:
            os.eventfd_write(self._bell, 1)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def close(self) -> None:
        """As ``stop``, and gives its descriptors back."""
        self.stop()
        while self._callers:  # a finalizer that reached for the bell before it was ours alone: its number may be reused
            time.sleep(0)
        self._epoll.close()
        self._give_back_bell()

    def forked(self) -> None:
        """In the child of a fork() there is no thread, and the epoll set is the parent's."""
        self._is_stopped = True
        self._thread = None
        self._epoll.close()
        self._give_back_bell()

    # The thread

    def _run(self) -> None:
        driver = self._driver
        with driver.lock:
            self._thread = self._thread or threading.current_thread()
            while not self._is_stopped and self._thread is threading.current_thread():
                found = self._sleep()
                if self._is_stopped or driver.is_closed or driver.failure is not None:
                    break
                try:
                    self._work(found)
                except Exception as error:  # a defect of the stack: no caller is there to hear of it
                    driver.fail(error)
        self._is_armed = False

    def _sleep(self) -> int:
        """Until there is something to do. Returns what ``native.watch`` says that it is."""
        driver = self._driver
        if not driver.leader and not self._rests_until:
            self._arm()
        now = driver.now()
        self._until = self._wakes_at(now)
        found = native.WATCHED_LONG
        state = None
        try:
            state = driver.lock.let_go()
            found = self._watch(now)
            # System calls, which let the interpreter go: with the lock in hand they would make others wait for both.
            events = [fd for fd, _ in self._epoll.poll(0)]
            if self._bell in events:
                os.eventfd_read(self._bell)
        finally:
            driver.lock.retake(state)
        self._until = 0
        self._is_rung = False
        if self._device in events:
            self._is_armed = False
        return found

    def _watch(self, now: int) -> int:
        """Sleeps, without the lock."""
        driver = self._driver
        fds = (self._bell, self._device, self._epoll.fileno())
        while True:
            timeout = -1 if self._until == NEVER else max(0, self._until - now)
            is_busy = self._rests_until or driver.turns[0] != self._seen_turns
            tick = TICK if self._rests_until else 0
            found = native.watch(fds, driver.turns, timeout, tick, GRACE if is_busy else 0)
            now = driver.now()
            if found == native.WATCHED_TAKEN:
                goes_on = driver.turns[0] < self._watches_until
            else:
                goes_on = found == native.WATCHED_LONG and self._goes_on_resting(now)
            if not goes_on:
                return found

    def _goes_on_resting(self, now: int) -> bool:
        """Without the lock, which would only get in the application's way: it is at work, and somebody leads.

        ``_until`` is set before ``leader`` is read, and who leaves sets ``leader`` before reading ``_until``: one
        of the two always sees the other.
        """
        if not self._rests_until or now < self._rests_until or self._driver.turns[0] == self._seen_turns:
            return False
        self._rest_again(now)
        self._until = self._rests_until
        return self._driver.leader != 0

    def _rest_again(self, now: int) -> None:
        self._seen_turns = self._driver.turns[0]
        self._rest = min(2 * self._rest, REST_MAX) if self._rests_until else REST
        self._rests_until = now + self._rest

    def _wakes_at(self, now: int) -> int:
        deadline = self._driver.loop.deadline()
        until = NEVER if deadline is None else deadline
        if self._driver.leader and until < now + LATE:
            until = now + LATE
        return min(until, self._rests_until) if self._rests_until else until

    def _work(self, found: int) -> None:
        driver = self._driver
        now = driver.now()
        turns = driver.turns[0]
        if found == native.WATCHED_LEFT_OVER and not driver.leader:
            self._rests_until = 0
            self._watches_until = turns + WATCH
            self._seen_turns = turns
        elif now >= self._rests_until:
            if turns != self._seen_turns and turns >= self._watches_until and self._device >= 0:
                self._rest_again(now)
                self.disarm()
            else:
                self._rests_until = 0
        if driver.leader:
            driver.run_deferred()
        else:
            driver.step(now)
