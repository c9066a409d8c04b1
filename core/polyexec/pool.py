"""`multiprocessing.pool`: the whole API of Pool over any Executor.

Results differ from the standard library's in one way: every wait for one ends. What `terminate`
kept from running raises CancelledError instead of blocking for ever, and a worker that dies fails
its own task only.
"""

from __future__ import annotations

import multiprocessing.pool
import warnings
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE
from typing import TYPE_CHECKING, Any

from polyexec._chunk import Chunk, FixedSize, Items
from polyexec._default import default_context, get_context, others_of
from polyexec._feeder import Feeder
from polyexec._map import bound_of
from polyexec._poolresults import AsyncResult, IMapIterator, MapResult
from polyexec.arguments import need_callable, positive
from polyexec.capabilities import KILL_RUNNING
from polyexec.cpus import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from polyexec.context import Context

__all__ = ["AsyncResult", "IMapIterator", "MapResult", "Pool", "ThreadPool"]

ApplyResult: type[AsyncResult] = AsyncResult
__getattr__: Callable[[str], Any] = others_of("multiprocessing.pool")


class Pool(multiprocessing.pool.Pool):
    """A pool of workers that are an executor's, with the API of `multiprocessing.pool.Pool`."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Context | None = None,
    ) -> None:
        self._state = INIT
        self._ctx = context or default_context()
        self._cache: dict[int, AsyncResult] = {}
        processes = usable_cpus() if processes is None else processes
        self._processes = positive("processes", processes, "None is one a CPU")
        options: dict[str, Any] = {}
        if initializer is not None:
            need_callable("initializer", initializer)
            options.update(initializer=initializer, initargs=tuple(initargs))
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError(
                    f"maxtasksperchild must be a positive int or None, not {maxtasksperchild!r}"
                )
            options["max_tasks_per_child"] = maxtasksperchild
        self._unread: set[IMapIterator] = set()
        self._executor = self._ctx.Executor(self._processes, **options)
        self._executor._ledger.drops_at_exit = True
        self._executor.remote_traceback = _remote_traceback
        self._executor.start_workers()
        self._state = RUN

    @property
    def _pool(self) -> list[Any]:
        """The workers: processes where they are some, else only their names."""
        processes = getattr(self._executor, "_processes", None)
        if processes is None:
            return [f"worker-{number}" for number in range(self._processes)]
        return list(processes.values())

    def _repopulate_pool(self) -> None:
        """Replace workers that have ended; the executor does so by itself when there is work."""
        self._executor.start_workers()

    def __repr__(self) -> str:
        name = type(self).__qualname__
        return f"<{name} state={self._state} pool_size={self._processes} on {self._ctx.name!r}>"

    def __del__(self) -> None:
        if self.__dict__.get("_state") == RUN:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            self.terminate()

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return `func(*args, **kwds)`, called by a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Have a worker call `func(*args, **kwds)`; the callbacks get its outcome."""
        self._check_running()
        result = AsyncResult(self, callback, error_callback)
        result.watch([self._executor.submit(func, *args, **(kwds or {}))])
        return result

    def map(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """Return `[func(item) for item in iterable]`, computed by the workers."""
        values: list[Any] = self.map_async(func, iterable, chunksize).get()
        return values

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return `[func(*items) for items in iterable]`, computed by the workers."""
        values: list[Any] = self.starmap_async(func, iterable, chunksize).get()
        return values

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """Do as `map`, without waiting; the callbacks get the list, or the first error."""
        calls = [(item,) for item in iterable]
        return self._map_calls(func, calls, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """Do as `starmap`, without waiting; the callbacks get the list, or the first error."""
        calls = [tuple(items) for items in iterable]
        return self._map_calls(func, calls, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Return an iterator over the results in order; the inputs are pulled as it is read."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Return an iterator over the results as they come."""
        return self._imap(func, iterable, chunksize, ordered=False)

    def close(self) -> None:
        """Take no more tasks; the workers end when all are done."""
        if self._state == RUN:
            self._state = CLOSE
            self._executor.shutdown(wait=False)
            self._unread.clear()

    def terminate(self) -> None:
        """Cancel what has not started, stop what runs where the context can, and end."""
        self._state = TERMINATE
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._unread.clear()
        if KILL_RUNNING in self._ctx.capabilities:
            self._executor.end_workers()

    def join(self) -> None:
        """Wait for the workers to end; after `close` or `terminate` only."""
        if self._state == RUN:
            raise ValueError("Pool is still running; call close() or terminate() before join()")
        self._executor.shutdown()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.terminate()

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running; it was closed or terminated, make a new one")

    def _map_calls(
        self,
        func: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> MapResult:
        self._check_running()
        need_callable("Pool.map()", func)
        if chunksize is None:
            chunksize, extra = divmod(len(calls), self._processes * 4)
            chunksize += bool(extra)
        chunksize = max(chunksize, 1)
        result = MapResult(self, callback, error_callback)
        starts = range(0, len(calls), chunksize)
        submit, chunk = self._executor.submit, Chunk(func)
        result.watch([submit(chunk, Items(calls[at : at + chunksize])) for at in starts])
        return result

    def _imap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        *,
        ordered: bool,
    ) -> IMapIterator:
        self._check_running()
        need_callable("Pool.imap()", func)
        size = positive("chunksize", 1 if chunksize is None else chunksize, "1 is the default")
        executor = self._executor
        feeder = Feeder(
            executor.submit,
            func,
            iter(iterable),
            single=True,
            sizes=FixedSize(size),
            bound=bound_of(self._processes),
            buffersize=None,
            ledger=executor._ledger,
            whole_chunks=True,
        )
        results = IMapIterator(feeder, ordered=ordered)
        results.unread, results.pool = self._unread, self
        self._unread.add(results)
        feeder.pull()
        return results


def _remote_traceback(text: str) -> BaseException:
    module: Any = multiprocessing.pool
    root: BaseException = module.RemoteTraceback(f'\n"""\n{text}"""')
    return root


class ThreadPool(Pool, multiprocessing.pool.ThreadPool):
    """A Pool of threads, whatever the default context is."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        super().__init__(processes, initializer, initargs, context=get_context("thread"))
