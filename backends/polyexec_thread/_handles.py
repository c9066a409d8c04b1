"""What a process holds of a pipe or a queue: a handle, which it may close for itself.

A program written for processes closes its end of a pipe right after it has passed it to a child.
With threads both would share one object, so what is passed to a ThreadProcess, or sent through a
pipe or a queue, is a handle of its own.
"""

from __future__ import annotations

import abc
from typing import Any


class Handle(abc.ABC):
    """Something that each process closes for itself."""

    @abc.abstractmethod
    def duplicate(self) -> Handle:
        """Return another handle of the same thing, open whatever becomes of this one."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give up this handle."""


def passed_on(value: Any, made: list[Handle] | None = None) -> Any:
    """Return *value* with a new handle in place of each, in containers too; adds them to *made*."""
    kind = type(value)
    if isinstance(value, Handle):
        handle = value.duplicate()
        if made is not None:
            made.append(handle)
        return handle
    if kind is dict and any(_may_hold(part) for part in value.values()):
        return {key: passed_on(part, made) for key, part in value.items()}
    if kind in (list, tuple) and any(_may_hold(part) for part in value):
        return kind([passed_on(part, made) for part in value])
    return value


def _may_hold(value: Any, depth: int = 3) -> bool:
    # Lists, tuples and dicts within each other, as arguments have them, not whole object graphs.
    if isinstance(value, Handle):
        return True
    if depth == 0 or type(value) not in (dict, list, tuple):
        return False
    parts = value.values() if type(value) is dict else value
    return any(_may_hold(part, depth - 1) for part in parts)
