"""Classes that are sent by value: each is made once in a process, and known by its number then.

cloudpickle sends a class with each of its instances and functions, and sets all of its attributes
again wherever it arrives. So what an initializer or a task has set there would be lost, and a
result would set attributes in the process that the class comes from. Here a definition goes along
that is used where the class is not known, or was changed since where it comes from. Where a class
comes from, it is only looked up. One that was inherited is not sent unless it was changed.
"""

from __future__ import annotations

import enum
import functools
import io
import os
import sys
import threading
import types
from typing import TYPE_CHECKING, Any, Final

from cloudpickle import cloudpickle as machinery

from polyexec._current import Collection, here
from polyexec.serialization import homes
from polyexec.serialization.arrivals import defined, inherited, is_from_parent, known
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.enumerations import ENUMERATED, members_of
from polyexec.serialization.functions import digest
from polyexec.serialization.inherited import (
    NOTES,
    Comparison,
    attributes_of,
    functions_of,
    is_as,
    related_to,
)
from polyexec.serialization.standins import StandIn
from polyexec.serialization.tracker import identity_of
from polyexec.serialization.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polyexec.serialization.arrivals import Entry
    from polyexec.serialization.destinations import Destination
    from polyexec.serialization.namespaces import ByValuePickler

__all__ = ["is_by_value", "reduce_class"]

#: How many classes' definitions are kept for one executor.
_MOST_KEPT: Final = 1024
_MOST_BYTES: Final = 64 << 20
_MISSING: Final = object()
_NO_BUILTINS: Final = frozenset({type(None), type(NotImplemented), type(...)})
#: What is the process's own, or made anew with the class.
_MADE: Final = NOTES | {"__weakref__", "__dict__", "_abc_impl", "__abstractmethods__"}
_MEMBERS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
#: Attributes that nothing changes from outside, so that they need no comparing.
_CODE: Final = (
    *(types.FunctionType, classmethod, staticmethod, property, type),
    *(functools.cached_property, functools.partialmethod),
)


def is_by_value(kind: Any) -> bool:
    """Return whether the class *kind* can't be sent by name."""
    if kind.__module__ in MAINS:
        return True
    if kind in _NO_BUILTINS or kind in machinery._BUILTIN_TYPE_NAMES:
        return False
    return not machinery._should_pickle_by_reference(kind)


def reduce_class(pickler: ByValuePickler, kind: Any) -> tuple[Any, ...]:
    """Return how the class *kind* is pickled."""
    identity = identity_of(kind)
    by_number: tuple[Any, ...] = known, (identity, kind.__qualname__)
    destination, collection = here.destination, here.collection
    if destination is not None and destination.is_origin and is_from_parent(kind, identity):
        return by_number
    if collection.needs is not None:
        collection.needs.append(kind)
        return by_number
    if collection.definitions is None:
        entries = tuple(_bundle(pickler, kind).items())
        if entries:
            return defined, (identity, entries)
        own = _own(pickler, kind)
        return inherited, (identity, kind.__qualname__, kind.__module__, own.names, own.related)
    if identity not in collection.definitions:
        collection.definitions[identity] = None  # it need not be sent, for all that is known
        collection.definitions.update(_bundle(pickler, kind))
    return by_number


def _bundle(pickler: ByValuePickler, kind: Any) -> dict[str, Entry]:
    """Return the definitions of *kind* and all classes that it needs, those that must be sent."""
    found: dict[str, Entry] = {}
    seen: set[int] = set()
    uses = here.collection.uses
    left = [kind]
    while left:
        kind = left.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        own = _own(pickler, kind)
        if uses is not None:
            uses.include(own)
        if own.entry is not None:
            found[own.identity] = own.entry
        left.extend(own.needs)
    return found


class _Own:
    """A class's own definition, without those of other classes that it needs."""

    def __init__(self, kind: Any) -> None:
        self.identity: str = identity_of(kind)
        self.kind = kind
        self.entry: Entry | None = None
        self.needs: list[Any] = []
        #: The globals that its methods find, if it need not be sent.
        self.names: tuple[str, ...] = ()
        #: The numbers of the classes that those find.
        self.related: tuple[str, ...] = ()
        self.uses = Uses()
        self.stamps: dict[str, bytes] = {}
        self._snapshot = attributes_of(kind)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return 0 if self.entry is None else sum(map(len, self.entry))

    def hold(self) -> bool:
        """Return whether it is still what it was, and finds what it did."""
        return is_as(self.kind, self._snapshot) and self.uses.hold()

    def stamp(self, pickler: ByValuePickler, state: dict[str, Any], before: _Own | None) -> None:
        """Note by what values that can change are known again: by what they were when first seen.

        What the program changes of them in place does not take away what a worker has changed.
        """
        data = {name: value for name, value in state.items() if not isinstance(value, _CODE)}
        if before is not None:
            for name, stamp in before.stamps.items():
                if name in data and before._snapshot.get(name) is data[name]:
                    self.stamps[name] = stamp
                    del data[name]
        self.stamps.update(pickler.stamped(data))


def _own(pickler: ByValuePickler, kind: Any) -> _Own:
    destination = here.destination
    table: dict[Any, Any] = {} if destination is None else destination.classes
    key = (id(kind), pickler.lends)
    known: _Own | None = table.get(key)
    if known is not None and known.kind is kind and known.hold():
        return known
    before = known if known is not None and known.kind is kind else None
    own = _Own(kind)
    outer, here.collection = here.collection, Collection(own.uses, own.needs)
    try:
        inheritance = None if destination is None else destination.inheritance
        snapshot = None if inheritance is None else inheritance.snapshot(kind)
        if inheritance is None or snapshot is None:
            _define(pickler, own, before, (_state(kind), None), _making(kind))
        else:
            same = Comparison(inheritance, own.uses)
            is_same = same.has_class(kind)
            own.names, own.related = tuple(same.names), tuple(map(identity_of, same.classes))
            if not is_same:
                sent = inheritance.changed.get(id(kind), set())
                changes, gone = _changes(kind, snapshot, sent)
                inheritance.changed[id(kind)] = sent.union(changes, gone)
                own.needs += related_to(kind)
                _define(pickler, own, before, (changes, gone))
    finally:
        here.collection = outer
    if destination is not None:
        _keep(destination, key, own)
    return own


def _renew_lock() -> None:
    """Have a lock of its own in a child, for a thread that is not there may hold the last one."""
    global _counting  # noqa: PLW0603 - once a process
    #: Held while it is counted how many bytes definitions take.
    _counting = threading.RLock()


_counting: threading.RLock
_renew_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _keep(destination: Destination, key: tuple[int, bool], own: _Own) -> None:
    table, kinds = destination.classes, destination.kinds
    with _counting:
        gone = table.pop(key, None)
        table[key], kinds[key] = own, own.kind
        destination.class_bytes += own.size - (0 if gone is None else gone.size)
        while len(table) > _MOST_KEPT or (destination.class_bytes > _MOST_BYTES and len(table) > 1):
            oldest = next(iter(table))
            destination.class_bytes -= table.pop(oldest).size
            kinds.pop(oldest, None)  # the tables may have been dropped in between


def _define(
    pickler: ByValuePickler,
    own: _Own,
    before: _Own | None,
    content: tuple[dict[str, Any], list[str] | None],
    making: Any = None,
) -> None:
    state, gone = content
    make = b"" if making is None else _dumped(pickler, making)
    own.stamp(pickler, state, before)
    try:
        data = _dumped(pickler, (state, own.stamps, gone))
    except Exception:  # noqa: BLE001 - the user's reducers; who uses the attribute will know
        names = own.kind.__qualname__
        state = {name: _sent(pickler, f"{names}.{name}", value) for name, value in state.items()}
        data = _dumped(pickler, (state, own.stamps, gone), tolerant=True)
    own.entry = digest(make + data), make, data


def _sent(pickler: ByValuePickler, name: str, value: Any) -> Any:
    why = pickler._obstacle(value)
    return value if why is None else StandIn(f"the attribute {name!r}", why)


def _dumped(pickler: ByValuePickler, obj: Any, *, tolerant: bool = False) -> bytes:
    file = io.BytesIO()
    inner = pickler.inner(file)
    inner.tolerant = tolerant
    inner.dump(obj)
    return file.getvalue()


def _making(kind: Any) -> tuple[Any, ...]:
    namespace = {
        name: vars(kind)[name] for name in ("__module__", "__qualname__") if name in vars(kind)
    }
    namespace.setdefault("__qualname__", kind.__qualname__)
    members = None
    if issubclass(kind, enum.Enum):
        members = members_of(kind)
    elif isinstance(vars(kind).get("__dict__"), property):
        namespace["__dict__"] = vars(kind)["__dict__"]
    if "__slots__" in vars(kind):
        namespace["__slots__"] = _slots(kind)
    if "__orig_bases__" in vars(kind):
        namespace["__orig_bases__"] = vars(kind)["__orig_bases__"]
    bases = kind.__bases__
    if type(kind).__name__ == "_TypedDictMeta":  # whose bases are not what it was made with
        bases = (sys.modules[type(kind).__module__].TypedDict,)
    # Not every metaclass is found by its name, but all are by a class of theirs.
    meta = None if any(type(base) is type(kind) for base in bases) else type(kind)
    return _is_named(kind), meta, kind.__name__, bases, namespace, members


def _is_named(kind: Any) -> bool:
    """Return whether *kind* is found by its name, and so not gone as long as that is."""
    module: Any = sys.modules.get(kind.__module__)
    return module is not None and homes.found(vars(module), kind.__qualname__) is kind


def _slots(kind: Any) -> tuple[str, ...]:
    mine = [name for name, value in vars(kind).items() if _is_member(kind, value)]
    return tuple(mine)


def _is_member(kind: Any, value: Any) -> bool:
    return isinstance(value, _MEMBERS) and value.__objclass__ is kind


def _state(kind: Any) -> dict[str, Any]:
    state, _ = machinery._class_getstate(kind)
    skipped = set(ENUMERATED | set(kind.__members__)) if issubclass(kind, enum.Enum) else set()
    if isinstance(vars(kind).get("__slots__"), types.GeneratorType | type(iter(()))):
        skipped.add("__slots__")
    return {
        name: value
        for name, value in state.items()
        if name not in skipped
        and name not in NOTES
        and not _is_member(kind, value)
        and type(value).__module__ != "_ctypes"
    }


def _changes(
    kind: Any, snapshot: Mapping[str, Any], sent: set[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return what is to be set in a class that was inherited, and what is to be deleted.

    Some of it was *sent* before.
    """
    current = attributes_of(kind)
    changes = {
        name: value
        for name, value in current.items()
        if name not in _MADE
        and not _is_member(kind, value)
        and (name in sent or snapshot.get(name, _MISSING) is not value or any(functions_of(value)))
    }
    before = (*snapshot, *sent)
    return changes, [name for name in before if name not in current and name not in _MADE]
