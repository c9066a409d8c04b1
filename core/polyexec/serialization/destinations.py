"""Where objects are sent, which says how some of them are pickled.

A process that was forked from this one has what the main module held by then: its functions and
classes go there by name, as the standard library sends all, and globals that are the same still
don't go at all. So what a worker has made of them stays, and what no pickler can do works. A
function goes by value even so once a global that it uses is another. And a process of this machine
can be handed connections and sockets, as multiprocessing does.
"""

from __future__ import annotations

import sys
import weakref
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from polyexec._current import here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["MAINS", "Destination", "Inheritance", "bound_for"]

T = TypeVar("T")

#: What the main module is called, in a child of multiprocessing's as well.
MAINS: Final = ("__main__", "__mp_main__")

#: Where types come from that plain pickle does right, or refuses, whatever is registered for them.
_HARMLESS: Final = frozenset({"array", "builtins", "functools", "socket"})


class Inheritance:
    """What the main module holds now, as a process has it that is forked now.

    It keeps nothing alive but what can't be referred to weakly, such as lists and dictionaries.
    """

    def __init__(self) -> None:
        self._weakly: dict[str, weakref.ref[Any]] = {}
        self._values: dict[str, Any] = {}
        for name, value in list(_main().items()):
            try:
                self._weakly[name] = weakref.ref(value)
            except TypeError:
                self._values[name] = value

    def has(self, name: str, value: Any) -> bool:
        """Return whether the global *name* is *value* there, too."""
        known = self._weakly.get(name)
        if known is not None:
            return known() is value
        return name in self._values and self._values[name] is value

    def names(self, obj: Any) -> bool:
        """Return whether a function or class of the main module is there by its name, and the same.

        A function is not if it, or one that it calls, uses a global that is another by now.
        """
        root, *rest = obj.__qualname__.split(".")
        found = _main().get(root)
        if not self.has(root, found):
            return False
        for name in rest:
            found = getattr(found, name, None)
        return found is obj and self._is_current(found, set())

    def _is_current(self, obj: Any, seen: set[int]) -> bool:
        main = _main()
        if type(obj) is not FunctionType or obj.__globals__ is not main or id(obj) in seen:
            return True
        seen.add(id(obj))
        return all(
            name not in main or (self.has(name, main[name]) and self._is_current(main[name], seen))
            for name in _names_in(obj.__code__)
        )


def _names_in(code: CodeType) -> Iterator[str]:
    """Return the globals that *code* may use, and names of attributes among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _main() -> dict[str, Any]:
    main: dict[str, Any] = sys.modules["__main__"].__dict__
    return main


class Destination:
    """Processes of this machine, which inherited what *inheritance* says, if anything."""

    def __init__(self, inheritance: Inheritance | None = None) -> None:
        self.inheritance = inheritance
        self._count = 0
        self._matters = False

    def reducers(self, *, all_of_them: bool = False) -> Mapping[type, Callable[[Any], Any]]:
        """Return what multiprocessing's own pickler is told of types, if that matters or is asked.

        It does where plain pickle would make of such an object what is of no use elsewhere.
        """
        pickler: Any = getattr(sys.modules.get("multiprocessing.reduction"), "ForkingPickler", None)
        if pickler is None:
            return {}
        registered: dict[type, Callable[[Any], Any]] = pickler._extra_reducers
        if len(registered) != self._count:
            self._count = len(registered)
            self._matters = any(kind.__module__ not in _HARMLESS for kind in list(registered))
        return registered if self._matters or all_of_them else {}


def bound_for(destination: Destination | None, call: Callable[..., T], *args: Any) -> T:
    """Return `call(*args)`, in which objects are pickled for *destination*."""
    outer = here.destination
    try:
        here.destination = destination
        return call(*args)
    finally:
        here.destination = outer
