"""`Executor.map`: lazy, bounded, adaptive.

Inputs are pulled in the thread that asks for results, when it asks for them, so an input iterator
needs no lock and its errors surface where it is used. Finished futures are announced through one
queue, on which the reader waits: it wakes to submit more whenever anything ends, not only the
result that is next, or one slow item at the head would idle the other workers.

    next()  ->  take note of what ended  ->  pull and submit up to the bound  ->  result, or wait
"""

from __future__ import annotations

import itertools
import operator
import queue
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from polyexec._chunk import AdaptiveSize, Chunk, ChunkOutcome, FixedSize, Outcome
from polyexec._current import here
from polyexec.arguments import need_callable, positive
from polyexec.future import Future

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator

    from polyexec._ledger import Ledger
    from polyexec.executor import Executor

T = TypeVar("T")

#: The end of the results, where it is passed on like an error.
_END = StopIteration()

#: How many results may wait to be read while the next one is not there yet.
MAX_UNREAD = 1 << 16


class _Report:
    """Puts a future that ended into a queue; tells nobody else and keeps nothing alive."""

    __slots__ = ("add_cancelled", "add_exception", "add_result")

    def __init__(self, ended: queue.SimpleQueue[Any]) -> None:
        self.add_cancelled = self.add_exception = self.add_result = ended.put


class MapIterator(Generic[T]):
    """The results of one `map`, pulled and submitted as they are read.

    *bound*: how many futures may be unfinished. *buffersize*: how many inputs may be ahead of the
    results yielded, None for no such limit.
    """

    #: Whether a chunk in which the input iterator fails is dropped as a whole, as Pool does.
    _whole_chunks = False
    _timeout_error: type[Exception] = FutureTimeoutError

    def __init__(
        self,
        submit: Callable[..., concurrent.futures.Future[Any]],
        fn: Callable[..., T],
        inputs: Iterator[tuple[Any, ...]],
        *,
        sizes: FixedSize | AdaptiveSize,
        bound: int,
        buffersize: int | None,
        deadline: float | None,
        ordered: bool,
        return_exceptions: bool,
        ledger: Ledger,
    ) -> None:
        self._ledger = ledger
        self._submit: Callable[..., concurrent.futures.Future[Any]] | None = submit
        self._fn = fn
        self._inputs: Iterator[tuple[Any, ...]] | None = inputs
        self._sizes = sizes
        self._plain = isinstance(sizes, FixedSize) and sizes.size == 1  # no Chunk around an item
        self._bound = bound
        self._buffersize = buffersize
        self._deadline = deadline
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._lock = threading.RLock()  # guards `_pending`, which shutdown reads
        self._reading = threading.Lock()  # held by the one thread that reads
        self._reader: int | None = None
        self._pulling = threading.Lock()  # held while pulling, waited for by nobody
        self._pending: OrderedDict[concurrent.futures.Future[Any], int] = OrderedDict()
        self._ended: queue.SimpleQueue[concurrent.futures.Future[Any]] = queue.SimpleQueue()
        self._report = _Report(self._ended)
        self._outcomes: deque[Outcome] = deque()
        self._unfinished = 0
        self._unread = 0
        self._started = self._waiting = self._everything = self._cancelled = False
        self.error: BaseException | None = None
        self._input_error: BaseException | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        me = threading.get_ident()
        if self._reader == me:
            raise ValueError("a map's results can't be read by its own input")
        timeout = -1 if self._deadline is None else max(self._deadline - time.monotonic(), 0)
        if not self._reading.acquire(timeout=timeout):
            raise self._timeout_error
        self._reader = me
        try:
            outcome = self._read()
        finally:
            self._reader = None
            self._reading.release()
        try:
            return self._deliver(outcome)
        finally:
            del outcome
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - no cycle by a traceback

    def _read(self) -> Outcome:
        """Return the next outcome; blocks for it."""
        self._started = True
        while True:
            self._take_note()
            self.pull()
            if self._outcomes:
                self._unread -= 1
                return self._outcomes.popleft()
            if self._open_next():
                continue
            if not self._pending and self._inputs is None:
                error, self.error = self.error, None
                self._input_error = error
                return Outcome(None, error or _END)
            self._wait()

    def close(self) -> None:
        """Cancel what has not started, if a result was read; else let every input run."""
        if self._started:
            self.cancel()
        else:
            self.drain()

    def cancel(self) -> None:
        """Pull no more, and cancel what has not started."""
        self._cancelled = True
        self.pull()
        self._cancel_pending()

    def drain(self, *, last: bool = False) -> None:
        """Submit all inputs that are left, unless *buffersize* says that they need not run.

        Where another thread is pulling them just then it goes on to the end, unless this is the
        *last* moment to submit anything.
        """
        if self._buffersize is None:
            self._everything = True
            outer, here.overdraws = here.overdraws, True
            try:
                self.pull()
                if self._inputs is not None and not last:
                    self._ledger.feed(self)
                    self.pull()
                    if self._inputs is None:  # it had come to the end before it was fed
                        self._ledger.fed(self)
            finally:
                here.overdraws = outer

    def __del__(self) -> None:
        if self.__dict__.get("_inputs") is not None or self.__dict__.get("_pending"):
            self.close()
            if self.error is not None:
                raise self.error

    def pull(self) -> None:
        """Submit inputs as far as the bounds allow; an error of theirs ends the inputs.

        Never waits for another thread that is pulling, and may be held up by the input or by
        `submit`: that one sees what is asked of it before it pulls the next.
        """
        while self._wants_more() and self._pulling.acquire(blocking=False):
            outer, here.feeding = here.feeding, self
            submit = self._submit  # keeps the executor until `fed` has returned
            try:
                while self._wants_more():
                    self._pull_next()
            finally:
                here.feeding = outer
                self._pulling.release()
                self._ledger.fed(self)
                del submit

    def _cancel_pending(self) -> None:
        with self._lock:
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    def _wants_more(self) -> bool:
        return self._inputs is not None and (
            self._cancelled or self._everything or self._has_room()
        )

    def _pull_next(self) -> None:
        if self._cancelled:
            self._exhaust()
            self._cancel_pending()
            return
        size = self._sizes.size
        if self._buffersize is not None:
            size = min(size, self._buffersize - self._unread)
        try:
            self._pull_chunk(size)
        except Exception as error:  # noqa: BLE001 - the user's iterator; raised in its place
            self._exhaust()
            self.error = error

    def _pull_chunk(self, size: int) -> None:
        items: list[tuple[Any, ...]] = []
        assert self._inputs is not None
        try:
            items.extend(itertools.islice(self._inputs, size))
        except Exception:
            # What came before the error runs, as it would with chunks of one.
            if items and not self._whole_chunks:
                self._send(items)
            raise
        if items:
            self._send(items)
        else:
            self._exhaust()

    def _has_room(self) -> bool:
        if self._buffersize is not None:
            return self._unread < self._buffersize
        if self._unfinished >= self._bound or self._unread >= MAX_UNREAD:
            return False
        # While the reader waits for a slow item the other workers must not idle; but who reads
        # slowly shall not find ever more results waiting.
        return self._waiting or len(self._pending) < 2 * self._bound

    def _send(self, items: list[tuple[Any, ...]]) -> None:
        assert self._submit is not None
        if self._plain:
            future = self._submit(self._fn, *items[0])
        else:
            future = self._submit(Chunk(self._fn, items))
        with self._lock:
            self._unfinished += 1
            self._unread += len(items)
            self._pending[future] = len(items)
        if isinstance(future, Future):
            future._watch(self._report)
        else:
            future.add_done_callback(self._ended.put)

    def _exhaust(self) -> None:
        # The executor is not kept alive by results that are yet to be read.
        self._inputs = self._submit = None

    def _take_note(self) -> None:
        with suppress(queue.Empty):
            while not self._ended.empty():
                self._note_end(self._ended.get_nowait())

    def _note_end(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1
            listed = future in self._pending
        if not self._plain and not future.cancelled() and future.exception() is None:
            outcome: ChunkOutcome = future.result()
            self._sizes.learn(len(outcome.outcomes), outcome.seconds)
        if listed and not self._ordered:
            self._open(future)

    def _open_next(self) -> bool:
        """Take the outcomes of the next future, if it has ended."""
        with self._lock:
            future = next(iter(self._pending), None)
        if future is None or not future.done():
            return False
        self._open(future)
        return True

    def _open(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            items = self._pending.pop(future)
        try:
            error = future.exception(0)
        except CancelledError as cancelled:
            error = cancelled
        if error is not None:
            self._outcomes.extend(Outcome(None, error) for _ in range(items))
        elif self._plain:
            self._outcomes.append(Outcome(future.result()))
        else:
            self._outcomes.extend(future.result().outcomes)

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
        self.cancel()
        with self._lock:
            self._pending.clear()

    def _wait(self) -> None:
        self._waiting = True
        self.pull()
        remaining = None if self._deadline is None else self._deadline - time.monotonic()
        try:
            if remaining is not None and remaining <= 0:
                ended = self._ended.get_nowait()
            else:
                ended = self._ended.get(timeout=remaining)
        except queue.Empty:
            self._failed()
            raise self._timeout_error from None
        finally:
            self._waiting = False
        self._note_end(ended)


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
    workers = executor._max_workers
    if chunksize is not None:
        chunksize = positive("chunksize", chunksize, "leave it out to have it adapted")
    if buffersize is not None:
        buffersize = positive("buffersize", buffersize, "leave it out for no such bound")
    remaining = min((operator.length_hint(inputs) for inputs in iterables), default=0)
    adaptive = chunksize is None and executor.adapts_chunks
    results = MapIterator(
        submit,
        fn,
        zip(*iterables, strict=False),
        sizes=AdaptiveSize(remaining, workers) if adaptive else FixedSize(chunksize or 1),
        bound=16 * workers + 32,
        buffersize=buffersize,
        deadline=None if timeout is None else timeout + time.monotonic(),
        ordered=ordered,
        return_exceptions=return_exceptions,
        ledger=executor._ledger,
    )
    executor._ledger.add_map(results)
    results.pull()
    if results.error is not None:
        error, results.error = results.error, None
        raise error
    return results
