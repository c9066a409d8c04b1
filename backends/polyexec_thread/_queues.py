"""multiprocessing's queues, for threads: objects are handed over as they are."""

from __future__ import annotations

import queue
from typing import Any

from polyexec_thread._handles import Handle, passed_on


class ThreadQueue(Handle):
    """multiprocessing's Queue, for threads; each process closes its own handle."""

    def __init__(self, maxsize: int = 0, shared: queue.Queue[Any] | None = None) -> None:
        self._maxsize = maxsize
        self._shared = shared or queue.Queue(maxsize)
        self._closed = False
        self._used = False

    def duplicate(self) -> ThreadQueue:
        """Return another handle of this queue."""
        return type(self)(self._maxsize, self._shared)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - multiprocessing's signature
        """Put *obj* in; `queue.Full` if there is no room, after *timeout* seconds if *block*."""
        self._check_open()
        self._shared.put(passed_on(obj), block, _at_least_zero(timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - multiprocessing's signature
        """Take an object out; `queue.Empty` if none comes, in *timeout* seconds if *block*."""
        self._check_open()
        return self._shared.get(block, _at_least_zero(timeout))

    def put_nowait(self, obj: Any) -> None:
        """Put *obj* in, or raise `queue.Full`."""
        self.put(obj, block=False)

    def get_nowait(self) -> Any:
        """Take an object out, or raise `queue.Empty`."""
        return self.get(block=False)

    def qsize(self) -> int:
        """Return the number of objects in the queue."""
        return self._shared.qsize()

    def empty(self) -> bool:
        """Return whether the queue is empty; OSError if it was used and closed."""
        if self._closed and self._used:
            raise OSError(f"Queue {self!r} is closed")
        return self._shared.empty()

    def full(self) -> bool:
        """Return whether the queue is full."""
        return self._shared.full()

    def close(self) -> None:
        """Put no more from here."""
        self._closed = True

    def join_thread(self) -> None:
        """Do nothing: there is no feeder thread, what was put is in."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Do nothing: there is no feeder thread."""

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        self._used = True


class ThreadJoinableQueue(ThreadQueue):
    """multiprocessing's JoinableQueue, for threads."""

    def task_done(self) -> None:
        """Tell that an object taken out has been dealt with."""
        self._shared.task_done()

    def join(self) -> None:
        """Return once every object put in has been dealt with."""
        self._shared.join()


class ThreadSimpleQueue(Handle):
    """multiprocessing's SimpleQueue, for threads."""

    def __init__(self, shared: queue.SimpleQueue[Any] | None = None) -> None:
        self._shared = shared or queue.SimpleQueue()
        self._closed = False

    def duplicate(self) -> ThreadSimpleQueue:
        """Return another handle of this queue."""
        return ThreadSimpleQueue(self._shared)

    def put(self, obj: Any) -> None:
        """Put *obj* in."""
        self._check_open()
        self._shared.put(passed_on(obj))

    def get(self) -> Any:
        """Take an object out; blocks for one."""
        self._check_open()
        return self._shared.get()

    def empty(self) -> bool:
        """Return whether the queue is empty."""
        self._check_open()
        return self._shared.empty()

    def close(self) -> None:
        """Give up this handle."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(f"queue {self!r} is closed")


def _at_least_zero(timeout: float | None) -> float | None:
    return timeout if timeout is None else max(timeout, 0)
