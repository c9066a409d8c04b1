"""The globals that functions look up, so that one is sent again once they are rebound."""

from __future__ import annotations

import builtins
import weakref
from typing import TYPE_CHECKING, Any, Final

from polyexec._current import here

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable

__all__ = ["Uses", "UsesTable"]

_MISSING: Final = object()
_SIMPLE: Final = frozenset({bool, int, float, complex, str, bytes, type(None)})


class Uses:
    """What the globals of a function, and of those that it uses, are bound to as it is pickled."""

    def __init__(self) -> None:
        self._functions: dict[int, tuple[weakref.ref[Any], list[_Bound]]] = {}

    def add(self, function: types.FunctionType, names: Iterable[str]) -> None:
        """Note *names*, which *function* looks up."""
        namespace = function.__globals__
        bound = [
            _Bound(name, namespace.get(name, _MISSING))
            for name in names
            if name in namespace or not hasattr(builtins, name)
        ]
        if bound:
            self._functions[id(function)] = weakref.ref(function), bound

    def __bool__(self) -> bool:
        return bool(self._functions)

    def hold(self) -> bool:
        """Return whether all is bound as it was."""
        for reference, bound in self._functions.values():
            function = reference()
            if function is None:
                return False
            namespace = function.__globals__
            for one in bound:
                if not one.holds(namespace.get(one.name, _MISSING)):
                    return False
        return True


class _Bound:
    """A name with its value, which it keeps alive only where there is no other way to know it."""

    __slots__ = ("_reference", "_value", "name")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self._reference: weakref.ref[Any] | None = None
        self._value: Any = value
        kind = type(value)
        if kind not in _SIMPLE and kind.__weakrefoffset__:
            self._reference, self._value = weakref.ref(value), None

    def holds(self, value: Any) -> bool:
        """Return whether *value* is still the same."""
        if self._reference is None:
            return value is self._value
        return value is not None and value is self._reference()


class UsesTable:
    """Of functions, by identity while they live, what they use."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Uses]] = {}

    def note(self, fn: Callable[..., Any], call: Callable[..., Any], *args: Any) -> Any:
        """Return `call(*args)`, which pickles *fn*, and know what that uses."""
        outer = here.uses
        here.uses = uses = Uses()
        try:
            result = call(*args)
        finally:
            here.uses = outer
        key, known = id(fn), self._known
        if uses:
            known[key] = weakref.ref(fn, lambda _: known.pop(key, None)), uses
        else:
            known.pop(key, None)
        return result

    def has(self, fn: Callable[..., Any]) -> bool:
        """Return whether *fn* uses any globals."""
        known = self._known.get(id(fn))
        return known is not None and known[0]() is fn

    def hold(self, fn: Callable[..., Any]) -> bool:
        """Return whether all that *fn* uses is bound as it was when it was pickled."""
        known = self._known.get(id(fn))
        return known is None or known[0]() is not fn or known[1].hold()
