"""What a forked process has of its own, as it is here, and so need not be sent there.

That is known without cloudpickle, which takes about as long to import as a worker to start.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import inspect
import io
import pickle
import types
import weakref
from typing import TYPE_CHECKING, Any, Final

from polyexec._current import here
from polyexec.serialization.deliveries import inherited_main
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.functions import CACHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from polyexec.serialization.destinations import Inheritance
    from polyexec.serialization.uses import Uses

__all__ = [
    "NOTES",
    "Comparison",
    "attributes_of",
    "dumps_inherited",
    "findings",
    "functions_of",
    "is_as",
    "names_in",
    "related_to",
]

_MISSING: Final = object()
#: What looks a global up, but in the bodies of classes, which look there after their own.
_LOOKUPS: Final = frozenset(
    code
    for name, code in dis.opmap.items()
    if name in {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
)
#: What code looks up; it takes long to see.
_names: weakref.WeakKeyDictionary[types.CodeType, tuple[str, ...]] = weakref.WeakKeyDictionary()
#: What Python keeps in a class once somebody asked for it.
NOTES: Final = frozenset({"__slotnames__", "__annotations_cache__", "__annotate_func__"})


def attributes_of(kind: Any) -> dict[str, Any]:
    """Return the attributes of the class *kind*, but for what Python notes there as it goes."""
    attributes: dict[str, Any] = vars(kind).copy()  # at once, for other threads may set some
    for name in NOTES:
        attributes.pop(name, None)
    return attributes


def is_as(kind: Any, snapshot: Mapping[str, Any]) -> bool:
    """Return whether the class *kind* has the attributes that it had."""
    current = vars(kind)
    return len(current) - len(NOTES & current.keys()) == len(snapshot) and all(
        current.get(name, _MISSING) is value for name, value in snapshot.items()
    )


def related_to(kind: Any) -> list[Any]:
    """Return the classes of the main module that *kind* is made of, or holds."""
    found = [*kind.__bases__, type(kind), *vars(kind).values()]
    return [one for one in found if isinstance(one, type) and one.__module__ in MAINS]


def names_in(code: types.CodeType) -> tuple[str, ...]:
    """Return the globals that *code* looks up, those of the bodies of classes in it included."""
    names = _names.get(code)
    if names is None:
        found: dict[str, None] = {}
        for part in _parts_of(code):
            if part.co_flags & inspect.CO_OPTIMIZED:
                looked_up = (each for each in dis.get_instructions(part) if each.opcode in _LOOKUPS)
                found.update((each.argval, None) for each in looked_up)
            else:
                found.update(dict.fromkeys(part.co_names))
        names = _names[code] = tuple(found)
    return names


def _parts_of(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _parts_of(constant)


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
    elif isinstance(value, CACHED):
        yield from functions_of(value.__wrapped__)


class Comparison:
    """Looks whether functions and classes were inherited, and find what they would have found.

    What they find, as far as it looked, it notes in *uses*; by name in `names`, and in `classes`.
    """

    def __init__(self, inheritance: Inheritance, uses: Uses | None) -> None:
        self._inheritance = inheritance
        self._uses = uses
        self._seen: set[int] = set()
        #: What is to be looked at yet: a graph may be too deep for recursion.
        self._left: list[Any] = []
        self.names: dict[str, None] = {}
        self.classes: list[Any] = []

    def has_class(self, kind: Any) -> bool:
        """Return whether *kind* is as it was, with all that its methods use."""
        self._left.append(kind)
        return self._compare()

    def finds_the_same(self, function: types.FunctionType) -> bool:
        """Return whether *function*'s globals, and what it calls of them, are as they were."""
        self._left.append(function)
        return self._compare()

    def _compare(self) -> bool:
        while self._left:
            one = self._left.pop()
            if id(one) in self._seen or one.__module__ not in MAINS:
                continue
            self._seen.add(id(one))
            is_same = self._look_at(one) if isinstance(one, type) else self._look_into(one)
            if not is_same:
                self._left.clear()
                return False
        return True

    def _look_at(self, kind: Any) -> bool:
        snapshot = self._inheritance.snapshot(kind)
        if snapshot is None or id(kind) in self._inheritance.changed or not is_as(kind, snapshot):
            return False
        self.classes.append(kind)
        if self._uses is not None:
            self._uses.include(_Unchanged(kind, snapshot))
        self._left += related_to(kind)
        for value in snapshot.values():
            self._left += functions_of(value)
        return True

    def _look_into(self, function: types.FunctionType) -> bool:
        names = names_in(function.__code__)
        if self._uses is not None:
            self._uses.add(function, names)
        namespace = function.__globals__
        for name in names:
            if name in namespace:
                value = namespace[name]
                self.names[name] = None
                if not self._inheritance.has(name, value):
                    return False
                if isinstance(value, type):
                    self._left.append(value)
                self._left += functions_of(value)
        return True


class _Unchanged:
    """A class that something uses, as it was."""

    def __init__(self, kind: Any, snapshot: Mapping[str, Any]) -> None:
        self._kind = kind
        self._snapshot = snapshot

    def hold(self) -> bool:
        """Return whether it still is."""
        return is_as(self._kind, self._snapshot)


def findings(
    inheritance: Inheritance, func: types.FunctionType
) -> tuple[tuple[str, ...], list[Any]] | None:
    """Return the globals and the classes that *func* finds where it was inherited.

    None if it must be sent.
    """
    if not inheritance.has(func.__qualname__, func):
        return None
    same = Comparison(inheritance, here.collection.uses)
    is_same = all(map(same.finds_the_same, functions_of(func)))
    return (tuple(same.names), same.classes) if is_same else None


class _OtherError(Exception):
    """Raised where something else of the main module is met."""


class _Pickler(pickle.Pickler):
    """Names functions that were inherited, and use no class of the main module."""

    def __init__(self, inheritance: Inheritance, file: io.BytesIO, **options: Any) -> None:
        super().__init__(file, 5, **options)
        self._inheritance = inheritance

    def reducer_override(self, obj: Any) -> Any:
        """Return how *obj* is pickled, or NotImplemented for the usual way."""
        kind = type(obj)
        if kind is not types.FunctionType or obj.__module__ not in MAINS:
            if kind.__module__ in MAINS or (issubclass(kind, type) and obj.__module__ in MAINS):
                raise _OtherError
            return NotImplemented
        found = findings(self._inheritance, obj)
        if found is None or found[1]:
            raise _OtherError
        return inherited_main, (MAINS.index(obj.__module__), obj.__qualname__, found[0])


def dumps_inherited(
    obj: Any,
    inheritance: Inheritance,
    keep: Callable[[pickle.PickleBuffer], Any] | None,
    reducers: Mapping[type, Callable[[Any], Any]] | None,
) -> bytes | None:
    """Return *obj* as bytes, None if there is something of the main module in it that must be sent.

    *keep* takes buffers, *reducers* go by type.
    """
    file = io.BytesIO()
    pickler = _Pickler(inheritance, file, buffer_callback=keep)
    if reducers:
        pickler.dispatch_table = {**copyreg.dispatch_table, **reducers}
    try:
        pickler.dump(obj)
    except Exception:  # noqa: BLE001 - if it is the user's, who is asked next says so
        return None
    return file.getvalue()
