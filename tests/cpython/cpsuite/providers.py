"""Providers: functions that take a context's name and return the context, ``Executor`` included."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.context
import multiprocessing.dummy
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from cpsuite.api import CONTEXT_API

Provider = Callable[[str], Any]


def partial(*contexts: str) -> Callable[[Provider], Provider]:
    """Mark a provider whose *contexts* have only what multiprocessing.dummy has."""

    def mark(provider: Provider) -> Provider:
        vars(provider)["partial"] = contexts
        return provider

    return mark


@partial("thread")
def stdlib(name: str) -> Any:
    """Return what CPython itself provides: the control.

    CPython has no network context: under the name ``zmq`` a spawn context stands in, which shows
    that what the zmq rules ask for can be met in full.
    """
    if name == "thread":
        return _with_executor(multiprocessing.dummy, concurrent.futures.ThreadPoolExecutor)
    ctx = (
        multiprocessing.context.SpawnContext()
        if name == "zmq"
        else multiprocessing.get_context(name)
    )

    def executor(max_workers: int | None = None, *args: Any, **options: Any) -> Any:
        return concurrent.futures.ProcessPoolExecutor(max_workers, ctx, *args, **options)

    return _with_executor(ctx, executor)


def _with_executor(ctx: Any, executor: Callable[..., Any]) -> Any:
    ctx.Executor = executor
    return ctx


def polyexec(name: str) -> Any:
    """Return polyexec's context, its executors under the standard library's all-or-nothing rule."""
    import polyexec

    ctx = polyexec.get_context(name)
    return ctx if name == "thread" else _Breaking(ctx)


class _Breaking:
    """A context whose executors break when a worker dies, as ProcessPoolExecutor's do."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "_ctx":  # not there yet while being unpickled
            raise AttributeError(attribute)
        return getattr(self._ctx, attribute)

    def Executor(self, max_workers: int | None = None, **options: Any) -> Any:
        """Return an executor that breaks as a whole."""
        return self._ctx.Executor(max_workers, on_worker_lost="break", **options)


class SabotageError(Exception):
    """Raised when a test uses anything of a sabotaged context."""


def sabotaged(name: str) -> Any:
    """Return a context whose every factory raises.

    It checks the harness: a test that passes with it never touched the context, and must not
    count as applicable.
    """

    class SabotagedProcess(BaseProcess):
        def __init__(self, *_args: Any, **_options: Any) -> None:
            _boom()

    ctx: Any = type("SabotagedContext", (), dict.fromkeys(CONTEXT_API, staticmethod(_boom)))
    ctx.Process, ctx.Executor = SabotagedProcess, staticmethod(_boom)
    ctx.get_start_method = staticmethod(lambda _allow_none=False: name)
    ctx.set_forkserver_preload = staticmethod(lambda _names: None)
    return ctx


def _boom(*_args: Any, **_options: Any) -> NoReturn:
    raise SabotageError("the context was used")
