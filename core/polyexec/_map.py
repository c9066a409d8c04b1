"""`Executor.map`: lazy, bounded, adaptive.

Finished futures are announced through one queue, on which the reader waits: it wakes to submit more
whenever anything ends, not only the result that is next, or one slow item at the head would idle
the other workers.

    next()  ->  take note of what ended  ->  pull and submit up to the bound  ->  result, or wait
"""

from __future__ import annotations

import operator
import queue
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
from polyexec.interrupts import Uninterrupted
from polyexec.waiting import acquire, wait_in_slices

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator

    from polyexec.executor import Executor

T = TypeVar("T")

#: How many inputs for each worker may be pulled before a result is read.
AHEAD: Final = 2048
#: How many outcomes are taken at a time, where they are there.
_AT_ONCE: Final = 64
#: The end of the results, where it is passed on like an error.
_END = StopIteration()


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
        #: Values that come before those outcomes, and need no more looking after.
        self._values: deque[T] = deque()
        self._input_error: BaseException | None = None

    #: Whether a result was asked for.
    _started = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while True:
            # Nothing comes behind this, for where Ctrl-C strikes there the value is lost.
            try:
                return self._values.popleft()
            except IndexError:
                pass
            try:
                self._fill()
            except BaseException:
                self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback
                raise

    def _fill(self) -> None:
        """Add values to those that there are, one at least, or raise what comes instead."""
        try:
            outcome = self._await()
            if outcome is not None:
                self._values.append(self._deliver(outcome))
        finally:
            outcome = None
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def _await(self) -> Outcome | None:
        """Return the next outcome, None if there are values; blocks for either."""
        me = threading.get_ident()
        if self._reader == me:
            raise ValueError("a map's results can't be read by its own input")
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
        outcome: Outcome | None = None
        try:
            # An end that was taken from the queue, and not noted, would be waited for for ever.
            with Uninterrupted():
                outcome = self._read_as(me, left)
        except BaseException:
            if outcome is not None:  # Ctrl-C, which was put off until now
                self._outcomes.appendleft(outcome)
                self._feeder.read(-1)
            raise
        return outcome

    def _read_as(self, reader: int, timeout: float | None) -> Outcome | None:
        if not (
            self._reading.acquire(blocking=False)
            or wait_in_slices(partial(acquire, self._reading), timeout)
        ):
            raise self._timeout_error
        try:
            self._reader = reader
            return self._read()
        finally:
            self._reader = None
            self._reading.release()

    def __enter__(self) -> MapIterator[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what has not started, if a result was read; else let every input run."""
        if self._started:
            self._values.clear()
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
        self._started = True
        feeder = self._feeder
        while True:
            with suppress(queue.Empty):
                while not feeder.ended.empty():
                    self._note_end(feeder.ended.get_nowait())
            feeder.pull()
            if self._values:
                return None
            if self._outcomes:
                outcome = self._outcomes.popleft()
                feeder.read(1)
                if outcome.error is not None:
                    return outcome
                self._values.append(outcome.value)
                return None
            head = feeder.head()
            if head is not None and head.done():
                self._take_from(head)
            elif feeder.finished:
                self._input_error, feeder.error = feeder.error, None
                return Outcome(None, self._input_error or _END)
            else:
                self._wait()

    def _take_from(self, head: concurrent.futures.Future[Any]) -> None:
        """Take the outcome of *head*, and of those behind it that are there, some at a time."""
        feeder, left = self._feeder, _AT_ONCE
        following: concurrent.futures.Future[Any] | None = head
        while following is not None and following.done() and left and not self._outcomes:
            self._note(feeder.take(following))
            following = feeder.head()
            left -= 1

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
            self._values.extend(values)

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
        self._values.clear()
        self._feeder.forget()


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
