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
import pickle
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloudpickle import cloudpickle as machinery

from polyexec._current import here
from polyexec.serialization import homes
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.functions import digest
from polyexec.serialization.standins import StandIn
from polyexec.serialization.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from polyexec.serialization.destinations import Inheritance
    from polyexec.serialization.namespaces import ByValuePickler

__all__ = ["bundle", "is_by_value", "learn", "reduce_class", "track"]

#: A class's version, what makes it, and its state, pickled each.
Entry: TypeAlias = "tuple[bytes, bytes, bytes]"

_MISSING: Final = object()
_NO_BUILTINS: Final = frozenset({type(None), type(NotImplemented), type(...)})
#: What is the process's own, or made anew with the class.
_MADE: Final = frozenset({"__weakref__", "__dict__", "_abc_impl", "__abstractmethods__"})
_MEMBERS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
#: What an enumeration has of its members.
_ENUMERATED: Final = frozenset(
    {"_member_names_", "_member_map_", "_value2member_map_", "_member_type_"}
    | {"_generate_next_value_", "_use_args_", "_hashable_values_", "_unhashable_values_"}
    | {"_unhashable_values_map_"}
)
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
    known = _known, (identity, kind.__qualname__)
    destination = here.destination
    if destination is not None and destination.is_origin and _is_from_there(kind, identity):
        return known
    if here.needs is not None:
        here.needs.append(kind)
        return known
    if here.definitions is None:
        return _defined, (identity, tuple(bundle(pickler, kind).items()))
    if identity not in here.definitions:
        here.definitions.update(bundle(pickler, kind))
    return known


def track(kinds: Iterable[Any]) -> None:
    """Have classes known to processes that are forked later as those that they inherit."""
    for kind in kinds:
        machinery._get_or_create_tracker_id(kind)


def bundle(pickler: ByValuePickler, kind: Any) -> dict[str, Entry]:
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
        self.uses = Uses()
        self._snapshot = dict(vars(kind))

    def hold(self) -> bool:
        """Return whether it is still what it was, and finds what it did."""
        return is_as(self.kind, self._snapshot) and self.uses.hold()


def is_as(kind: Any, snapshot: Mapping[str, Any]) -> bool:
    """Return whether the class *kind* has the attributes that it had."""
    current = vars(kind)
    return len(current) == len(snapshot) and all(
        current.get(name, _MISSING) is value for name, value in snapshot.items()
    )


def _own(pickler: ByValuePickler, kind: Any) -> _Own:
    destination = here.destination
    table: dict[Any, Any] = {} if destination is None else destination.classes
    key = (id(kind), pickler.lends)
    known: _Own | None = table.get(key)
    if known is None or known.kind is not kind or not known.hold():
        known = table[key] = _Own(kind)
        outer = here.needs, here.uses, here.definitions
        here.needs, here.uses, here.definitions = known.needs, known.uses, None
        try:
            inheritance = None if destination is None else destination.inheritance
            if inheritance is None or kind not in inheritance.classes:
                known.entry = _entry(pickler, kind, _making(kind), _state(kind))
            elif not _is_same(inheritance, kind, known.uses, set()):
                known.entry = _entry(pickler, kind, None, _changes(kind, inheritance.classes[kind]))
        except BaseException:
            table.pop(key, None)
            raise
        finally:
            here.needs, here.uses, here.definitions = outer
    return known


def _entry(pickler: ByValuePickler, kind: Any, making: Any, state: dict[str, Any]) -> Entry:
    make = b"" if making is None else _dumped(pickler, making)
    try:
        data = _dumped(pickler, (state, _stamps(pickler, state)))
    except Exception:  # noqa: BLE001 - the user's reducers; who uses the attribute will know
        state = {
            name: _sent(pickler, f"{kind.__qualname__}.{name}", value)
            for name, value in state.items()
        }
        data = _dumped(pickler, (state, _stamps(pickler, state)), tolerant=True)
    return digest(make + data), make, data


def _sent(pickler: ByValuePickler, name: str, value: Any) -> Any:
    why = pickler._obstacle(value)
    return value if why is None else StandIn(f"the attribute {name!r}", why)


def _dumped(pickler: ByValuePickler, obj: Any, *, tolerant: bool = False) -> bytes:
    file = io.BytesIO()
    inner = pickler.inner(file)
    inner.tolerant = tolerant
    inner.dump(obj)
    return file.getvalue()


def _stamps(pickler: ByValuePickler, state: dict[str, Any]) -> dict[str, bytes]:
    data = {name: value for name, value in state.items() if not isinstance(value, _CODE)}
    return pickler.stamped(data)


def _making(kind: Any) -> tuple[Any, ...]:
    namespace = {
        name: vars(kind)[name] for name in ("__module__", "__qualname__") if name in vars(kind)
    }
    namespace.setdefault("__qualname__", kind.__qualname__)
    members = None
    if issubclass(kind, enum.Enum):
        members = [
            (name, member._name_, member._value_, _instance(member))
            for name, member in kind.__members__.items()
        ]
    elif isinstance(vars(kind).get("__dict__"), property):
        namespace["__dict__"] = vars(kind)["__dict__"]
    if "__slots__" in vars(kind):
        namespace["__slots__"] = _slots(kind)
    bases = machinery._get_bases(kind)
    return type(kind), kind.__name__, bases, namespace, members


def _instance(member: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return what an enumeration's *member* has, and of what it is made besides."""
    own = {
        name: value
        for name, value in vars(member).items()
        if name not in ("_name_", "_value_", "__objclass__", "_sort_order_")
    }
    mixin: Any = type(member)._member_type_
    value = member._value_
    if mixin is object:
        args: Any = ()
    elif hasattr(mixin, "__getnewargs__"):
        args = mixin.__getnewargs__(member)
    else:
        args = value if isinstance(value, tuple) else (value,)
    return own, args


def _slots(kind: Any) -> tuple[str, ...]:
    mine = [name for name, value in vars(kind).items() if _is_member(kind, value)]
    return tuple(mine)


def _is_member(kind: Any, value: Any) -> bool:
    return isinstance(value, _MEMBERS) and value.__objclass__ is kind


def _state(kind: Any) -> dict[str, Any]:
    state, _ = machinery._class_getstate(kind)
    skipped = set(_ENUMERATED | set(kind.__members__)) if issubclass(kind, enum.Enum) else set()
    if isinstance(vars(kind).get("__slots__"), types.GeneratorType | type(iter(()))):
        skipped.add("__slots__")
    return {
        name: value
        for name, value in state.items()
        if name not in skipped
        and not _is_member(kind, value)
        and type(value).__module__ != "_ctypes"
    }


def _changes(kind: Any, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be set in a class that was inherited."""
    return {
        name: value
        for name, value in vars(kind).items()
        if name not in _MADE
        and not _is_member(kind, value)
        and (snapshot.get(name, _MISSING) is not value or any(_functions(value)))
    }


def _is_same(inheritance: Inheritance, kind: Any, uses: Uses, seen: set[int]) -> bool:
    """Return whether *kind*, which was inherited, is as it was, with all that its methods use."""
    if id(kind) in seen:
        return True
    seen.add(id(kind))
    snapshot = inheritance.classes.get(kind)
    if snapshot is None or not is_as(kind, snapshot):
        return False
    mine = [base for base in kind.__bases__ if base.__module__ in MAINS]
    return all(_is_same(inheritance, base, uses, seen) for base in mine) and all(
        _finds_the_same(inheritance, function, uses, seen)
        for value in snapshot.values()
        for function in _functions(value)
    )


def _finds_the_same(
    inheritance: Inheritance, function: types.FunctionType, uses: Uses, seen: set[int]
) -> bool:
    if id(function) in seen or function.__module__ not in MAINS:
        return True
    seen.add(id(function))
    names = machinery._extract_code_globals(function.__code__)
    uses.add(function, names)
    found = [name for name in names if name in function.__globals__]
    for name in found:
        value = function.__globals__[name]
        if not inheritance.has(name, value):
            return isinstance(value, types.ModuleType)
        if isinstance(value, type) and value.__module__ in MAINS:
            uses.include(_Inherited(value))
            if not _is_same(inheritance, value, uses, seen):
                return False
        elif not all(_finds_the_same(inheritance, one, uses, seen) for one in _functions(value)):
            return False
    return True


class _Inherited:
    """A class that another uses, as it is."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._snapshot = dict(vars(kind))

    def hold(self) -> bool:
        return is_as(self._kind, self._snapshot)


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """Yield the functions that *value* calls, if it is an attribute that calls some."""
    if isinstance(value, types.FunctionType):
        yield value
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # nothing yet
                continue
            if isinstance(content, types.FunctionType):
                yield content
    elif isinstance(value, classmethod | staticmethod):
        yield from _functions(value.__func__)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _functions(part)
    elif isinstance(value, functools.cached_property | functools.partialmethod):
        yield from _functions(value.func)
    elif hasattr(value, "__wrapped__") and type(value) is type(functools.lru_cache(len)):
        yield from _functions(value.__wrapped__)


# -- where they arrive ---------------------------------------------------------------------------


class _Arrival:
    """A class that was made or changed by what arrived."""

    def __init__(self, *, from_parent: bool, is_new: bool) -> None:
        self.from_parent = from_parent
        self.version: bytes | None = None
        self._is_new = is_new
        self._delivered: dict[str, Any] = {}
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
        if name not in self._delivered:
            return self.version is not None and not self._is_inherited(kind)
        if current is not self._delivered[name]:
            return True
        if type(value) is StandIn and type(current) is not StandIn:
            return True
        return name in stamps and stamps[name] == self._stamps.get(name)

    @staticmethod
    def _is_inherited(kind: Any) -> bool:
        return machinery._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(kind) in homes.inherited


#: What has arrived, and what has and is not made yet; both under the lock.
_arrivals: weakref.WeakKeyDictionary[Any, _Arrival] = weakref.WeakKeyDictionary()
_pending: dict[str, Entry] = {}
_lock = threading.RLock()


def _is_from_there(kind: Any, identity: str) -> bool:
    """Return whether *kind* came from this process's parent."""
    arrival = _arrivals.get(kind)
    return identity in homes.inherited if arrival is None else arrival.from_parent


def learn(entries: Iterable[tuple[str, Entry]]) -> None:
    """Make, or change, classes as far as that is to be done."""
    entries = list(entries)
    with _lock:
        _pending.update(entries)
        for identity, _ in entries:
            _resolve(identity, "")


def _defined(identity: str, entries: tuple[tuple[str, Entry], ...]) -> Any:
    with _lock:
        learn(entries)
        return _resolve(identity, "")


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
            _arrivals[kind] = _Arrival(from_parent=homes.reading, is_new=True)
            _settle(kind)
    arrival = _arrivals.get(kind)
    if arrival is None:
        if identity not in homes.inherited:  # it is this process's own
            _pending.pop(identity, None)
            return kind
        arrival = _arrivals[kind] = _Arrival(from_parent=True, is_new=False)
    if arrival.version != version:
        before, arrival.version = arrival.version, version
        try:
            arrival.set(kind, *pickle.loads(state))
        except BaseException:
            arrival.version = before
            raise
    if _pending.get(identity) is entry:
        del _pending[identity]
    return kind


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
    if members is not None:
        return _make_enum(meta, name, bases, namespace, members)
    resolved = types.resolve_bases(bases)
    new = _first_foreign(meta, "__new__")
    if resolved is not bases:
        namespace["__orig_bases__"] = bases
    hook = next(
        (kind for base in resolved for kind in base.__mro__ if "__init_subclass__" in vars(kind)),
        object,
    )
    made = None
    if hook.__module__ in MAINS:
        made = _without_hook(lambda bases: new(meta, name, bases, dict(namespace)), resolved)
    if made is None:
        made = new(meta, name, resolved, namespace)
    if isinstance(made, type):
        _first_foreign(meta, "__init__")(made, name, resolved, namespace)
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


def _make_enum(
    meta: Any, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], members: list[Any]
) -> Any:
    classdict = meta.__prepare__(name, bases)
    for key, value in namespace.items():
        if key != "__slots__":
            classdict[key] = value
    made = meta.__new__(meta, name, bases, classdict)
    mixin = made._member_type_
    for place, (alias, canonical, value, (own, args)) in enumerate(members):
        member = made._member_map_.get(canonical)
        if member is None:
            member = mixin.__new__(made, *args)
            member._name_, member._value_ = canonical, value
            member.__objclass__, member._sort_order_ = made, place
            vars(member).update(own)
            if alias == canonical:
                made._member_names_.append(canonical)
            made._member_map_[canonical] = member
            try:
                made._value2member_map_.setdefault(value, member)
            except TypeError:  # it has no hash, and is found by a search
                unhashable = getattr(made, "_unhashable_values_", None)
                if unhashable is not None:
                    unhashable.append(value)
        made._member_map_[alias] = member
        type.__setattr__(made, alias, member)
    return made
