"""Checks of arguments, for core and backends: one sentence that says who, what and cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec.capabilities import (
    INITIALIZER,
    MAX_TASKS_PER_CHILD,
    MEANINGS,
    MEMORY_LIMIT,
    PROPAGATE,
)
from polyexec.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Options of executors that some contexts have, and others can't.
_CAPABILITIES = {
    "initargs": INITIALIZER,
    "initializer": INITIALIZER,
    "max_memory_per_child": MEMORY_LIMIT,
    "max_tasks_per_child": MAX_TASKS_PER_CHILD,
    "propagate": PROPAGATE,
}

__all__ = ["near_miss", "need_callable", "need_initializer", "positive", "reject_unknown"]


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the name that *name* looks like, else nothing."""
    import difflib  # takes long, and is for those who erred

    lowered = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1)
    return f"; did you mean {lowered[found[0]]!r}?" if found else ""


def reject_unknown(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise for the first of *given* that is not among *known*.

    NotSupportedError for an option that other contexts have, else TypeError.
    """
    known = sorted(known)
    for name in given:
        if name not in known and name in _CAPABILITIES:
            capability = _CAPABILITIES[name]
            raise NotSupportedError(
                f"{owner} has no option {name!r}: it lacks the capability {capability!r} "
                f"({MEANINGS[capability]})",
                capability=capability,
            )
        if name not in known:
            takes = ", ".join(known) or "none"
            raise TypeError(
                f"{owner} has no option {name!r}{near_miss(name, known)}; it takes: {takes}"
            )


def positive(name: str, value: Any, cure: str) -> int:
    """Return *value* if it is an integer above 0, else raise TypeError or ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r}; {cure}")
    number = int(value.__index__())
    if number < 1:
        raise ValueError(f"{name} must be greater than 0, not {value!r}; {cure}")
    return number


def need_callable(where: str, fn: Any) -> None:
    """Raise TypeError unless *fn* can be called."""
    if not callable(fn):
        raise TypeError(
            f"{where} needs a callable, not {fn!r}; pass the function itself, its arguments apart"
        )


def need_initializer(initializer: Any, initargs: Any) -> None:
    """Raise TypeError unless *initializer* is None or callable, and *initargs* a tuple or list."""
    if initializer is not None:
        need_callable("initializer", initializer)
    if not isinstance(initargs, list | tuple):
        raise TypeError(f"initargs must be a tuple of arguments, not {initargs!r}")
