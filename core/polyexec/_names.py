"""What tasks are called; apart from them, for workers that run a map's chunks need no more."""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def name_of(fn: Callable[..., Any]) -> str:
    """Return what a task that calls *fn* is called; short, whatever *fn* is bound to."""
    if type(fn) is FunctionType:
        return fn.__qualname__
    try:
        name = getattr(fn, "__qualname__", None)
        if isinstance(name, str):
            return name
        inner = getattr(fn, "func", None)  # a partial
        return name_of(inner) if callable(inner) else type(fn).__qualname__
    except Exception:  # noqa: BLE001 - the user's __getattr__
        return type(fn).__qualname__
