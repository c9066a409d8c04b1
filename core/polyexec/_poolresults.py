"""What a Pool hands back for work that goes on: AsyncResult, MapResult and IMapIterator."""

from __future__ import annotations

import functools
import itertools
import multiprocessing.pool
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from polyexec._feeder import error_of
from polyexec._map import Results
from polyexec.future import Settling
from polyexec.interrupts import Interruptible
from polyexec.waiting import Event

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from polyexec._chunk import ChunkOutcome
    from polyexec.future import Future
    from polyexec.pool import Pool

__all__ = ["AsyncResult", "IMapIterator", "MapResult"]

if TYPE_CHECKING:
    _StandardIterator = multiprocessing.pool.IMapIterator[Any]
else:
    _StandardIterator = multiprocessing.pool.IMapIterator  # which can't be subscripted

_numbers = itertools.count()


class AsyncResult(multiprocessing.pool.ApplyResult[Any]):
    """The outcome of `Pool.apply_async`; it is ready when its callback has run."""

    def __init__(
        self,
        pool: Pool,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._event = Event()
        self._callback = callback
        self._error_callback = error_callback
        self._job = next(_numbers)
        self._cache = pool._cache
        self._pool: Pool | None = pool
        self._success = True
        self._value: Any = None

    def watch(self, futures: list[Future[Any]]) -> None:
        """Become ready when the one future has ended."""
        self._keep()
        self._when_ended(futures[0], self._ended)

    def _keep(self) -> None:
        """Be alive until ready, whoever holds it; not before, for `submit` may raise."""
        self._cache[self._job] = self

    def _when_ended(
        self, future: Future[Any], call: Callable[[concurrent.futures.Future[Any]], None]
    ) -> None:
        if self._callback is None and self._error_callback is None:
            future._watch(_Call(call))  # at once, and on whatever thread
        else:
            future.add_done_callback(Settling(call))

    def wait(self, timeout: float | None = None) -> None:
        """Block until the result is ready, for *timeout* seconds at most."""
        self._event.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return the value or raise the error; `multiprocessing.TimeoutError` after *timeout* s."""
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        if self._success:
            return self._value
        try:
            raise self._value
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by the traceback

    def _ended(self, future: concurrent.futures.Future[Any]) -> None:
        error = error_of(future)
        if error is not None:
            self._success, self._value = False, error
        else:
            self._value = future.result()
        self._become_ready()

    def _become_ready(self) -> None:
        callback = self._callback if self._success else self._error_callback
        try:
            if callback is not None and not isinstance(self._value, CancelledError):
                with Interruptible(at_once=False):
                    callback(self._value)
        finally:
            self._cache.pop(self._job, None)
            self._pool = self._callback = self._error_callback = None
            self._event.set()


class _Call:
    """A waiter that calls a function, however the future ended."""

    def __init__(self, call: Callable[[concurrent.futures.Future[Any]], None]) -> None:
        self.add_result = self.add_exception = self.add_cancelled = call


class MapResult(AsyncResult, multiprocessing.pool.MapResult[Any]):
    """The outcome of `Pool.map_async`: a list, or the first error once every chunk has ended."""

    def watch(self, futures: list[Future[Any]]) -> None:
        """Become ready when all *futures*, each of a chunk, have ended."""
        self._keep()
        self._left = len(futures)
        self._lock = threading.RLock()
        self._chunks: list[list[Any]] = [[]] * len(futures)
        if not futures:
            self._value = []
            self._callback = None  # multiprocessing calls none for nothing, either
            self._become_ready()
        for place, future in enumerate(futures):
            self._when_ended(future, functools.partial(self._chunk_ended, place))

    def _chunk_ended(self, place: int, future: concurrent.futures.Future[Any]) -> None:
        error = error_of(future)
        values: list[Any] = []
        if error is None:
            outcome: ChunkOutcome = future.result()
            values = outcome.values
            error = outcome.errors[min(outcome.errors)] if outcome.errors else None
        with self._lock:
            self._chunks[place] = values
            if error is not None and self._success:
                self._success, self._value = False, error
            self._left -= 1
            last = not self._left
        if last:
            chunks, self._chunks = self._chunks, []
            if self._success:
                self._value = list(itertools.chain.from_iterable(chunks))
            self._become_ready()


class IMapIterator(Results[Any], _StandardIterator):  # type: ignore[misc]  # both iterate
    """The results of `Pool.imap`: an item's error is raised in its place, and the rest follow."""

    _timeout_error = multiprocessing.TimeoutError

    #: The pool's iterators that nobody has read from: it keeps them, and drains them when closed.
    unread: set[IMapIterator] | None = None
    #: The pool, which ends when it is dropped: not before this has been read.
    pool: Pool | None = None

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result; `multiprocessing.TimeoutError` if it takes *timeout* seconds."""
        if self.unread is not None:
            self.unread.discard(self)
            self.unread = None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        try:
            return super().__next__()
        except StopIteration:
            self.pool = None
            raise

    def __next__(self, timeout: float | None = None) -> Any:
        return self.next(timeout)

    def _failed(self) -> None:
        """Go on: neither an item's error nor a timeout ends the iterator."""
