"""Waits that Ctrl-C ends, and leaves as they should be left, for core and backends.

A signal that arrives in the moment between CPython's last look at signals and the system call that
blocks is not seen until something else wakes the main thread: an unlucky Ctrl-C does nothing. So
the main thread waits in slices; others, which no signal concerns, wait in one piece.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial

from polyexec.interrupts import Interruptible, Uninterrupted, strike

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["Condition", "Event", "acquire", "interrupted", "wait_in_slices"]

#: How many seconds the main thread waits at a stretch.
SLICE = 0.5

if TYPE_CHECKING:

    class _RLock:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...  # noqa: FBT001, FBT002 - threading's signature
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *_: object) -> None: ...
        def _release_save(self) -> Any: ...
        def _acquire_restore(self, held: Any) -> None: ...
        def _is_owned(self) -> bool: ...

else:
    _RLock = type(threading.RLock())


class Condition(_RLock):
    """A condition variable that is its own re-entrant lock.

    threading's is written in Python, so that Ctrl-C may strike within: then it has let go of a lock
    that its user is to release, or has taken one that its user does not know of, for good.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiters: list[Any] = []

    @property
    def is_held(self) -> bool:
        """Whether this thread holds the lock."""
        return self._is_owned()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock until notified; return whether that was within *timeout* seconds."""
        waiter = threading.Lock()
        waiter.acquire()
        with Uninterrupted():
            self._waiters.append(waiter)
            held = self._release_save()
            try:
                with Interruptible():
                    return wait_in_slices(partial(acquire, waiter), timeout)
            finally:
                self._acquire_restore(held)
                self._forget(waiter)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until *predicate* is true, *timeout* seconds at most; return what it was last."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not (outcome := predicate()):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self.wait(left)
        except BaseException:
            self.notify()  # another, if it was this one that had been woken
            raise
        return outcome

    def notify(self, n: int = 1) -> None:
        """Wake *n* of those who wait; called with the lock held."""
        if self._waiters:
            with Uninterrupted():
                # A signal's handler may do all this in between, or raise there.
                while n > 0 and (first := self._waiters[:1]):
                    n -= _wake(first[0])
                    self._forget(first[0])

    def notify_all(self) -> None:
        """Wake all who wait; called with the lock held."""
        self.notify(len(self._waiters))

    def _forget(self, waiter: Any) -> None:
        """Have *waiter* on the list no more."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return


def acquire(lock: Any, timeout: float | None) -> bool:
    """Take one of threading's locks; return whether it was to be had in *timeout* seconds."""
    longest = threading.TIMEOUT_MAX
    taken: bool = lock.acquire(timeout=-1 if timeout is None else min(timeout, longest))
    return taken


def _wake(waiter: Any) -> bool:
    """Return whether *waiter* was asleep, and wake it."""
    try:
        waiter.release()
    except RuntimeError:
        return False
    return True


class Event:
    """threading's, on such a condition variable."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, for good."""
        with Uninterrupted(), self._changed:
            self._is_set = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether it is set within *timeout* seconds."""
        with Uninterrupted(), self._changed:
            return self._changed.wait_for(self.is_set, timeout)


def wait_in_slices(wait: Callable[[float | None], T], timeout: float | None = None) -> T:
    """Return what `wait(timeout)` returns once it is true, or *timeout* seconds have passed.

    *wait* must look at what it waits for before it blocks. Condition variables and events of this
    module need this not: they do so themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        return wait(timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        strike()
        left = SLICE if deadline is None else max(deadline - time.monotonic(), 0)
        outcome = wait(min(left, SLICE))
        if outcome or left <= 0:
            return outcome


def interrupted() -> bool:
    """Return whether Ctrl-C has ended the main program, or something that Ctrl-C brought about."""
    error: BaseException | None = getattr(sys, "last_value", None)
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
