"""Classes that arrive by value: made once in a process, and changed as where they come from.

A message brings definitions, of which those are used that are new. What they replace is what came
before, and nothing that code has set. No lock is held while a class is unpickled, for that runs
users' code: two threads may do it at once, and the first one's counts.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from polyexec._current import here
from polyexec.serialization import homes, views
from polyexec.serialization.deliveries import as_inherited
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.enumerations import make_enum
from polyexec.serialization.standins import StandIn
from polyexec.serialization.tracker import class_of, register
from polyexec.serialization.views import Brought, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Entry",
    "Message",
    "arriving",
    "as_born",
    "defined",
    "inherited",
    "is_from_parent",
    "known",
]

#: A class's version, what makes it, and its state, pickled each.
Entry: TypeAlias = "tuple[bytes, bytes, bytes]"

_MISSING: Final = object()


class Version:
    """A class as it came at one time: its attributes, and the globals that its methods brought."""

    def __init__(self, kind: Any, number: bytes | None, view: View | None = None) -> None:
        #: Weakly, for that is kept as long as the class lives.
        self._kind = weakref.ref(kind)
        self.number = number
        self.delivered: dict[str, Any] = {}
        #: By what those are known again that can change.
        self.stamps: dict[str, bytes] = {}
        self._view = view

    def is_concerned(self) -> bool:
        """Return whether something else came later."""
        kind = self._kind()
        arrival = None if kind is None else _arrivals.get(kind)
        is_replaced = arrival is not None and arrival.was_replaced
        return is_replaced or (self._view is not None and self._view.is_concerned())

    def restore(self) -> None:
        """Have the class and the globals as they came, but for what code has set here."""
        kind = self._kind()
        with _lock:
            arrival = None if kind is None else _arrivals.get(kind)
            if arrival is not None and arrival.current is not self:
                arrival.set_back(kind, self)
        if self._view is not None:
            self._view.restore()


class _Arrival:
    """A class that was made or changed by what arrived."""

    def __init__(self, kind: Any, *, from_parent: bool, born: dict[str, Any] | None = None) -> None:
        self.from_parent = from_parent
        #: As this process has inherited it, if it has.
        self.born: Version | None = None
        self.current: Version = Version(kind, None)
        self.was_replaced = False
        self._setter = _first_foreign(type(kind), "__setattr__")
        self._deleter = _first_foreign(type(kind), "__delattr__")
        if born is not None:
            self.born = self.current
            self.born.delivered.update(born)

    def change(
        self,
        kind: Any,
        version: Version,
        state: dict[str, Any],
        stamps: dict[str, bytes],
        gone: Iterable[str] | None,
    ) -> None:
        """Have *kind* the attributes of *state*, and none of those that are *gone*, as *version*.

        If *gone* is None, the state is all that there is, of a class that was not inherited.
        """
        was = self.current
        is_new = was.number is None and self.born is None
        if gone is None:
            gone = () if self.born is not None else was.delivered.keys() - state.keys()
        delivered = version.delivered
        delivered.update(was.delivered)
        version.stamps.update(was.stamps)
        for name, value in state.items():
            if not is_new and self._keeps(kind, name, value, stamps):
                continue
            self._setter(kind, name, value)
            delivered[name] = vars(kind).get(name, _MISSING)
            version.stamps.pop(name, None)
            if name in stamps:
                version.stamps[name] = stamps[name]
        if "__firstlineno__" in state:
            self._setter(kind, "__firstlineno__", state["__firstlineno__"])
        for name in gone:
            if vars(kind).get(name, _MISSING) is delivered.pop(name, self):
                self._deleter(kind, name)
        self.was_replaced = not is_new
        self.current = version

    def _keeps(self, kind: Any, name: str, value: Any, stamps: dict[str, bytes]) -> bool:
        """Return whether what *kind* has as *name* is not to be replaced by *value*."""
        was = self.current
        current = vars(kind).get(name, _MISSING)
        if current is _MISSING:
            return False
        if current is not was.delivered.get(name, _MISSING):
            return True
        if type(value) is StandIn and type(current) is not StandIn:
            return True
        return name in stamps and stamps[name] == was.stamps.get(name)

    def set_back(self, kind: Any, version: Version) -> None:
        """Have *kind* the attributes of *version*, which came before."""
        was = self.current
        for name in {**was.delivered, **version.delivered}:
            before = was.delivered.get(name, _MISSING)
            after = version.delivered.get(name, _MISSING)
            if before is after or vars(kind).get(name, _MISSING) is not before:
                continue
            if after is _MISSING:
                self._deleter(kind, name)
            else:
                self._setter(kind, name, after)
        self.current = version


_arrivals: weakref.WeakKeyDictionary[Any, _Arrival] = weakref.WeakKeyDictionary()
#: Held while attributes are set, and not while they are unpickled.
_lock = threading.RLock()


def _renew_lock() -> None:
    """Have a lock of its own in a child, for a thread that is not there may hold this one."""
    global _lock  # noqa: PLW0603 - once a process
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def is_from_parent(kind: Any, identity: str) -> bool:
    """Return whether *kind* came from this process's parent, where it is found by its name."""
    arrival = _arrivals.get(kind)
    if arrival is not None:
        return arrival.from_parent
    return identity in homes.inherited and homes.was_born(kind)


def _arrival_of(kind: Any, identity: str) -> _Arrival | None:
    """Return what is known of *kind*, None if it is this process's own."""
    arrival = _arrivals.get(kind)
    if arrival is None and identity in homes.inherited:
        born = _Arrival(kind, from_parent=homes.was_born(kind), born=homes.inherited[identity])
        arrival = _arrivals.setdefault(kind, born)
    return arrival


class Message:
    """The definitions that came with what is being unpickled."""

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._entries = dict(entries)
        #: The classes that are as they are to be, or are about to; kept alive until all is read.
        self._arrived: dict[str, Any] = {}

    def resolve_all(self) -> None:
        """Make, or change, all classes; who uses one that fails tries it again, and raises."""
        for identity in self._entries:
            with contextlib.suppress(Exception):  # the user's code
                self.resolve(identity)

    def resolve(self, identity: str) -> Any:
        """Return the class of that number, None if it is not known."""
        kind = self._arrived.get(identity)
        if kind is not None:
            return kind
        entry = self._entries.get(identity)
        if entry is None:
            return class_of(identity)
        version, make, state = entry
        kind = class_of(identity) or _made(identity, make)
        # To find what it is made of may have had it arrive.
        if identity not in self._arrived:
            self._arrived[identity] = kind
            try:
                _arrive(kind, identity, version, state)
            except BaseException:
                del self._arrived[identity]
                raise
        return kind


def _arrive(kind: Any, identity: str, number: bytes, state: bytes) -> None:
    arrival = _arrival_of(kind, identity)
    if arrival is None:
        return
    if arrival.current.number == number:
        arrival.current.restore()
    else:
        _change(kind, arrival, number, state)
    if here.brought is not None:
        here.brought.classes[id(kind)] = arrival.current


def _change(kind: Any, arrival: _Arrival, number: bytes, state: bytes) -> None:
    outer = here.brought
    here.brought = brought = Brought()
    try:
        values, stamps, gone = pickle.loads(state)
    finally:
        here.brought = outer
    if outer is not None:
        outer.classes.update(brought.classes)
    registered = values.pop("_abc_impl", ())
    with _lock:
        if arrival.current.number != number:  # else another thread was first
            version = Version(kind, number, View(brought.globals))
            arrival.change(kind, version, values, stamps, gone)
    for subclass in registered:
        kind.register(subclass)
    if arrival.was_replaced:
        views.look_after_all()


# -- what pickles call -----------------------------------------------------------------------------


@contextlib.contextmanager
def arriving(entries: Iterable[tuple[str, Entry]]) -> Iterator[Message]:
    """Have classes known as *entries* say in what is unpickled in this block."""
    outer = here.message
    here.message = message = Message(entries)
    try:
        message.resolve_all()
        yield message
    finally:
        here.message = outer


def defined(identity: str, entries: tuple[tuple[str, Entry], ...]) -> Any:
    """Return the class of that number, after what *entries* say of it and of others."""
    with arriving(entries) as message:
        return message.resolve(identity)


def inherited(
    identity: str, name: str, module: str, names: tuple[str, ...], related: tuple[str, ...]
) -> Any:
    """Return the class of that number, which was inherited, and finds all as it was then."""
    as_inherited(module, names)
    as_born((identity, *related))
    return known(identity, name)


def as_born(identities: Iterable[str]) -> None:
    """Have classes as this process has inherited them, but for what code has set here."""
    for identity in identities:
        kind = class_of(identity)
        arrival = None if kind is None else _arrival_of(kind, identity)
        if arrival is not None and arrival.born is not None:
            arrival.born.restore()
            if here.brought is not None:
                here.brought.classes[id(kind)] = arrival.born


def known(identity: str, name: str) -> Any:
    """Return the class of that number."""
    message = here.message
    kind = class_of(identity) if message is None else message.resolve(identity)
    if kind is None:
        raise LookupError(f"the class {name!r} is no more in the process that it came from")
    return kind


# -- how they are made -----------------------------------------------------------------------------


def _made(identity: str, make: bytes) -> Any:
    named, *parts = pickle.loads(make)
    kind = class_of(identity)  # to find what it is made of may have made it
    if kind is None:
        made = _make(*parts)
        _arrivals[made] = _Arrival(made, from_parent=here.reading and named)
        kind = register(identity, made)
        if named and kind is made:
            _settle(kind)
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
