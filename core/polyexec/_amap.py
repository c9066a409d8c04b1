"""`Executor.amap`: `map` for coroutines, which never blocks their event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from polyexec._awaiting import awaitable
from polyexec._map import bound_of
from polyexec.arguments import need_callable, positive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from polyexec.executor import Executor
    from polyexec.future import Future

T = TypeVar("T")


class AsyncMapIterator(AsyncIterator[T]):
    """The results of one `amap`, at most *bound* inputs behind those that were pulled."""

    def __init__(
        self,
        asubmit: Callable[..., Awaitable[Future[T]]],
        fn: Callable[..., T],
        inputs: AsyncGenerator[tuple[Any, ...], None],
        bound: int,
        *,
        ordered: bool,
        return_exceptions: bool,
    ) -> None:
        self._asubmit = asubmit
        self._fn = fn
        self._inputs = inputs
        self._bound = bound
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._pending: deque[tuple[Future[T], asyncio.Future[T]]] = deque()
        self._pull: asyncio.Task[None] | None = None
        self._exhausted = False
        self._error: BaseException | None = None  # of the input or of submit; raised in its place

    async def __anext__(self) -> T:
        while True:
            self._pull_more()
            ended = self._take_ended()
            if ended is not None:
                return await self._deliver(ended)
            if not self._pending and self._pull is None:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            await self._wait()

    async def aclose(self) -> None:
        """Pull no more, and cancel what has not started."""
        self._exhausted = True
        self._cancel()
        if self._pull is not None:
            self._pull.cancel()
            await asyncio.wait([self._pull])
            self._pull = None
        await self._inputs.aclose()

    def __del__(self) -> None:
        self._cancel()

    def _cancel(self) -> None:
        # Not the loop's futures: their loop may be closed by now.
        while self._pending:
            self._pending.popleft()[0].cancel()

    def _pull_more(self) -> None:
        """Begin to pull the next input if there is room, and see what became of the last."""
        if self._pull is not None and self._pull.done():
            ended, self._pull = self._pull, None
            self._error = ended.exception()
        if self._pull is None and not self._exhausted and len(self._pending) < self._bound:
            self._pull = asyncio.ensure_future(self._pull_one())

    async def _pull_one(self) -> None:
        try:
            items = await anext(self._inputs)
            future = await self._asubmit(self._fn, *items)
        except StopAsyncIteration:
            self._exhausted = True
        except BaseException:
            self._exhausted = True
            raise
        else:
            self._pending.append((future, awaitable(future)))

    def _take_ended(self) -> asyncio.Future[T] | None:
        """Remove and return a future that has ended: the first, or any if not *ordered*."""
        for place, (_, awaited) in enumerate(self._pending):
            if awaited.done():
                del self._pending[place]
                return awaited
            if self._ordered:
                break
        return None

    async def _deliver(self, ended: asyncio.Future[T]) -> T:
        error = asyncio.CancelledError() if ended.cancelled() else ended.exception()
        if error is None:
            return ended.result()
        if self._return_exceptions:
            return error  # type: ignore[return-value]  # as the caller asked
        await self.aclose()
        if isinstance(error, StopIteration | StopAsyncIteration):  # it would end the caller's loop
            raise RuntimeError(f"a task raised {type(error).__name__}") from error  # noqa: TRY004
        raise error

    async def _wait(self) -> None:
        """Wait for a result that could be next, or for an input."""
        waits: list[asyncio.Future[Any]] = [awaited for _, awaited in self._pending]
        if self._ordered:
            del waits[1:]
        if self._pull is not None:
            waits.append(self._pull)
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


def submit_amap(
    executor: Executor,
    asubmit: Callable[..., Awaitable[Future[T]]],
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
    *,
    buffersize: int | None,
    ordered: bool,
    return_exceptions: bool,
) -> AsyncMapIterator[T]:
    """Check the arguments of `Executor.amap`."""
    need_callable("amap()", fn)
    if buffersize is not None:
        buffersize = positive("buffersize", buffersize, "leave it out for no such bound")
    inputs = _zip([_iterate(iterable) for iterable in iterables])
    bound = buffersize or bound_of(executor._max_workers)
    return AsyncMapIterator(
        asubmit, fn, inputs, bound, ordered=ordered, return_exceptions=return_exceptions
    )


def _iterate(iterable: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(iterable, AsyncIterable):
        return aiter(iterable)
    return _from_sync(iter(iterable))


async def _from_sync(inputs: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for item in inputs:
        yield item


async def _zip(inputs: list[AsyncIterator[Any]]) -> AsyncGenerator[tuple[Any, ...], None]:
    try:
        with suppress(StopAsyncIteration):  # the shortest ends them all, as with zip()
            while inputs:
                yield tuple([await anext(source) for source in inputs])
    finally:
        for source in inputs:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
