"""`Executor.amap`: `map` for coroutines, which never blocks their event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from polyexec._awaiting import awaitable
from polyexec._map import bound_of
from polyexec.arguments import need_callable, positive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from polyexec.executor import Executor
    from polyexec.future import Future

T = TypeVar("T")


class _Intake(Generic[T]):
    """Pulls inputs and submits them, one after the other.

    It refers to nobody who waits for results: once they are gone it is to end, whatever it waits
    for, or it would take one more input that another may be waiting for.
    """

    def __init__(
        self,
        asubmit: Callable[..., Awaitable[Future[T]]],
        fn: Callable[..., T],
        inputs: AsyncGenerator[tuple[Any, ...], None],
    ) -> None:
        self._asubmit = asubmit
        self._fn = fn
        self._inputs = inputs
        self.pending: deque[tuple[Future[T], asyncio.Future[T]]] = deque()
        self.exhausted = False
        self.error: BaseException | None = None  # of the input or of submit; raised in its place
        #: What pulls the next one just now.
        self.task: asyncio.Task[None] | None = None

    def go_on(self, bound: int) -> None:
        """Begin to pull the next one if there is room, and see what became of the last."""
        if self.task is not None and self.task.done():
            ended, self.task = self.task, None
            self.error = ended.exception()
        if self.task is None and not self.exhausted and len(self.pending) < bound:
            self.task = asyncio.ensure_future(self._pull_one())

    async def _pull_one(self) -> None:
        try:
            items = await anext(self._inputs)
            future = await self._asubmit(self._fn, *items)
        except StopAsyncIteration:
            self.exhausted = True
        except BaseException:
            self.exhausted = True
            raise
        else:
            if self.exhausted:  # somebody has closed it meanwhile
                future.cancel()
            else:
                self.pending.append((future, awaitable(future)))

    async def aclose(self) -> None:
        self.exhausted = True
        self.cancel()
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
            self.task = None
        await self._inputs.aclose()

    def cancel(self) -> None:
        """Cancel what has not started."""
        # Not the loop's futures: their loop may be closed by now.
        while self.pending:
            self.pending.popleft()[0].cancel()

    def abandon(self) -> None:
        """Cancel all; any thread may call."""
        self.exhausted = True
        self.cancel()
        if self.task is not None:
            with suppress(RuntimeError):  # its loop is closed, and it can't go on
                self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class AsyncMapIterator(AsyncIterator[T]):
    """The results of one `amap`, at most *bound* inputs behind those that were pulled."""

    def __init__(
        self, intake: _Intake[T], bound: int, *, ordered: bool, return_exceptions: bool
    ) -> None:
        self._intake = intake
        self._bound = bound
        self._ordered = ordered
        self._return_exceptions = return_exceptions

    async def __anext__(self) -> T:
        intake = self._intake
        while True:
            intake.go_on(self._bound)
            ended = self._take_ended()
            if ended is not None:
                return await self._deliver(ended)
            if not intake.pending and intake.task is None:
                error, intake.error = intake.error, None
                raise error or StopAsyncIteration
            await self._wait()

    async def aclose(self) -> None:
        """Pull no more, and cancel what has not started."""
        await self._intake.aclose()

    def __del__(self) -> None:
        self._intake.abandon()

    def _take_ended(self) -> asyncio.Future[T] | None:
        """Remove and return a future that has ended: the first, or any if not *ordered*."""
        pending = self._intake.pending
        for place, (_, awaited) in enumerate(pending):
            if awaited.done():
                del pending[place]
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
        waits: list[asyncio.Future[Any]] = [awaited for _, awaited in self._intake.pending]
        if self._ordered:
            del waits[1:]
        if self._intake.task is not None:
            waits.append(self._intake.task)
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
        _Intake(asubmit, fn, inputs), bound, ordered=ordered, return_exceptions=return_exceptions
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
