"""What a CPython test module gets when it says ``import multiprocessing``.

Only code of the re-bound test modules sees a facade; the standard library, ``test.support`` and the
provider keep using the real package.
"""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import types
from typing import Any

from cpsuite import STDLIB_METHODS, context_name, get_ctx, is_partial
from cpsuite.api import CONTEXT_API, REPLACEABLE_SUBMODULES, SUBMODULE_API

MISSING: Any = object()


class Facade(types.ModuleType):
    """Stands in for a real module; ``_bound`` says which attributes come from elsewhere."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        for attribute in ("__doc__", "__loader__", "__package__", "__spec__"):
            self.__dict__.pop(attribute, None)  # the real module's are found instead
        self.__dict__["_real"] = importlib.import_module(name)

    def __dir__(self) -> list[str]:
        return dir(self._real)

    def __getattr__(self, attribute: str) -> Any:
        value = MISSING if attribute.startswith("__") else self._bound(attribute)
        return getattr(self._real, attribute) if value is MISSING else value

    def _bound(self, attribute: str) -> Any:
        """Return what *attribute* is bound to, or MISSING for the real module's."""
        raise NotImplementedError(attribute)


class MultiprocessingFacade(Facade):
    """Stands in for multiprocessing or one of its submodules."""

    def _bound(self, attribute: str) -> Any:
        value = _lookup(self.__name__, attribute)
        if value is MISSING:
            real = getattr(self._real, attribute)
            if isinstance(real, types.ModuleType) and real.__name__.startswith("multiprocessing."):
                return multiprocessing_facade(real.__name__)
        return value


@functools.cache
def multiprocessing_facade(name: str = "multiprocessing") -> MultiprocessingFacade:
    """Return the one facade for the module *name*."""
    return MultiprocessingFacade(name)


def _lookup(module: str, attribute: str) -> Any:
    if module.startswith("multiprocessing.dummy"):
        return _dummy_attribute(module, attribute)
    if module == "multiprocessing":
        return _package_attribute(attribute)
    return _submodule_attribute(module, attribute)


def _dummy_attribute(module: str, attribute: str) -> Any:
    """Bind multiprocessing.dummy, the standard library's stand-in for a thread context."""
    if context_name() != "thread" or module != "multiprocessing.dummy":
        return MISSING
    if attribute == "connection":
        return getattr(get_ctx(), "connection", MISSING)
    return getattr(get_ctx(), attribute) if attribute in CONTEXT_API else MISSING


def _package_attribute(attribute: str) -> Any:
    switch = _START_METHOD_API.get(attribute)
    if switch is not None:
        return switch
    if attribute not in CONTEXT_API or is_partial():
        return MISSING
    return getattr(get_ctx(), attribute)


def _submodule_attribute(module: str, attribute: str) -> Any:
    if attribute in SUBMODULE_API.get(module, ()):
        return MISSING if is_partial() else getattr(get_ctx(), attribute)
    submodule = module.partition(".")[2]
    if submodule not in REPLACEABLE_SUBMODULES:
        return MISSING
    replacement = getattr(get_ctx(), submodule, None)
    if replacement is None or replacement is getattr(multiprocessing, submodule, None):
        return MISSING
    return getattr(replacement, attribute, MISSING)


def _get_context(method: str | None = None) -> Any:
    if method is None or method == context_name():
        return get_ctx()
    return multiprocessing.get_context(method)


def _get_start_method(allow_none: bool = False) -> str | None:  # noqa: FBT001, FBT002 - as in multiprocessing
    """Return the start method as the tests know it.

    One they have never heard of reads as "spawn": nothing is inherited, few processes are started.
    """
    ctx = multiprocessing if is_partial() else get_ctx()
    method: str | None = ctx.get_start_method(allow_none)
    return method if method is None or method in STDLIB_METHODS else "spawn"


_START_METHOD_API = {
    "get_context": _get_context,
    "get_start_method": _get_start_method,
    "set_start_method": multiprocessing.set_start_method,
}
