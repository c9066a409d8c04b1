"""The input side of a map: pulls inputs, submits them, and keeps the futures until they are read.

Inputs are pulled in the thread that asks for results, when it asks for them, so an input iterator
needs no lock and its errors surface where it is used. `shutdown` and `cancel` come from other
threads; neither waits for one that is pulling, and may be held up by the input or by `submit`:
that one sees what is asked of it before it pulls the next.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from polyexec._chunk import AdaptiveSize, Chunk, ChunkOutcome, FixedSize, Items, one_by_one
from polyexec._current import here
from polyexec.future import Alarm, Future
from polyexec.interrupts import Interruptible, Uninterrupted

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterator, Sequence

    from polyexec._ledger import Ledger

#: How many results may wait to be read while the next one is not there yet.
MAX_UNREAD: Final = 1 << 16

#: How many chunks of one are sent at least while nothing is known of the items; and how many times
#: as many as while chunks grow. As many as later on cost as much as all else, if items are tiny.
_UNTRIED: Final = 32
_UNTRIED_TIMES: Final = 8


class _DroppedError(CancelledError):
    """Stands for inputs that were never pulled, for the map was cancelled."""


class Ends(Alarm):
    """Futures that ended, in that order, and None for the end of the inputs.

    To wait takes none of them, so Ctrl-C costs none. One thread at a time waits and takes. It tells
    nobody else of them, and keeps nothing alive.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ends: deque[concurrent.futures.Future[Any] | None] = deque()

    def add_result(self, future: Any, /) -> None:
        """Add one; any thread may call."""
        self._ends.append(future)
        # Free already where nobody has waited since the last one, or another thread was faster.
        with contextlib.suppress(RuntimeError):
            self._lock.release()

    def wait(self, timeout: float | None) -> bool:
        """Return whether there is one; waits *timeout* seconds for that, for ever if None."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ends:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not super().wait(left):
                break
        return bool(self._ends)

    def __bool__(self) -> bool:
        return bool(self._ends)

    def take(self) -> concurrent.futures.Future[Any] | None:
        """Remove and return the oldest; raises IndexError if there is none."""
        return self._ends.popleft()


class Feeder:
    """Turns the inputs of a map into futures, a bounded distance ahead of what is read.

    Each input is a tuple of arguments; if *single*, it is the only argument itself. A range of
    inputs is sent in parts, as what it is: that takes no time for each.
    *bound*: how many futures may be unfinished, and *few* while *crowded* or while chunks grow;
    fewer than *bound* also while nothing is known of the items.
    *buffersize*: how many inputs may be ahead of the results read; if None, adaptive chunks may
    bring as many as were read, *ahead* at least. With *whole_chunks* a chunk in which the input
    fails is dropped, as Pool does; else what came before the error runs. *error* is that error.
    """

    def __init__(
        self,
        submit: Callable[..., concurrent.futures.Future[Any]],
        fn: Callable[..., Any],
        inputs: Iterator[Any] | range,
        *,
        single: bool,
        sizes: FixedSize | AdaptiveSize,
        bound: int,
        buffersize: int | None,
        ledger: Ledger,
        few: int = 1,
        ahead: int = MAX_UNREAD,
        crowded: Callable[[], bool] | None = None,
        whole_chunks: bool = False,
    ) -> None:
        self._submit: Callable[..., concurrent.futures.Future[Any]] | None = submit
        # A subclass may have a `submit` of its own.
        self._is_ours = getattr(submit, "__module__", "").startswith("polyexec.")
        fixed = sizes.size if isinstance(sizes, FixedSize) else None
        plain = fixed == 1  # no chunk around an item
        self._fn = one_by_one(fn) if plain else Chunk(fn)
        #: What is left of them.
        self._inputs: Iterator[Any] | range | None = inputs
        self._single = single
        self._sizes = sizes
        self._plain = plain
        self._bound = bound
        self._buffersize = buffersize
        self._crowded = crowded
        self._few = few
        self._ahead = ahead if fixed is None else max(MAX_UNREAD, bound * fixed)
        self._is_fixed = fixed is not None
        self._ledger = ledger
        self._whole_chunks = whole_chunks
        self._pulling = threading.Lock()  # held while pulling, waited for by nobody
        self._lock = threading.RLock()  # guards what follows
        self._pending: OrderedDict[concurrent.futures.Future[Any], int] = OrderedDict()
        #: What was pulled, and not sent because Ctrl-C struck: the first of the next chunk.
        self._pulled: list[Any] = []
        self._unfinished = 0
        self._weight = 0
        self._unread = 0
        self._read = 0
        self._everything = self._cancelled = False
        #: Whether the reader waits, so that the other workers must be kept busy meanwhile.
        self.reader_waits = False
        #: None among them is the end of the inputs, which the reader may wait for, too.
        self.ended: Ends = Ends()
        self.error: Exception | None = None
        ledger.add_map(self)

    @property
    def failure(self) -> Exception | None:
        """The error of the input, if one has not been raised yet."""
        return None if isinstance(self.error, _DroppedError) else self.error

    @property
    def finished(self) -> bool:
        """Whether nothing is left to pull or to be taken."""
        return self._inputs is None and not self._pending

    # -- inputs to futures -------------------------------------------------------------------------

    def pull(self) -> None:
        """Submit inputs as far as the bounds allow; an error of theirs ends the inputs."""
        if not self._wants_more():
            return
        with Uninterrupted():
            while self._wants_more() and self._pulling.acquire(blocking=False):
                outer, here.feeding = here.feeding, self
                submit = self._submit  # keeps the executor until `fed` has returned
                try:
                    with Interruptible():
                        self._pull_on()
                finally:
                    here.feeding = outer
                    self._pulling.release()
                    self._ledger.fed(self)
                    del submit

    def _pull_on(self) -> None:
        # By itself: what strikes as a loop begins again is caught by nothing in the same function.
        while self._wants_more():
            self._pull_next()

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
        if self._buffersize is not None:
            return
        with Uninterrupted():
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

    def _wants_more(self) -> bool:
        return self._inputs is not None and (
            self._cancelled or self._everything or self._has_room()
        )

    def _has_room(self) -> bool:
        if self._buffersize is not None:
            return self._unread < self._buffersize
        if self._unfinished >= self._bound or self._unread + self._size() > self._most_unread():
            return False
        # Small chunks shall not fill the bound just as large ones are about to be made.
        if self._unfinished >= self._few and (self._sizes.growing or self._is_crowded()):
            return False
        if self._sizes.untried and self._unfinished >= max(_UNTRIED_TIMES * self._few, _UNTRIED):
            return False
        # While the reader waits for a slow item the other workers must not idle; but who reads
        # slowly shall not find ever more results waiting.
        return self.reader_waits or len(self._pending) < 2 * self._bound

    def _size(self) -> int:
        """Return how many inputs go into the next chunk."""
        size = self._sizes.size
        if self._buffersize is not None:
            return min(size, self._buffersize - self._unread)
        return size if self._is_fixed else min(size, self._most_unread() // self._few)

    def _most_unread(self) -> int:
        """Return how many inputs may be ahead of the results read."""
        return max(self._ahead, min(self._read, MAX_UNREAD))

    def _is_crowded(self) -> bool:
        return self._crowded is not None and self._crowded()

    def _pull_next(self) -> None:
        if self._cancelled:
            # Who reads on must not take this for the end of the inputs.
            self.error = _DroppedError()
            self._exhaust()
            self._cancel_pending()
            return
        try:
            self._pull_chunk(self._size())
        except Exception as error:  # noqa: BLE001 - the user's iterator; raised in its place
            self.error = error
            self._exhaust()

    def _pull_chunk(self, size: int) -> None:
        assert self._inputs is not None
        if isinstance(self._inputs, range):
            self._send_or_end(self._inputs[:size])
            return
        items = self._pulled
        try:
            items.extend(itertools.islice(self._inputs, max(size - len(items), 0)))
        except Exception:
            # What came before the error runs, as it would with chunks of one.
            if items and not self._whole_chunks:
                self._send(items)
            raise
        self._send_or_end(items)

    def _send_or_end(self, items: Sequence[Any]) -> None:
        if items:
            self._send(items)
        else:
            self._exhaust()

    def _send(self, items: Sequence[Any]) -> None:
        with Uninterrupted():  # one that is counted, and never reported, is waited for for ever
            if self._plain:
                future = self._submitted(items, *(items if self._single else items[0]))
            else:
                chunk = Items(items, single=self._single)
                self._weight = chunk.weight
                future = self._submitted(items, chunk)
            with self._lock:
                self._unfinished += 1
                self._unread += len(items)
                self._pending[future] = len(items)
            self._sizes.sent(len(items))
            if isinstance(future, Future):
                future._watch(self.ended)
            else:
                future.add_done_callback(self.ended.add_result)

    def _submitted(self, items: Sequence[Any], *args: Any) -> concurrent.futures.Future[Any]:
        assert self._submit is not None
        if self._is_ours:  # Ctrl-C strikes it where it waits, and where it runs the user's code
            future = self._submit(self._fn, *args)
            self._note_sent(items)
            return future
        self._note_sent(items)  # it may have sent them when Ctrl-C strikes it
        with Interruptible():
            return self._submit(self._fn, *args)

    def _note_sent(self, items: Sequence[Any]) -> None:
        """Take note that *items* are not to be sent once more."""
        self._pulled = []
        if isinstance(self._inputs, range):
            self._inputs = self._inputs[len(items) :]

    def _exhaust(self) -> None:
        # The executor is not kept alive by results that are yet to be read.
        self._inputs = self._submit = self._crowded = None
        self._pulled = []
        with Uninterrupted():  # another thread may wait for it
            self.ended.add_result(None)

    def _cancel_pending(self) -> None:
        with self._lock:
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    # -- futures to outcomes -----------------------------------------------------------------------

    def note_end(self) -> None:
        """Take note that one more has ended."""
        with self._lock:
            self._unfinished -= 1

    def learn(self, future: concurrent.futures.Future[Any]) -> bool:
        """Learn from *future*, which has ended; return whether it is yet to be taken.

        The user's code may be run to unpickle its result.
        """
        if not self._plain and error_of(future) is None:
            outcome: ChunkOutcome = future.result()
            weight = max(self._weight, outcome.weight)
            self._sizes.learn(len(outcome.values), outcome.seconds, weight)
        with self._lock:
            return future in self._pending

    def head(self) -> concurrent.futures.Future[Any] | None:
        """Return the future of the first input not yet taken, None if there is none."""
        with self._lock:
            return next(iter(self._pending), None)

    def take(self, future: concurrent.futures.Future[Any]) -> ChunkOutcome | None:
        """Remove *future*, which has ended, and return what its items came to.

        None if it was forgotten meanwhile. Its result had better be unpickled already.
        """
        error = error_of(future)
        with self._lock:
            items = self._pending.pop(future, None)
        if items is None:
            return None
        if error is not None:
            return ChunkOutcome([None] * items, dict.fromkeys(range(items), error), 0.0)
        if self._plain:
            return ChunkOutcome([future.result()], {}, 0.0)
        outcome: ChunkOutcome = future.result()
        return outcome

    @property
    def counts_each(self) -> bool:
        """Whether it matters for the next input that a single outcome was read."""
        return self._buffersize is not None

    def read(self, count: int) -> None:
        """Take note that *count* outcomes were read."""
        self._unread -= count
        self._read += count

    def forget(self) -> None:
        """Cancel the rest, and drop it, for nobody will read on."""
        self.cancel()
        self.error = None
        with self._lock:
            self._pending.clear()


def error_of(future: concurrent.futures.Future[Any]) -> BaseException | None:
    """Return what kept *future*, which has ended, from having a result."""
    try:
        return future.exception(0)
    except CancelledError as cancelled:
        return cancelled
