"""Where objects are sent, which says how some of them are pickled.

A process that was forked from this one has what the main module held by then. Globals that are the
same still need not go there, nor could all of them: so what a worker has made of them stays, and
locks work. Nor need functions and classes, if all that they use is the same; classes are known
again by a number. And a process of this machine can be handed connections and sockets, as
multiprocessing does.
"""

from __future__ import annotations

import itertools
import sys
import weakref

from polyexec._current import Collection, here
from polyexec.serialization.uses import SIMPLE, UsesTable

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeVar

    T = TypeVar("T")

__all__ = ["MAINS", "Destination", "Inheritance", "bound_for"]

#: What the main module is called, in a child of multiprocessing's as well.
MAINS: Final = ("__main__", "__mp_main__")

#: Where types come from that plain pickle does right, or refuses, whatever is registered for them.
_HARMLESS: Final = frozenset({"array", "builtins", "functools", "socket"})
#: How many objects of a list are looked at for their classes.
_MOST_LOOKED_AT: Final = 1000
_NOTHING: Final = Collection()


class Inheritance:
    """What the main module holds now, as a process has it that is forked now.

    It keeps alive its classes, and what there is no other way to know again.
    """

    def __init__(self) -> None:
        self._weakly: dict[str, weakref.ref[Any]] = {}
        self._values: dict[str, Any] = {}
        #: Its classes with their attributes, by identity.
        self._classes: dict[int, tuple[Any, dict[str, Any]]] = {}
        #: What was sent of each that was changed, which is to be told if it is as it was again.
        self.changed: dict[int, set[str]] = {}
        for name, value in list(_main().items()):
            if type(value) not in SIMPLE and type(value).__weakrefoffset__:
                self._weakly[name] = weakref.ref(value)
            else:
                self._values[name] = value
            self._inherit(value)
            self._inherit_all(value)
        if self._classes:
            from polyexec.serialization.tracker import track

            track([kind for kind, _ in self._classes.values()])

    def _inherit(self, value: Any) -> None:
        """Inherit the class *value*, or that of *value*."""
        kind: Any = value if issubclass(type(value), type) else type(value)
        if kind.__module__ not in MAINS or id(kind) in self._classes or not _has_hash(kind):
            return
        from polyexec.serialization.inherited import attributes_of

        attributes = attributes_of(kind)
        self._classes[id(kind)] = kind, attributes
        self._inherit(type(kind))
        for attribute in attributes.values():
            if issubclass(type(attribute), type):
                self._inherit(attribute)
            self._inherit_all(attribute)

    def _inherit_all(self, value: Any) -> None:
        """Inherit the classes in a registry, or of the objects in a list."""
        if type(value) is dict:
            found = list(itertools.islice(value.values(), _MOST_LOOKED_AT))
        elif type(value) in (list, tuple):
            found = list(value[:_MOST_LOOKED_AT])
        else:
            return
        for one in found:
            self._inherit(one)

    def snapshot(self, kind: Any) -> dict[str, Any] | None:
        """Return the attributes that the class *kind* had, None if it was not inherited."""
        known = self._classes.get(id(kind))
        return None if known is None else known[1]

    def has(self, name: str, value: Any) -> bool:
        """Return whether the global *name* is *value* there, too."""
        known = self._weakly.get(name)
        if known is not None:
            return value is not None and value is known()
        return value is self._values.get(name, self)


def _has_hash(kind: Any) -> bool:
    try:
        hash(kind)
    except Exception:  # noqa: BLE001 - the user's metaclass
        return False
    return True


def _main() -> dict[str, Any]:
    main: dict[str, Any] = sys.modules["__main__"].__dict__
    return main


class Destination:
    """Some processes; on this machine, unless not *is_local*."""

    def __init__(self, *, is_local: bool = True, is_origin: bool = False) -> None:
        self._is_local = is_local
        #: Whether what came from there is known there.
        self.is_origin = is_origin
        #: What they inherited, if they were forked from this one.
        self.inheritance: Inheritance | None = None
        #: What functions used that were sent there.
        self.uses: UsesTable = UsesTable()
        #: The definitions of classes that were sent there.
        self.classes: dict[tuple[int, bool], Any] = {}
        self.class_bytes: int = 0
        #: Those classes, which what comes back from there may refer to.
        self.kinds: dict[tuple[int, bool], Any] = {}
        self._count = 0
        self._matters = False

    def forget(self) -> None:
        """Keep nothing alive any more, for nothing is sent there; results keep what they need."""
        self.inheritance = None
        self.classes, self.kinds, self.class_bytes = {}, {}, 0
        self.uses = UsesTable()

    def reducers(self, *, all_of_them: bool = False) -> Mapping[type, Callable[[Any], Any]]:
        """Return what multiprocessing's own pickler is told of types, if that matters or is asked.

        It does where plain pickle would make of such an object what is of no use elsewhere.
        """
        pickler: Any = getattr(sys.modules.get("multiprocessing.reduction"), "ForkingPickler", None)
        if pickler is None or not self._is_local:
            return {}
        registered: dict[type, Callable[[Any], Any]] = pickler._extra_reducers
        if len(registered) != self._count:
            self._count = len(registered)
            self._matters = any(kind.__module__ not in _HARMLESS for kind in list(registered))
        return registered if self._matters or all_of_them else {}


def bound_for(destination: Destination, call: Callable[..., T], *args: Any) -> T:
    """Return `call(*args)`, in which objects are pickled for *destination*.

    That may be within another pickle: by a reducer, a signal's handler, or the collector.
    """
    outer = here.destination, here.collection
    try:
        here.destination, here.collection = destination, _NOTHING
        return call(*args)
    finally:
        here.destination, here.collection = outer
