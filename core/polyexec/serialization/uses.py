"""The globals that functions look up, so that one is sent again once they are rebound."""

from __future__ import annotations

import builtins
import weakref

from polyexec._current import Collection, here

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable
    from typing import Any, Final, Protocol, TypeAlias, TypeVar

    T = TypeVar("T")
    UsesRef: TypeAlias = weakref.ref["Uses"]

    class Part(Protocol):
        """Something that may have changed, a class say."""

        def hold(self) -> bool:
            """Return whether it has not."""
            ...


__all__ = ["SIMPLE", "Uses", "UsesRef", "UsesTable", "hold"]

_MISSING: Final = object()
#: Types of what can be kept, for it leads to nothing else.
SIMPLE: Final[frozenset[type]] = frozenset({bool, int, float, complex, str, bytes, type(None)})


class Uses:
    """What the globals of a function, and of those that it uses, are bound to as it is pickled."""

    def __init__(self) -> None:
        self._functions: dict[int, tuple[weakref.ref[Any], list[_Bound]]] = {}
        self._parts: dict[int, Part] = {}

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

    def include(self, part: Part) -> None:
        """Have *part* hold as well."""
        self._parts[id(part)] = part

    def __bool__(self) -> bool:
        return bool(self._functions or self._parts)

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
        return all(part.hold() for part in self._parts.values())


class _Bound:
    """A name with its value, which it keeps alive only where there is no other way to know it."""

    __slots__ = ("_reference", "_value", "name")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self._reference: weakref.ref[Any] | None = None
        self._value: Any = value
        kind = type(value)
        if kind not in SIMPLE and kind.__weakrefoffset__:
            self._reference, self._value = weakref.ref(value), None

    def holds(self, value: Any) -> bool:
        """Return whether *value* is still the same."""
        if self._reference is None:
            return value is self._value
        return value is not None and value is self._reference()


class UsesTable:
    """Keeps what functions use while they live; others refer to that but weakly."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Uses]] = {}

    def watch(self, fn: Callable[..., Any], dump: Callable[..., T]) -> tuple[T, UsesRef | None]:
        """Return `dump(fn)`, and what *fn* uses, None if that is nothing."""
        outer, uses = here.collection, Uses()
        here.collection = Collection(uses, outer.needs, outer.definitions)
        try:
            data = dump(fn)
        finally:
            here.collection = outer
        key, known = id(fn), self._known
        if not uses:
            known.pop(key, None)
            return data, None
        known[key] = weakref.ref(fn, lambda _: known.pop(key, None)), uses
        return data, weakref.ref(uses)


def hold(reference: UsesRef | None) -> bool:
    """Return whether all that *reference* leads to is bound as it was, and is the latest."""
    if reference is None:
        return True
    uses = reference()
    return uses is not None and uses.hold()
