"""What a forked process has of its own, as it is here, and so need not be sent there."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any, Final

from cloudpickle import cloudpickle as machinery

from polyexec.serialization.destinations import MAINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polyexec.serialization.destinations import Inheritance
    from polyexec.serialization.uses import Uses

__all__ = ["Comparison", "functions_of", "is_as"]

_MISSING: Final = object()
_CACHED: Final = type(functools.lru_cache(len))


def is_as(kind: Any, snapshot: Mapping[str, Any]) -> bool:
    """Return whether the class *kind* has the attributes that it had."""
    current = vars(kind)
    return len(current) == len(snapshot) and all(
        current.get(name, _MISSING) is value for name, value in snapshot.items()
    )


def functions_of(value: Any) -> Iterator[types.FunctionType]:
    """Yield the functions that *value* calls, if it is what calls some as it is called."""
    if isinstance(value, types.FunctionType):
        yield value
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # nothing yet
                continue
            if isinstance(content, types.FunctionType):
                yield content
    elif isinstance(value, classmethod | staticmethod | types.MethodType):
        yield from functions_of(value.__func__)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from functions_of(part)
    elif isinstance(value, functools.cached_property | functools.partialmethod | functools.partial):
        yield from functions_of(value.func)
    elif isinstance(value, _CACHED):
        yield from functions_of(value.__wrapped__)


class Comparison:
    """Looks whether functions and classes were inherited, and find what they would have found.

    What they find, as far as it looked, it notes in *uses*, and by name in `names`.
    """

    def __init__(self, inheritance: Inheritance, uses: Uses | None) -> None:
        self._inheritance = inheritance
        self._uses = uses
        self._seen: set[int] = set()
        self.names: dict[str, None] = {}

    def has_class(self, kind: Any) -> bool:
        """Return whether *kind* is as it was, with all that its methods use."""
        if id(kind) in self._seen:
            return True
        self._seen.add(id(kind))
        snapshot = self._inheritance.classes.get(kind)
        if snapshot is None or not is_as(kind, snapshot):
            return False
        if self._uses is not None:
            self._uses.include(_Unchanged(kind, snapshot))
        mine = [base for base in kind.__bases__ if base.__module__ in MAINS]
        return all(map(self.has_class, mine)) and all(
            self.finds_the_same(function)
            for value in snapshot.values()
            for function in functions_of(value)
        )

    def finds_the_same(self, function: types.FunctionType) -> bool:
        """Return whether *function*'s globals, and what it calls of them, are as they were."""
        if id(function) in self._seen or function.__module__ not in MAINS:
            return True
        self._seen.add(id(function))
        names = machinery._extract_code_globals(function.__code__)
        if self._uses is not None:
            self._uses.add(function, names)
        namespace = function.__globals__
        for name in names:
            if name in namespace:
                self.names[name] = None
                if not self._has(name, namespace[name]):
                    return False
        return True

    def _has(self, name: str, value: Any) -> bool:
        if not self._inheritance.has(name, value):
            return False
        if isinstance(value, type):
            return value.__module__ not in MAINS or self.has_class(value)
        return all(map(self.finds_the_same, functions_of(value)))


class _Unchanged:
    """A class that something uses, as it was."""

    def __init__(self, kind: Any, snapshot: Mapping[str, Any]) -> None:
        self._kind = kind
        self._snapshot = snapshot

    def hold(self) -> bool:
        """Return whether it still is."""
        return is_as(self._kind, self._snapshot)
