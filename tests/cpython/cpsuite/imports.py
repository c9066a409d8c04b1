"""The private ``__import__`` that hands the facades to a re-bound test module."""

from __future__ import annotations

import builtins
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from cpsuite.facade import multiprocessing_facade
from cpsuite.futures_facade import concurrent_facade, futures_facade

if TYPE_CHECKING:
    import types
    from collections.abc import Mapping, Sequence

MULTIPROCESSING = "multiprocessing"
FUTURES = "concurrent.futures"


def builtins_for(rebound: str) -> dict[str, Any]:
    """Return a ``__builtins__`` under which importing *rebound*, a package, yields its facade."""
    real_import = builtins.__import__
    redirect = {MULTIPROCESSING: _import_multiprocessing, FUTURES: _import_futures}[rebound]

    def redirected_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        module = redirect(name, fromlist or ()) if level == 0 else None
        return module or real_import(name, globals, locals, fromlist, level)

    return {**vars(builtins), "__import__": redirected_import}


def _import_multiprocessing(name: str, fromlist: Sequence[str]) -> types.ModuleType | None:
    if name.partition(".")[0] != MULTIPROCESSING:
        return None
    importlib.import_module(name)
    for attribute in fromlist:
        with contextlib.suppress(ImportError):  # most are no submodules
            importlib.import_module(f"{name}.{attribute}")
    return multiprocessing_facade(name if fromlist else MULTIPROCESSING)


def _import_futures(name: str, fromlist: Sequence[str]) -> types.ModuleType | None:
    if not fromlist:
        return None
    if name == FUTURES:
        return futures_facade()
    return concurrent_facade() if name == "concurrent" else None
