"""Functions that a worker keeps, each with the globals that it came with.

All functions of one module share their globals in a process. But a global may have been rebound
between two that were sent, and then each is to find its own when it is called, in whatever order
that happens. Only those concerned are looked after, and are so from when it happens; the others
cost nothing.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable, Collection
from typing import Any

from polyexec._current import here
from polyexec.serialization import homes

__all__ = ["KeptFunctions", "View", "note"]

_MISSING = object()
#: What was replaced by what came later, by module.
_replaced: dict[str, set[str]] = {}
_keepers: weakref.WeakValueDictionary[int, KeptFunctions] = weakref.WeakValueDictionary()


def note(module: str, brought: Collection[str], replaced: Collection[str]) -> None:
    """Know that a function of *module* has *brought* globals, some of which *replaced* others."""
    if here.brought is not None:
        here.brought.setdefault(module, set()).update(brought)
    known = _replaced.setdefault(module, set())
    if not known.issuperset(replaced):
        known.update(replaced)
        for keeper in list(_keepers.values()):
            keeper.look_after()


class View:
    """What one function or class came with: of each module the globals, with their stamps."""

    def __init__(self, brought: dict[str, set[str]]) -> None:
        self._modules: dict[str, dict[str, tuple[Any, bytes | None]]] = {}
        for module, names in brought.items():
            namespace, delivered = homes.home_of(module), homes.delivered.get(module)
            if namespace is None or delivered is None:
                continue
            stamps = homes.stamps.get(module, {})
            self._modules[module] = {
                name: (namespace[name], stamps.get(name))
                for name in names
                if name in delivered and namespace.get(name, _MISSING) is delivered[name]
            }

    def note(self) -> None:
        """Have who asks for it know that it was brought once more."""
        if here.brought is not None:
            for module, names in self._modules.items():
                here.brought.setdefault(module, set()).update(names)

    def is_concerned(self) -> bool:
        """Return whether any of it was replaced."""
        return any(
            not _replaced.get(module, set()).isdisjoint(names)
            for module, names in self._modules.items()
        )

    def restore(self) -> None:
        """Have it all where it was, but for what code has set in this process."""
        for module, names in self._modules.items():
            namespace, delivered = homes.home_of(module), homes.delivered[module]
            stamps = homes.stamps[module]
            if namespace is None:
                continue
            for name, (value, stamp) in names.items():
                if namespace.get(name, _MISSING) is delivered.get(name):
                    namespace[name] = delivered[name] = value
                    if stamp is None:
                        stamps.pop(name, None)
                    else:
                        stamps[name] = stamp


class KeptFunctions(dict[int, Callable[..., Any]]):
    """Functions by number; to get one makes it ready to be called."""

    def __init__(self) -> None:
        super().__init__()
        #: With what those came that are in the dictionary itself, which looks after nothing.
        self._views: dict[int, View] = {}
        #: Those that are not in it.
        self._concerned: dict[int, tuple[Callable[..., Any], View]] = {}
        _keepers[id(self)] = self

    def learn(self, number: int, data: bytes | memoryview) -> None:
        """Keep the function that *data* is; what can't be unpickled raises when it is called."""
        brought: dict[str, set[str]] = {}
        here.brought = brought
        try:
            self[number] = pickle.loads(data)
        except BaseException as error:  # noqa: BLE001 - the user's code; its callers get it
            self[number] = _Unloadable(error)
        finally:
            here.brought = None
        if brought:
            self._views[number] = View(brought)
            self._look_after(number)

    def look_after(self) -> None:
        """Take those out of the dictionary that need a look from now on."""
        for number in list(self._views):
            self._look_after(number)

    def _look_after(self, number: int) -> None:
        view = self._views[number]
        if view.is_concerned():
            self._concerned[number] = self.pop(number), view
            del self._views[number]

    def __missing__(self, number: int) -> Callable[..., Any]:
        function, view = self._concerned[number]
        view.restore()
        return function

    def clear(self) -> None:
        """Forget all of them."""
        super().clear()
        self._views.clear()
        self._concerned.clear()


class _Unloadable:
    """Stands in for a function that can't be unpickled here."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: object, **__: object) -> None:
        raise self._error
