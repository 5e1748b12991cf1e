"""The one lock of a stack: safe under Ctrl-C, and just to threads that compete with a busy leader."""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:

    class _RLock:
        """The C type as it is: typeshed calls it final, and leaves out what Condition uses of it."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *error: object) -> None: ...
        def _is_owned(self) -> bool: ...
        def _release_save(self) -> tuple[int, int]: ...
        def _acquire_restore(self, state: tuple[int, int]) -> None: ...
        def _at_fork_reinit(self) -> None: ...
else:
    from _thread import RLock as _RLock


class PoliteLock(_RLock):
    """A re-entrant lock for ``with``.

    Python's locks are not fair: a leader that lets go only to poll a busy device would take the lock
    again before anybody else has woken up. Here whoever finds it taken stands at a turnstile, and the
    leader, coming back with :meth:`retake`, queues up behind.

    Leaving ``with`` is RLock's own C code, so that no signal handler can run before the lock is free.
    """

    def __init__(self) -> None:
        super().__init__()
        self._turnstile = allocate_lock()

    def __enter__(self) -> bool:
        try:
            if not self.acquire(False):
                with self._turnstile:
                    self.acquire()
        except BaseException:  # a signal's, maybe just after the lock was taken
            if self._is_owned():
                self.release()
            raise
        return True

    def let_go(self) -> tuple[int, int]:
        """Frees the lock, however often its owner has taken it, and returns what :meth:`retake` needs."""
        return self._release_save()

    def retake(self, state: tuple[int, int] | None) -> None:
        """Takes the lock whatever happens: an exception that a signal raises meanwhile is raised after that."""
        pending: BaseException | None = None
        state = state or (1, get_ident())
        while not self._is_owned():
            try:
                if self._turnstile.locked():
                    with self._turnstile:
                        self._acquire_restore(state)
                else:
                    self._acquire_restore(state)
            except BaseException as error:
                pending = error
        if pending is not None:
            raise pending

    def is_mine(self) -> bool:
        """Whether the calling thread holds it."""
        return self._is_owned()

    def forked(self) -> None:
        """In the child of a fork(): free, whoever had it in the parent."""
        self._at_fork_reinit()
        self._turnstile = allocate_lock()
