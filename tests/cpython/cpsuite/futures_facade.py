"""What a CPython test module gets when it says ``from concurrent import futures``."""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

from cpsuite import context_name, get_ctx
from cpsuite.facade import MISSING, Facade


class ExecutorFactory:
    """Plays the class ThreadPoolExecutor or ProcessPoolExecutor; makes the context's executors."""

    __name__ = __qualname__ = "ProviderExecutor"
    __module__ = "concurrent.futures"

    def __call__(
        self, max_workers: int | None = None, mp_context: Any = None, *args: Any, **options: Any
    ) -> Any:
        """Return an executor; *mp_context* can only be the context it belongs to anyway."""
        del mp_context
        return get_ctx().Executor(max_workers, *args, **options)

    def __repr__(self) -> str:
        return f"<ctx.Executor of {context_name()}>"


executor_factory = ExecutorFactory()


class FuturesFacade(Facade):
    """Stands in for concurrent.futures."""

    def __init__(self) -> None:
        super().__init__("concurrent.futures")
        for module in ("process", "thread"):  # so that the tests find them as attributes
            importlib.import_module(f"concurrent.futures.{module}")

    def _bound(self, attribute: str) -> Any:
        kind = "Thread" if context_name() == "thread" else "Process"
        return executor_factory if attribute == f"{kind}PoolExecutor" else MISSING


@functools.cache
def futures_facade() -> FuturesFacade:
    """Return the one facade for concurrent.futures."""
    return FuturesFacade()


def concurrent_facade() -> types.ModuleType:
    """Return a stand-in for the package concurrent."""
    module = types.ModuleType("concurrent")
    vars(module)["futures"] = futures_facade()
    return module
