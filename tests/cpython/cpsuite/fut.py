"""The runnable classes of test_concurrent_futures, bound to the context's executors."""

from __future__ import annotations

import concurrent.futures
import multiprocessing.util
import sys
import unittest
from typing import TYPE_CHECKING, Any

from cpsuite import context_name, fut_src, get_ctx
from cpsuite.futures_facade import executor_factory

if TYPE_CHECKING:
    from collections.abc import Callable

# Prepended to the scripts that some tests run in a fresh interpreter.
_PROLOGUE = """\
import sys
sys.path[:] = {path!r}
import cpsuite.boot
"""

_MIXINS = {
    "ProcessPoolForkMixin",
    "ProcessPoolForkserverMixin",
    "ProcessPoolSpawnMixin",
    "ThreadPoolMixin",
    "InterpreterPoolMixin",
}


def _bind_module(namespace: dict[str, Any], mixin_name: str) -> None:
    if "assert_python_ok" in namespace:
        namespace["assert_python_ok"] = _with_prologue(namespace["assert_python_ok"])
    mixin = namespace.get(mixin_name)
    if mixin is None:
        return
    mixin.executor_type = executor_factory
    if mixin_name != "ThreadPoolMixin":
        mixin.ctx = context_name()
        mixin.get_context = lambda _self: get_ctx()


def _with_prologue(assert_python_ok: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: str, **env: Any) -> Any:
        if args[:1] == ("-c",):
            args = ("-c", _PROLOGUE.format(path=sys.path) + args[1], *args[2:])
        return assert_python_ok(*args, **env)

    return run


def _define_classes(module: Any, mixin_name: str) -> None:
    for name, base in list(vars(module).items()):
        if not (isinstance(base, type) and issubclass(base, unittest.TestCase)):
            continue
        if base.__module__ not in (module.__name__, fut_src.__name__):
            continue
        foreign = {ancestor.__name__ for ancestor in base.__mro__} & (_MIXINS - {mixin_name})
        bound = name.replace("ProcessPoolSpawnProcessPool", "ProcessPool").replace(
            "ProcessPoolSpawn", "ProcessPool"
        )
        if not foreign and name != "BaseTestCase" and bound not in globals():
            globals()[bound] = type(bound, (base,), {"__module__": __name__})


def _bind() -> None:
    mixin_name = "ThreadPoolMixin" if context_name() == "thread" else "ProcessPoolSpawnMixin"
    modules = fut_src._modules()
    for module in modules:
        _bind_module(vars(module), mixin_name)
    for module in modules:
        _define_classes(module, mixin_name)


_bind()


def setUpModule() -> None:
    """Do what CPython's own set-up does, for the context under test."""
    unittest.addModuleCleanup(multiprocessing.util._cleanup_tests)  # type: ignore[attr-defined]  # private, as in CPython's own
    if context_name() == "forkserver":
        get_ctx().set_forkserver_preload(["__main__", "cpsuite.fut"])


def bind_future_class() -> None:
    """Make FutureTests, which construct futures themselves, use the class the executor returns."""
    with get_ctx().Executor(1) as executor:
        future = executor.submit(int)
        future.result()
    if type(future) is not concurrent.futures.Future:
        for module in fut_src._modules():
            if "Future" in vars(module):
                vars(module)["Future"] = type(future)
