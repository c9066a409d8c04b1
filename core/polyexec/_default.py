"""The default context: what `polyexec.Lock`, `polyexec.Process` and the like are bound to.

As in multiprocessing it is chosen once, by `set_start_method`, by the environment, or by first
use, and looked up at each call, so that a name imported before the choice follows it.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec.context import Context

CONTEXT = "POLYEXEC_CONTEXT"
FALLBACK = "forkserver" if sys.platform == "linux" else "spawn"

_lock = threading.RLock()
#: Its name alone, if it is the choice of the process that started this one, and not used yet.
_chosen: Context | str | None = None


def get_context(method: str | None = None, **options: Any) -> Context:
    """Return a new context of that name, or the default one.

    Raises BackendNotFoundError, DuplicateBackendError, BackendLoadError or
    IncompatibleBackendError.
    """
    if method is None and isinstance(options.get("name"), str):
        method = options.pop("name")
    if method is None:
        if options:
            raise TypeError(
                f"get_context() takes options only with a name, not {sorted(options)} for the "
                "default context, which everybody shares"
            )
        return default_context()
    from polyexec._registry import current

    return current().create_context(method, options)


def available_contexts() -> dict[str, str]:
    """Map the name of each installed context to the distribution that offers it.

    Nothing is imported, so a broken one is listed too.
    """
    from polyexec._registry import current

    return current().available()


def default_context() -> Context:
    """Return the default context, making it if need be."""
    global _chosen  # noqa: PLW0603 - the process's choice
    with _lock:
        if _chosen is None or isinstance(_chosen, str):
            _chosen = get_context(_chosen or _default_name())
        return _chosen


def get_start_method(allow_none: bool = False) -> str | None:  # noqa: FBT001, FBT002 - multiprocessing's signature
    """Return the default context's name; None if none was chosen yet and *allow_none*."""
    if isinstance(_chosen, str):
        return _chosen
    if _chosen is None and allow_none:
        return None
    return default_context().name


def inherit_start_method(method: str | None) -> None:
    """Have the default context that the process had which started this one; None if it had none.

    For backends, in a new process, before it runs anything else: no lock is taken, for a fork may
    have left it locked. The context is made when it is used.
    """
    global _chosen  # noqa: PLW0603 - the process's choice
    if method is not None and method != get_start_method(allow_none=True):
        _chosen = method


def set_start_method(method: str | None, force: bool = False) -> None:  # noqa: FBT001, FBT002 - multiprocessing's signature
    """Choose the default context, once, or again with *force*; None forgets the choice."""
    global _chosen  # noqa: PLW0603 - the process's choice
    with _lock:
        if _chosen is not None and not force:
            raise RuntimeError("context has already been set")
        _chosen = None if method is None else get_context(method)


def get_all_start_methods() -> list[str]:
    """Return the names of the installed contexts, the default one first."""
    first = _default_name()
    return sorted(available_contexts(), key=lambda name: (name != first, name))


def late(name: str) -> Callable[..., Any]:
    """Return a function that calls the default context's method of that name."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(default_context(), name)(*args, **kwargs)

    from polyexec.context import Context

    return functools.update_wrapper(call, getattr(Context, name), assigned=("__name__", "__doc__"))


def others_of(module: str) -> Callable[[str], Any]:
    """Return a module's `__getattr__` for the other names of the standard library's *module*."""

    def find(name: str) -> Any:
        return getattr(importlib.import_module(module), name)

    return find


def _default_name() -> str:
    return os.environ.get(CONTEXT) or FALLBACK
