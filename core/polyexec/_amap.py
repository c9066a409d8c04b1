"""`Executor.amap`: `map` for coroutines, which never blocks their event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from polyexec.arguments import need_callable, positive

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
    )

    from polyexec.executor import Executor
    from polyexec.future import Future

T = TypeVar("T")


def submit_amap(
    executor: Executor,
    asubmit: Callable[..., Awaitable[Future[T]]],
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
    *,
    buffersize: int | None,
    ordered: bool,
    return_exceptions: bool,
) -> AsyncIterator[T]:
    """Check the arguments of `Executor.amap`."""
    need_callable("amap()", fn)
    if buffersize is not None:
        buffersize = positive("buffersize", buffersize, "leave it out for no such bound")
    inputs = _zip([_iterate(iterable) for iterable in iterables])
    bound = buffersize or 16 * executor._max_workers + 32
    return _results(asubmit, fn, inputs, bound, ordered=ordered, keep=return_exceptions)


def _iterate(iterable: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if hasattr(iterable, "__aiter__"):
        return aiter(iterable)
    return _from_sync(iter(iterable))


async def _from_sync(inputs: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for item in inputs:
        yield item


async def _zip(inputs: list[AsyncIterator[Any]]) -> AsyncGenerator[tuple[Any, ...], None]:
    with suppress(StopAsyncIteration):  # the shortest ends them all, as with zip()
        while inputs:
            yield tuple([await anext(source) for source in inputs])


async def _results(
    asubmit: Callable[..., Awaitable[Future[T]]],
    fn: Callable[..., T],
    inputs: AsyncIterator[tuple[Any, ...]],
    bound: int,
    *,
    ordered: bool,
    keep: bool,
) -> AsyncGenerator[T, None]:
    """Yield results while pulling up to *bound* inputs ahead of them."""
    pending: deque[asyncio.Future[T]] = deque()
    more: asyncio.Task[bool] | None = None

    async def pull() -> bool:
        try:
            item = await anext(inputs)
        except StopAsyncIteration:
            return False
        pending.append(asyncio.wrap_future(await asubmit(fn, *item)))
        return True

    open_ended = True
    try:
        while True:
            if open_ended and more is None and len(pending) < bound:
                more = asyncio.ensure_future(pull())
            if more is not None and more.done():
                open_ended, more = more.result(), None
                continue
            ended = _take_ended(pending, ordered=ordered)
            if ended is not None:
                error = ended.exception()
                if error is not None and not keep:
                    raise error
                yield ended.result() if error is None else error  # type: ignore[misc]  # as asked
            elif more is None and not pending:
                return
            else:
                heads = list(pending)[: 1 if ordered else None]
                waits = [*heads, *([] if more is None else [more])]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in [*pending, *([] if more is None else [more])]:
            future.cancel()


def _take_ended(pending: deque[asyncio.Future[T]], *, ordered: bool) -> asyncio.Future[T] | None:
    """Remove and return a future that has ended: the first, or any if not *ordered*."""
    for future in pending:
        if future.done():
            pending.remove(future)
            return future
        if ordered:
            break
    return None
