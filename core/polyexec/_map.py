"""`Executor.map`: lazy, bounded, adaptive.

Finished futures are announced through one queue, on which the reader waits: it wakes to submit more
whenever anything ends, not only the result that is next, or one slow item at the head would idle
the other workers.

    next()  ->  take note of what ended  ->  pull and submit up to the bound  ->  result, or wait
"""

from __future__ import annotations

import itertools
import operator
import sys
import threading
import time
from collections import deque
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from polyexec._chunk import AdaptiveSize, ChunkOutcome, FixedSize
from polyexec._feeder import MAX_UNREAD, Feeder, error_of
from polyexec.arguments import need_callable, positive
from polyexec.interrupts import Interruptible, Uninterrupted
from polyexec.namedtuple import NamedTuple
from polyexec.waiting import acquire, wait_in_slices

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator

    from polyexec.executor import Executor

T = TypeVar("T")

#: How many inputs for each worker may be pulled before a result is read, if they come one by one.
AHEAD: Final = 2048
#: Where the next link of a chain is put.
_LINK: Final = "link"
#: The end of the results, where it is passed on like an error.
_END = StopIteration()


class Outcome(NamedTuple):
    """What one item came to: an exception, or else a value."""

    value: Any
    error: BaseException | None = None


class Run(Generic[T]):
    """Some values, each of which is let go of as it is read, if they are not all *numbers*.

    It is true as long as some are left.
    """

    def __init__(self, values: list[T], *, numbers: bool) -> None:
        self._left: Any
        #: Reads them, for all who do.
        self.values: Iterator[T]
        if numbers:
            self.values = self._left = iter(values)
        else:
            self._left = itertools.repeat(deque(values), len(values))
            self.values = map(deque.popleft, self._left)

    def __bool__(self) -> bool:
        return operator.length_hint(self._left) > 0

    def drop(self) -> None:
        """Let go of those that are left."""
        deque(self.values, maxlen=0)


class Results(Generic[T]):
    """The results of a map, whose inputs a Feeder pulls and submits as they are read."""

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
        #: Values that come before those outcomes, and need no more looking after, in several runs
        #: of which one is being read.
        self._runs: deque[Run[T]] = deque()
        self.run: Run[T] = Run([], numbers=True)
        #: Futures that ended, and of which that is all that has been seen.
        self._ended: deque[concurrent.futures.Future[Any]] = deque()
        self._input_error: BaseException | None = None

    #: Whether a result was asked for.
    _started = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return next(self.run.values)
        except StopIteration:
            pass
        try:
            return self.await_next()
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def await_next(self) -> T:
        """Return the next one, which is not there yet; raises StopIteration after the last."""
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
        try:
            if outcome.error is None:
                value: T = outcome.value
                return value
            with Uninterrupted():  # it ends by the error, or is not over
                return self._deliver(outcome.error)
        finally:
            del outcome
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def _read_as(self, reader: int) -> Outcome:
        try:
            self._reader = reader
            return self._read()
        finally:
            self._reader = None

    def close(self) -> None:
        """Cancel what has not started, if a result was read; else let every input run."""
        if self._started:
            self._drop()
            self._feeder.forget()
        else:
            self._feeder.drain()

    def __del__(self) -> None:
        feeder: Feeder | None = self.__dict__.get("_feeder")
        if feeder is not None and not feeder.finished:
            self.close()
            if feeder.failure is not None:
                raise feeder.failure

    def _read(self) -> Outcome:
        """Return the next outcome; blocks for it."""
        self._started = True
        feeder = self._feeder
        while True:
            self._see_to_ends()
            feeder.pull()
            with suppress(StopIteration):
                return Outcome(self._next_in_runs())
            if self._outcomes:
                feeder.read(1)
                return self._outcomes.popleft()
            head = feeder.head()
            if head is not None and head.done():
                self._take(head)
            elif feeder.finished:
                self._input_error, feeder.error = feeder.error, None
                return Outcome(None, self._input_error or _END)
            else:
                self._wait()

    def _see_to_ends(self) -> None:
        """See to all that has ended."""
        feeder = self._feeder
        if feeder.ended:
            with Uninterrupted():  # one that was taken, and not noted, would be waited for for ever
                while feeder.ended:
                    future = feeder.ended.take()
                    if future is not None:  # the inputs ended, as `_read` will see
                        feeder.note_end()
                        self._ended.append(future)
        # Where Ctrl-C strikes in here, the first is seen to again.
        while self._ended:
            if feeder.learn(self._ended[0]) and not self._ordered:
                self._take(self._ended[0])
            self._ended.popleft()

    def _take(self, future: concurrent.futures.Future[Any]) -> None:
        """Keep the outcome of *future*, which has ended, until it is read."""
        error_of(future)  # by the user's code perhaps, which Ctrl-C may strike
        with Uninterrupted():
            outcome = self._feeder.take(future)
            if outcome is not None:
                self._note(outcome)

    def _note(self, outcome: ChunkOutcome) -> None:
        """Keep the outcome of a chunk until it is read."""
        values, errors = outcome.values, outcome.errors
        if errors or self._outcomes or self._feeder.counts_each:
            places = enumerate(values)
            self._outcomes.extend(Outcome(value, errors.get(place)) for place, value in places)
        else:
            self._feeder.read(len(values))
            self._runs.append(Run(values, numbers=outcome.numbers))

    def _next_in_runs(self) -> T:
        """Return the next of the values that are there; raises StopIteration if none is left."""
        while True:
            with suppress(StopIteration):  # another thread may take the last one
                return next(self.run.values)
            with Uninterrupted():
                try:
                    self.run = self._runs.popleft()
                except IndexError:
                    raise StopIteration from None

    def _drop(self) -> None:
        """Let go of what was not read."""
        self._outcomes.clear()
        self._runs.clear()
        self.run.drop()

    def _wait(self) -> None:
        """Wait until something ends."""
        feeder = self._feeder
        remaining = None
        if self._deadline is not None:
            remaining = max(self._deadline - time.monotonic(), 0)
        feeder.reader_waits = True
        try:
            feeder.pull()
            ended = wait_in_slices(feeder.ended.wait, remaining)
        finally:
            feeder.reader_waits = False
        if not ended:
            self._failed()
            raise self._timeout_error

    def _deliver(self, error: BaseException) -> T:
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
            del error
            self = None  # type: ignore[assignment]  # noqa: PLW0642

    def _failed(self) -> None:
        """End the iterator, for an error is about to be raised."""
        self._drop()
        self._feeder.forget()


class MapIterator(itertools.chain[T]):
    """The results of one `map`.

    As a chain of what is there and of what is to be waited for, it calls no code in Python for each
    value that is there. What raises, Ctrl-C for one, does so in a link of it: in what makes the
    links it would end the chain. Threads may share it: each finds the same run, until all is read.
    """

    _results: Results[T]

    @classmethod
    def of(cls, results: Results[T]) -> MapIterator[T]:
        """Return an iterator over *results*."""
        links: dict[str, Any] = {}
        # What is there if it was put there, else what waits; None is the end. All of it is in C.
        take = partial(links.pop, _LINK, _Awaited(results, links))
        self = cast("MapIterator[T]", cls.from_iterable(iter(take, None)))
        self._results = results
        return self

    def __enter__(self) -> MapIterator[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what has not started, if a result was read; else let every input run."""
        self._results.close()


class _Awaited(Generic[T]):
    """Values that are not there yet; it ends once some are, which it has as the next of *links*."""

    def __init__(self, results: Results[T], links: dict[str, Any]) -> None:
        self._results = results
        self._links = links

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        run = self._results.run
        if run:
            self._links[_LINK] = run.values
            raise StopIteration
        try:
            return self._results.await_next()
        except StopIteration:
            self._links[_LINK] = None
            raise
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback


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
    remaining = min(map(_length_hint, iterables), default=0)
    single = len(iterables) == 1
    adaptive = chunksize is None and executor.adapts_chunks
    feeder = Feeder(
        submit,
        fn,
        _inputs_of(iterables),
        single=single,
        sizes=AdaptiveSize(remaining, workers, executor.chunk_seconds)
        if adaptive
        else FixedSize(chunksize or 1),
        bound=bound_of(workers),
        buffersize=buffersize,
        ledger=executor._ledger,
        few=2 * workers,
        ahead=MAX_UNREAD if _is_there(iterables) else min(AHEAD * workers, MAX_UNREAD),
        crowded=lambda: executor.crowded,
    )
    results = Results[T](
        feeder,
        deadline=None if timeout is None else timeout + time.monotonic(),
        ordered=ordered,
        return_exceptions=return_exceptions,
    )
    feeder.pull()
    if feeder.error is not None and feeder.head() is None:  # nothing came before it
        error, feeder.error = feeder.error, None
        raise error
    return MapIterator.of(results)


def _length_hint(inputs: Iterable[Any]) -> int:
    try:
        return operator.length_hint(inputs)
    except OverflowError:  # a range may have very many
        return sys.maxsize


def _inputs_of(iterables: tuple[Iterable[Any], ...]) -> Iterator[Any] | range:
    if len(iterables) != 1:
        return zip(*iterables, strict=False)
    inputs = iterables[0]
    return inputs if isinstance(inputs, range) else iter(inputs)


def _is_there(iterables: tuple[Iterable[Any], ...]) -> bool:
    """Return whether all inputs are there already, and to pull them takes nothing from anybody."""
    return all(type(inputs) in (list, tuple, range) for inputs in iterables)


def bound_of(workers: int) -> int:
    """Return how many futures of one map may be unfinished at a time."""
    return 16 * workers + 32
