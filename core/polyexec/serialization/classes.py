"""Classes that travel by value: each is made once in a process, and known by a number from then on.

cloudpickle sends a class with each of its instances and functions, and sets all of its attributes
again wherever it arrives. So what an initializer or a task has set there would be lost, and a
result would set attributes in the process that the class comes from. Here a definition goes along
that is used where the class is not known, or was changed since where it comes from; then it
replaces what came before, and nothing that code has set. Where a class comes from, it is only
looked up. One that was inherited is not sent unless it was changed.
"""

from __future__ import annotations

import enum
import functools
import io
import os
import pickle
import sys
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloudpickle import cloudpickle as machinery

from polyexec._current import here
from polyexec.serialization import homes
from polyexec.serialization.deliveries import as_inherited
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.enumerations import ENUMERATED, make_enum, members_of
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
from polyexec.serialization.uses import Uses
from polyexec.serialization.views import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from polyexec.serialization.destinations import Destination
    from polyexec.serialization.namespaces import ByValuePickler

__all__ = ["is_by_value", "learn", "reduce_class", "track"]

#: A class's version, what makes it, and its state, pickled each.
Entry: TypeAlias = "tuple[bytes, bytes, bytes]"

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
    identity = machinery._get_or_create_tracker_id(kind)
    known: tuple[Any, ...] = _known, (identity, kind.__qualname__)
    destination = here.destination
    # One that is local to a function may be no more where it comes from.
    is_local = "<locals>" in kind.__qualname__
    origin = destination is not None and destination.is_origin and not is_local
    if origin and _is_from_there(kind, identity):
        return known
    if here.needs is not None:
        here.needs.append(kind)
        return known
    if here.definitions is None:
        entries = tuple(_bundle(pickler, kind).items())
        if not entries:
            names = _own(pickler, kind).names
            return _inherited, (identity, kind.__qualname__, kind.__module__, names)
        return _defined, (identity, entries)
    if identity not in here.definitions:
        here.definitions.update(_bundle(pickler, kind))
    return known


def track(kinds: Iterable[Any]) -> None:
    """Have classes known to processes that are forked later as those that they inherit."""
    for kind in kinds:
        machinery._get_or_create_tracker_id(kind)


def _bundle(pickler: ByValuePickler, kind: Any) -> dict[str, Entry]:
    """Return the definitions of *kind* and all classes that it needs, those that must be sent."""
    found: dict[str, Entry] = {}
    seen: set[int] = set()
    left = [kind]
    while left:
        kind = left.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        own = _own(pickler, kind)
        if here.uses is not None:
            here.uses.include(own)
        if own.entry is not None:
            found[own.identity] = own.entry
        left.extend(own.needs)
    return found


# -- where they come from ----------------------------------------------------------------------


class _Own:
    """A class's own definition, without those of other classes that it needs."""

    def __init__(self, kind: Any) -> None:
        self.identity: str = machinery._get_or_create_tracker_id(kind)
        self.kind = kind
        self.entry: Entry | None = None
        self.needs: list[Any] = []
        #: The globals that its methods find, if it need not be sent.
        self.names: tuple[str, ...] = ()
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
    outer = here.needs, here.uses, here.definitions
    here.needs, here.uses, here.definitions = own.needs, own.uses, None
    try:
        inheritance = None if destination is None else destination.inheritance
        snapshot = None if inheritance is None else inheritance.snapshot(kind)
        if inheritance is None or snapshot is None:
            _define(pickler, own, before, _state(kind), _making(kind))
        else:
            same = Comparison(inheritance, own.uses)
            is_same = same.has_class(kind)
            own.names = tuple(same.names)
            if not is_same:
                sent = inheritance.changed.get(id(kind), set())
                changes = _changes(kind, snapshot, sent)
                inheritance.changed[id(kind)] = sent.union(changes)
                own.needs += related_to(kind)
                _define(pickler, own, before, changes)
    finally:
        here.needs, here.uses, here.definitions = outer
    if destination is not None:
        destination.changes += known is not None
        _keep(destination, key, own)
    return own


def _keep(destination: Destination, key: tuple[int, bool], own: _Own) -> None:
    table, gone = destination.classes, destination.classes.pop(key, None)
    table[key] = own
    destination.class_bytes += own.size - (0 if gone is None else gone.size)
    while len(table) > _MOST_KEPT or (destination.class_bytes > _MOST_BYTES and len(table) > 1):
        gone = table.pop(next(iter(table)), None)
        destination.class_bytes -= 0 if gone is None else gone.size


def _define(
    pickler: ByValuePickler,
    own: _Own,
    before: _Own | None,
    state: dict[str, Any],
    making: Any = None,
) -> None:
    make = b"" if making is None else _dumped(pickler, making)
    own.stamp(pickler, state, before)
    try:
        data = _dumped(pickler, (state, own.stamps))
    except Exception:  # noqa: BLE001 - the user's reducers; who uses the attribute will know
        names = own.kind.__qualname__
        state = {name: _sent(pickler, f"{names}.{name}", value) for name, value in state.items()}
        data = _dumped(pickler, (state, own.stamps), tolerant=True)
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
    return meta, kind.__name__, bases, namespace, members


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


def _changes(kind: Any, snapshot: Mapping[str, Any], sent: set[str]) -> dict[str, Any]:
    """Return what is to be set in a class that was inherited, of which some was *sent* before."""
    return {
        name: value
        for name, value in vars(kind).items()
        if name not in _MADE
        and not _is_member(kind, value)
        and (name in sent or snapshot.get(name, _MISSING) is not value or any(functions_of(value)))
    }


# -- where they arrive ---------------------------------------------------------------------------


class _Arrival:
    """A class that was made or changed by what arrived."""

    def __init__(self, *, from_parent: bool, has: dict[str, Any] | None = None) -> None:
        self.from_parent = from_parent
        self.version: bytes | None = None
        #: The globals that came with it.
        self.view: View | None = None
        self._is_new = has is None
        self._delivered: dict[str, Any] = {} if has is None else dict(has)
        self._stamps: dict[str, bytes] = {}

    def set(self, kind: Any, state: dict[str, Any], stamps: dict[str, bytes]) -> None:
        """Have *kind* the attributes of *state*, but for those that code has set here."""
        state = dict(state)
        registered = state.pop("_abc_impl", ())
        setter = _first_foreign(type(kind), "__setattr__")
        for name, value in state.items():
            if self._keeps(kind, name, value, stamps):
                continue
            setter(kind, name, value)
            self._delivered[name] = vars(kind).get(name, _MISSING)
            self._stamps.pop(name, None)
            if name in stamps:
                self._stamps[name] = stamps[name]
        if "__firstlineno__" in state:
            setter(kind, "__firstlineno__", state["__firstlineno__"])
        for subclass in registered:
            kind.register(subclass)
        self._is_new = False

    def _keeps(self, kind: Any, name: str, value: Any, stamps: dict[str, bytes]) -> bool:
        current = vars(kind).get(name, _MISSING)
        if self._is_new or current is _MISSING:
            return False
        if current is not self._delivered.get(name, _MISSING):
            return True
        if type(value) is StandIn and type(current) is not StandIn:
            return True
        return name in stamps and stamps[name] == self._stamps.get(name)


#: What has arrived, and what has and is not made yet; both under the lock.
_arrivals: weakref.WeakKeyDictionary[Any, _Arrival] = weakref.WeakKeyDictionary()
_pending: dict[str, Entry] = {}
_lock = threading.RLock()


def _is_from_there(kind: Any, identity: str) -> bool:
    """Return whether *kind* came from this process's parent."""
    arrival = _arrivals.get(kind)
    return identity in homes.inherited if arrival is None else arrival.from_parent


def learn(entries: Iterable[tuple[str, Entry]]) -> None:
    """Make, or change, classes as far as that is to be done; who uses one that fails raises it."""
    entries = list(entries)
    with _lock:
        _pending.update(entries)
        for identity, _ in entries:
            try:
                _resolve(identity, "")
            except Exception:  # noqa: BLE001, S112 - the user's code; it is tried again, and raised
                continue


def _defined(identity: str, entries: tuple[tuple[str, Entry], ...]) -> Any:
    with _lock:
        learn(entries)
        return _resolve(identity, "")


def _inherited(identity: str, name: str, module: str, names: tuple[str, ...]) -> Any:
    as_inherited(module, names)
    return _known(identity, name)


def _known(identity: str, name: str) -> Any:
    with _lock:
        return _resolve(identity, name)


def _resolve(identity: str, name: str) -> Any:
    kind: Any = machinery._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
    entry = _pending.get(identity)
    if entry is None:
        if kind is None:
            raise LookupError(f"the class {name!r} is no more in the process that it came from")
        return kind
    version, make, state = entry
    if kind is None:
        parts = pickle.loads(make)
        # To find what it is made of may have made it.
        kind = machinery._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
        if kind is None:
            kind = machinery._lookup_class_or_track(identity, _make(*parts))
            _arrivals[kind] = _Arrival(from_parent=here.reading)
            _settle(kind)
    arrival = _arrivals.get(kind)
    if arrival is None:
        if identity not in homes.inherited:  # it is this process's own
            _pending.pop(identity, None)
            return kind
        arrival = _arrivals[kind] = _Arrival(from_parent=True, has=homes.inherited[identity])
    if arrival.version != version:
        _change(kind, arrival, version, state)
    elif arrival.view is not None:
        arrival.view.restore()
        arrival.view.note()
    if _pending.get(identity) is entry:
        del _pending[identity]
    return kind


def _change(kind: Any, arrival: _Arrival, version: bytes, state: bytes) -> None:
    before, arrival.version = arrival.version, version
    outer = here.brought
    brought: dict[str, set[str]] = {}
    here.brought = brought
    try:
        arrival.set(kind, *pickle.loads(state))
    except BaseException:
        arrival.version = before
        raise
    finally:
        here.brought = outer
    arrival.view = View(brought)
    arrival.view.note()


def _renew_lock() -> None:
    """Have a lock of its own in a child, for a thread that is not there may hold this one."""
    global _lock  # noqa: PLW0603 - once a process
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _settle(kind: Any) -> None:
    """Have *kind* found by its name where functions of its module find their globals."""
    home = homes.adopted.get(kind.__module__)
    if home is not None and "." not in kind.__qualname__ and kind.__qualname__ not in home:
        home[kind.__qualname__] = homes.delivered[kind.__module__][kind.__qualname__] = kind


class _Silent:
    """Goes before bases whose `__init_subclass__` is not to be called again."""

    def __init_subclass__(cls, **_: object) -> None:
        pass


class _SilentAndSlotted:
    """The same, for bases whose instances have no dictionary."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        pass


def _make(
    meta: Any, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], members: Any
) -> Any:
    """Return a class without the attributes that its state sets.

    What the program does as it makes one it has done, and the state has what came of that.
    """
    bases = types.resolve_bases(bases)
    if meta is None:
        meta = types.prepare_class(name, bases)[0]
    if members is not None:
        return make_enum(meta, name, bases, namespace, members)
    new = _first_foreign(meta, "__new__")
    hooks = (kind for base in bases for kind in base.__mro__ if "__init_subclass__" in vars(kind))
    made = None
    if any(hook.__module__ in MAINS for hook in hooks):
        made = _without_hook(lambda others: new(meta, name, others, dict(namespace)), bases)
    if made is None:
        made = new(meta, name, bases, namespace)
    if isinstance(made, type):
        _first_foreign(meta, "__init__")(made, name, bases, namespace)
    return made


def _without_hook(make: Callable[[tuple[Any, ...]], Any], bases: tuple[Any, ...]) -> Any:
    for silent in (_Silent, _SilentAndSlotted):
        try:
            made = make((silent, *bases))
            made.__bases__ = bases
        except TypeError:  # the layouts differ
            continue
        return made
    return None


def _first_foreign(meta: Any, name: str) -> Callable[..., Any]:
    """Return the method that *meta* would have if the program had defined no metaclasses."""
    for kind in meta.__mro__:
        if name in vars(kind) and kind.__module__ not in MAINS:
            found: Callable[..., Any] = getattr(kind, name)
            return found
    raise AssertionError("type has them all")
