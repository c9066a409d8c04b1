"""A backend that claims everything and keeps no promise: the kit must find each lie.

Its one worker runs tasks one after another and loses their results, it turns every error into
another one, does not wait, does not cancel, takes any argument, hushes up what is logged, and has
no working object at all.
What would really end the process is not run.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from polyexec import Context, Executor, Future, capabilities, hookimpl
from polyexec.pool import Pool
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from polyexec import Task

_WOULD_END_US = (
    tasks.be_killed,
    tasks.die,
    tasks.do_as_told,
    tasks.hold_the_interpreter,
    tasks.log_and_die,
    tasks.start_child,
    tasks.stop_this_process,
)


class LyingFuture(Future[Any]):
    """Says that whatever was asked of it was done."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["name"] = None

    def cancel(self, *, running: bool = False) -> bool:  # noqa: ARG002 - it does not listen
        return True

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        super().add_done_callback(fn)
        super().add_done_callback(fn)


class LyingExecutor(Executor):
    """Runs tasks on one thread, and loses what they return."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, 1)
        self._inbox: queue.SimpleQueue[tuple[LyingFuture, Any, Any, Any]] = queue.SimpleQueue()
        self._number = itertools.count()
        self._over = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def accept(self, task: Task) -> None:
        raise NotImplementedError

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        raise NotImplementedError

    def options(self, **_: Any) -> Any:
        return self

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future = LyingFuture()
        self._inbox.put((future, fn, args, kwargs))
        return future

    async def asubmit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.submit(fn, *args, **kwargs)

    def map(self, fn: Any, *iterables: Any, **_: Any) -> Any:
        list(itertools.islice(zip(*iterables, strict=False), 6000))  # far ahead, and for nothing
        return self._nothing(fn)

    def _nothing(self, _: Any) -> Iterator[None]:
        yield None

    async def _nothing_later(self) -> AsyncIterator[None]:
        yield None

    def amap(self, *_: Any, **__: Any) -> Any:
        return self._nothing_later()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - it does not listen
        if self._over or next(self._number) == 0:
            self._over = True
            raise RuntimeError("an executor that did nothing, or has shut down, can't shut down")
        self._over = True

    def __del__(self) -> None:
        """Shut nothing down."""

    def _work(self) -> None:
        while True:
            future, fn, args, kwargs = self._inbox.get()
            failed = next(self._number) % 10 == 9
            if fn not in _WOULD_END_US:
                logging.disable()
                try:
                    fn(*args, **kwargs)
                except BaseException:  # noqa: BLE001 - anything, to be lied about
                    failed = True
                finally:
                    logging.disable(logging.NOTSET)
            if failed:
                future.set_exception(OverflowError("an error"))
            else:
                future.set_result(None)


class LyingPool(Pool):
    """Has everything ready before it was done."""

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        result = super().apply_async(*args, **kwargs)
        result._event.set()
        return result


class LyingContext(Context):
    """Claims every capability, and one that there is not."""

    name = "truth"
    capabilities = frozenset(capabilities.MEANINGS) | {"omniscience"}

    def Executor(self, max_workers: int | None = None, **options: Any) -> LyingExecutor:  # noqa: ARG002 - it does not listen
        return LyingExecutor(self)

    def Pool(self, *_: Any, **__: Any) -> LyingPool:
        return LyingPool(1, context=self)

    def close(self) -> None:
        raise RuntimeError("it can't be closed")

    def cpu_count(self) -> int:
        return -1

    def get_context(self, method: str | None = None) -> Context:  # noqa: ARG002 - it does not listen
        return LyingContext()

    def _broken(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("it has nothing of what it claims")

    Array = Barrier = BoundedSemaphore = Condition = Event = JoinableQueue = _broken
    Lock = Manager = Pipe = Process = Queue = RLock = RawArray = RawValue = _broken
    Semaphore = SimpleQueue = Value = _broken
    active_children = current_process = parent_process = _broken


@hookimpl
def polyexec_create_context() -> Context:
    """Make a context that lies."""
    return LyingContext()
