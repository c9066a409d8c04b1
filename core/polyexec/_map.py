"""`Executor.map`: lazy, bounded, adaptive.

Finished futures are announced through one queue, on which the reader waits: it wakes to submit more
whenever anything ends, not only the result that is next, or one slow item at the head would idle
the other workers.

    next()  ->  take note of what ended  ->  pull and submit up to the bound  ->  result, or wait
"""

from __future__ import annotations

import itertools
import operator
import queue
import sys
import threading
import time
from collections import deque
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from polyexec._chunk import AdaptiveSize, ChunkOutcome, FixedSize
from polyexec._feeder import MAX_UNREAD, Feeder
from polyexec.arguments import need_callable, positive
from polyexec.interrupts import Interruptible, Uninterrupted
from polyexec.waiting import acquire, wait_in_slices

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator

    from polyexec.executor import Executor

T = TypeVar("T")

#: How many inputs for each worker may be pulled before a result is read.
AHEAD: Final = 2048
#: The end of the results, where it is passed on like an error.
_END = StopIteration()
#: From how many plain values on a chunk's are read from their list, which keeps them to its end.
_MANY: Final = 64
#: Whether threads that read from one iterator of a list never get the same value.
_IS_LOCKED: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()


class Outcome(NamedTuple):
    """What one item came to: an exception, or else a value."""

    value: Any
    error: BaseException | None = None


class MapIterator(Generic[T]):
    """The results of one `map`, whose inputs a Feeder pulls and submits as they are read."""

    _timeout_error: type[Exception] = FutureTimeoutError

    def __init__(
        self,
        feeder: Feeder,
        *,
        deadline: float | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> None:
        self._feeder = feeder
        self._deadline = deadline
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._reading = threading.Lock()  # held by the one thread that reads
        self._reader: int | None = None
        self._outcomes: deque[Outcome] = deque()
        #: Values that come before those outcomes, and need no more looking after; the list's first.
        self._listed: Iterator[T] = iter(())
        self._values: deque[T] = deque()
        self._input_error: BaseException | None = None

    #: Whether a result was asked for.
    _started = False

    def __iter__(self) -> Iterator[T]:
        # Our own `__next__` takes longer than a tiny item. However many of these there are, and
        # calls of `__next__` in between, each value is had once: all take them from the same place.
        return itertools.chain.from_iterable(_Runs(self))

    def __next__(self) -> T:
        for value in self._listed:
            return value
        try:
            return self._values.popleft()
        except IndexError:
            pass
        try:
            while True:
                for value in self._next_run():
                    return value  # else another thread has taken the last one
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def _next_run(self) -> Iterator[T]:
        """Return an iterator over the next results that are there; blocks for one.

        What it does not get to remains to be read.
        """
        if operator.length_hint(self._listed):
            return self._listed
        if self._values:
            return _taken(self._values)
        me = threading.get_ident()
        if self._reader == me:
            raise ValueError("a map's results can't be read by its own input")
        if self._deadline is None:
            with self._reading:
                outcome = self._read_as(me)
        else:
            with Uninterrupted():
                left = max(self._deadline - time.monotonic(), 0)
                if not wait_in_slices(partial(acquire, self._reading), left):
                    raise self._timeout_error
                try:
                    with Interruptible():
                        outcome = self._read_as(me)
                finally:
                    self._reading.release()
        if outcome is None:
            return self._listed if operator.length_hint(self._listed) else _taken(self._values)
        try:
            return iter((self._deliver(outcome),))
        finally:
            del outcome
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def _read_as(self, reader: int) -> Outcome | None:
        try:
            self._reader = reader
            return self._read()
        finally:
            self._reader = None

    def __enter__(self) -> MapIterator[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what has not started, if a result was read; else let every input run."""
        if self._started:
            self._drop_values()
            self._feeder.forget()
        else:
            self._feeder.drain()

    def __del__(self) -> None:
        feeder: Feeder | None = self.__dict__.get("_feeder")
        if feeder is not None and not feeder.finished:
            self.close()
            if feeder.failure is not None:
                raise feeder.failure

    def _read(self) -> Outcome | None:
        """Return the next outcome, None if there are values; blocks for either."""
        self._started = True
        feeder = self._feeder
        while True:
            with suppress(queue.Empty):
                while not feeder.ended.empty():
                    self._note_end(feeder.ended.get_nowait())
            feeder.pull()
            if not self._has_no_value():
                return None
            if self._outcomes:
                feeder.read(1)
                return self._outcomes.popleft()
            head = feeder.head()
            if head is not None and head.done():
                self._note(feeder.take(head))
            elif feeder.finished:
                self._input_error, feeder.error = feeder.error, None
                return Outcome(None, self._input_error or _END)
            else:
                self._wait()

    def _note_end(self, future: concurrent.futures.Future[Any] | None) -> None:
        if future is None:  # the inputs ended, as `_read` will see
            return
        if self._feeder.note_end(future) and not self._ordered:
            self._note(self._feeder.take(future))

    def _note(self, outcome: ChunkOutcome) -> None:
        """Keep the outcome of a chunk until it is read."""
        values, errors = outcome.values, outcome.errors
        if errors or self._outcomes or self._feeder.counts_each:
            places = enumerate(values)
            self._outcomes.extend(Outcome(value, errors.get(place)) for place, value in places)
        else:
            self._feeder.read(len(values))
            if outcome.plain and len(values) >= _MANY and _IS_LOCKED and self._has_no_value():
                self._listed = iter(values)
            else:
                self._values.extend(values)

    def _has_no_value(self) -> bool:
        return not self._values and not operator.length_hint(self._listed)

    def _drop_values(self) -> None:
        # Those that iterate over them shall come to the end as well.
        for _ in self._listed:
            pass
        self._values.clear()

    def _wait(self) -> None:
        """Wait until something ends."""
        feeder = self._feeder
        remaining = None
        if self._deadline is not None:
            remaining = max(self._deadline - time.monotonic(), 0)
        feeder.reader_waits = True
        try:
            feeder.pull()
            ended = wait_in_slices(feeder.next_end, remaining)
        finally:
            feeder.reader_waits = False
        if not ended:
            self._failed()
            raise self._timeout_error
        self._note_end(*ended)

    def _deliver(self, outcome: Outcome) -> T:
        error = outcome.error
        if error is None:
            result: T = outcome.value
            return result
        if error is _END:
            raise StopIteration
        if self._return_exceptions and error is not self._input_error:
            return error  # type: ignore[return-value]  # as the caller asked
        self._failed()
        self._input_error = None
        try:
            if isinstance(error, StopIteration):  # it would end the caller's loop, see PEP 479
                raise RuntimeError("a task raised StopIteration") from error  # noqa: TRY004
            raise error
        finally:
            # The traceback of what is raised must not keep this iterator alive in a cycle.
            del error, outcome
            self = None  # type: ignore[assignment]  # noqa: PLW0642

    def _failed(self) -> None:
        """End the iterator, for an error is about to be raised."""
        self._outcomes.clear()
        self._drop_values()
        self._feeder.forget()


class _Runs(Generic[T]):
    """The results of a map, as many at a time as are there."""

    __slots__ = ("_results",)

    def __init__(self, results: MapIterator[T]) -> None:
        self._results = results

    def __iter__(self) -> Iterator[Iterator[T]]:
        return self

    def __next__(self) -> Iterator[T]:
        return self._results._next_run()


def _taken(values: deque[T]) -> Iterator[T]:
    """Take the *values* one by one, which several may do at once, and keep none of them."""
    with suppress(IndexError):
        while True:
            yield values.popleft()


def submit_map(
    executor: Executor,
    submit: Callable[..., concurrent.futures.Future[Any]],
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    chunksize: int | None,
    buffersize: int | None,
    ordered: bool,
    return_exceptions: bool,
) -> MapIterator[T]:
    """Check the arguments of `Executor.map`, and submit the first inputs."""
    need_callable("map()", fn)
    if timeout is not None and not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}; None is no limit")
    workers = executor._max_workers
    if chunksize is not None:
        chunksize = positive("chunksize", chunksize, "leave it out to have it adapted")
    if buffersize is not None:
        buffersize = positive("buffersize", buffersize, "leave it out for no such bound")
    remaining = min((operator.length_hint(inputs) for inputs in iterables), default=0)
    single = len(iterables) == 1
    adaptive = chunksize is None and executor.adapts_chunks
    feeder = Feeder(
        submit,
        fn,
        iter(iterables[0]) if single else zip(*iterables, strict=False),
        single=single,
        sizes=AdaptiveSize(remaining, workers, executor.chunk_seconds)
        if adaptive
        else FixedSize(chunksize or 1),
        bound=bound_of(workers),
        buffersize=buffersize,
        ledger=executor._ledger,
        few=2 * workers,
        ahead=min(AHEAD * workers, MAX_UNREAD),
        crowded=lambda: executor.crowded,
    )
    results = MapIterator[T](
        feeder,
        deadline=None if timeout is None else timeout + time.monotonic(),
        ordered=ordered,
        return_exceptions=return_exceptions,
    )
    feeder.pull()
    if feeder.error is not None and feeder.head() is None:  # nothing came before it
        error, feeder.error = feeder.error, None
        raise error
    return results


def bound_of(workers: int) -> int:
    """Return how many futures of one map may be unfinished at a time."""
    return 16 * workers + 32
