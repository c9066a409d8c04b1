"""`map` and its asynchronous twin, for an executor and for its views."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable

    from polyexec._map import MapIterator
    from polyexec.executor import Executor
    from polyexec.future import Future

T = TypeVar("T")


class MapMixin(abc.ABC):
    """Gives `map` and `amap` to what has `submit` and `asubmit`."""

    if TYPE_CHECKING:

        def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
            """Schedule one call."""
            raise NotImplementedError

        async def asubmit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
            """Schedule one call, once there is room."""
            raise NotImplementedError

    @abc.abstractmethod
    def _mapped_by(self) -> Executor: ...

    def _chunksize(self, asked: int | None) -> int | None:
        return asked

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> MapIterator[T]:
        """Return an iterator over `fn(*items)` for the items of *iterables* taken in parallel.

        The inputs are pulled in the caller's thread, a bounded distance ahead of the results.
        Every input runs all the same: what was never read is submitted when the iterator is
        dropped, or the executor shut down. An iterator that was read from, and is then closed or
        dropped, cancels the rest; used in a `with`, it is closed at its end. With *buffersize*, at
        most so many inputs are pulled ahead of the results yielded, and none beyond runs unread.

        *chunksize* items make one task; None adapts it to measured time. *timeout*: seconds from
        this call within which each result must come, else `concurrent.futures.TimeoutError`.
        Results come as they end unless *ordered*. The first exception ends the iterator, unless
        *return_exceptions* puts each in its result's place. An error of the inputs themselves is
        raised after the results of those before it, at once if there are none.
        """
        from polyexec._map import submit_map

        return submit_map(
            self._mapped_by(),
            self.submit,
            fn,
            iterables,
            timeout=timeout,
            chunksize=self._chunksize(chunksize),
            buffersize=buffersize,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )

    def amap(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        buffersize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> AsyncIterator[T]:
        """Return an asynchronous iterator over `fn(*items)`, for use in a coroutine.

        As `map`, but nothing runs before the first result is asked for, the inputs may be
        asynchronous, one item makes one task, and the event loop is never blocked.
        """
        from polyexec._amap import submit_amap

        return submit_amap(
            self._mapped_by(),
            self.asubmit,
            fn,
            iterables,
            buffersize=buffersize,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
