"""Futures of ours as futures of an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from polyexec.future import Future

T = TypeVar("T")


def awaitable(future: Future[T]) -> asyncio.Future[T]:
    """Return a future of the running loop that ends as *future* does, and cancels it if cancelled.

    Before Python 3.12.2 asyncio refuses StopIteration as a future's exception, and a task that
    raised it would be awaited for ever (python/cpython#112182); so it is replaced, as later on.
    """
    if sys.version_info >= (3, 13):
        return asyncio.wrap_future(future)
    proxy: concurrent.futures.Future[T] = concurrent.futures.Future()
    wrapped = asyncio.wrap_future(proxy)

    def pass_on(ended: concurrent.futures.Future[T]) -> None:
        if ended.cancelled():
            proxy.cancel()
        if not proxy.set_running_or_notify_cancel():
            return
        error = ended.exception()
        if isinstance(error, StopIteration):
            replaced = RuntimeError("a task raised StopIteration")
            replaced.__cause__ = error
            error = replaced
        if error is None:
            proxy.set_result(ended.result())
        else:
            proxy.set_exception(error)

    def pass_cancel(_: asyncio.Future[Any]) -> None:
        if wrapped.cancelled():
            future.cancel()

    future.add_done_callback(pass_on)
    wrapped.add_done_callback(pass_cancel)
    return wrapped
