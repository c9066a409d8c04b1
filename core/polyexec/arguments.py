"""Checks of arguments, for core and backends: one sentence that says who, what and cure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["near_miss", "need_callable", "positive", "reject_unknown"]


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the name that *name* looks like, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def reject_unknown(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for the first of *given* that is not among *known*."""
    known = sorted(known)
    for name in given:
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
