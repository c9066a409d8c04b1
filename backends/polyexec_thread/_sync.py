"""threading's synchronisation objects with multiprocessing's signatures.

`acquire(block=True, timeout=None)` is multiprocessing's, and a negative timeout counts as 0 there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class _Lock:
    """What Lock and RLock share: multiprocessing's signature around one of threading's locks."""

    _raw: Any

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 - multiprocessing's signature
        """Take the lock; blocks, for *timeout* seconds at most, if *block*."""
        return bool(self._raw.acquire(*_waiting(block=block, timeout=timeout)))

    def release(self) -> None:
        """Give the lock up."""
        self._raw.release()

    def __enter__(self) -> bool:
        return bool(self._raw.__enter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._raw.release()


class ThreadLock(_Lock):
    """multiprocessing's Lock, for threads: any thread may release it."""

    def __init__(self) -> None:
        self._raw = threading.Lock()

    def locked(self) -> bool:
        """Return whether somebody holds the lock."""
        return bool(self._raw.locked())

    def __repr__(self) -> str:
        return f"<Lock({'locked' if self.locked() else 'unlocked'})>"


class ThreadRLock(_Lock):
    """multiprocessing's RLock, for threads: its holder may take it again."""

    def __init__(self) -> None:
        self._raw = threading.RLock()
        # What threading.Condition uses of a lock that is held more than once.
        raw: Any = self._raw
        self._is_owned = raw._is_owned
        self._release_save = raw._release_save
        self._acquire_restore = raw._acquire_restore

    def __repr__(self) -> str:
        return repr(self._raw).replace("_thread.RLock", "RLock")


class ThreadSemaphore(_Lock):
    """multiprocessing's Semaphore, for threads."""

    _kind: type[threading.Semaphore] = threading.Semaphore

    def __init__(self, value: int = 1) -> None:
        self._raw = self._kind(value)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 - multiprocessing's signature
        """Take one unit; blocks, for *timeout* seconds at most, if *block*."""
        if not block:
            return bool(self._raw.acquire(blocking=False))
        return bool(self._raw.acquire(timeout=None if timeout is None else max(timeout, 0)))

    def get_value(self) -> int:
        """Return how many units are free."""
        return int(self._raw._value)

    def __repr__(self) -> str:
        return f"<{self._kind.__name__}(value={self.get_value()})>"


class ThreadBoundedSemaphore(ThreadSemaphore):
    """multiprocessing's BoundedSemaphore, for threads."""

    _kind = threading.BoundedSemaphore


class ThreadCondition(threading.Condition):
    """multiprocessing's Condition, for threads."""

    def __init__(self, lock: Any = None) -> None:
        own: Any = ThreadRLock()
        super().__init__(own if lock is None else lock)


class ThreadEvent(threading.Event):
    """multiprocessing's Event, for threads."""

    def __repr__(self) -> str:
        return f"<Event at {id(self):#x} {'set' if self.is_set() else 'unset'}>"


def _waiting(*, block: bool, timeout: float | None) -> tuple[bool, float]:
    if not block:
        return False, -1
    return True, -1 if timeout is None else max(timeout, 0)
