"""Functions that a worker keeps, each with the globals and classes that it came with.

All functions of one module share their globals in a process, and classes are one in it. But a
global may have been rebound between two that were sent, or a class changed, and then each is to
find its own when it is called, in whatever order that happens. Only those concerned are looked
after, and are so from when it happens; the others cost nothing.
"""

from __future__ import annotations

import pickle
import weakref

from polyexec._current import here
from polyexec.serialization import homes

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any, Protocol

    class Part(Protocol):
        """Something that came with a function, a class say."""

        def is_concerned(self) -> bool:
            """Return whether it was replaced."""
            ...

        def restore(self) -> None:
            """Have it as it was."""
            ...


__all__ = ["Brought", "KeptFunctions", "View", "look_after_all", "note"]

_MISSING = object()
#: What was replaced by what came later, by module.
_replaced: dict[str, set[str]] = {}
_keepers: weakref.WeakValueDictionary[int, KeptFunctions] = weakref.WeakValueDictionary()


class Brought:
    """What functions and classes bring as they are unpickled."""

    def __init__(self) -> None:
        #: The names of globals, by module.
        self.globals: dict[str, set[str]] = {}
        #: Classes as they came, by identity.
        self.classes: dict[int, Part] = {}

    def __bool__(self) -> bool:
        return bool(self.globals or self.classes)


def note(module: str, brought: Collection[str], replaced: Collection[str]) -> None:
    """Know that a function of *module* has *brought* globals, some of which *replaced* others."""
    if here.brought is not None:
        here.brought.globals.setdefault(module, set()).update(brought)
    known = _replaced.setdefault(module, set())
    if not known.issuperset(replaced):
        known.update(replaced)
        look_after_all()


def look_after_all() -> None:
    """Have functions looked after that are concerned by what was replaced."""
    for keeper in list(_keepers.values()):
        keeper.look_after()


class View:
    """What something came with: of each module the globals, with their stamps, and other parts."""

    def __init__(self, brought: dict[str, set[str]], parts: Iterable[Part] = ()) -> None:
        self._parts = list(parts)
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

    def is_concerned(self) -> bool:
        """Return whether any of it was replaced."""
        return any(part.is_concerned() for part in self._parts) or any(
            not _replaced.get(module, set()).isdisjoint(names)
            for module, names in self._modules.items()
        )

    def restore(self) -> None:
        """Have it all where it was, but for what code has set in this process."""
        for part in self._parts:
            part.restore()
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


class KeptFunctions(dict[int, "Callable[..., Any]"]):
    """Functions by number; to get one makes it ready to be called."""

    def __init__(self) -> None:
        super().__init__()
        #: Those that nobody has asked for yet, pickled.
        self._unread: dict[int, bytes] = {}
        #: With what those came that are in the dictionary itself, which looks after nothing.
        self._views: dict[int, View] = {}
        #: Those that are not in it.
        self._concerned: dict[int, tuple[Callable[..., Any], View]] = {}
        _keepers[id(self)] = self

    def learn(self, number: int, data: bytes | memoryview) -> None:
        """Keep the function that *data* is, which is unpickled in the first task that calls it."""
        self._unread[number] = bytes(data)

    def _read(self, number: int) -> None:
        """Unpickle a function; what can't be raises then, and whenever it is called."""
        outer = here.brought, here.reading
        here.brought = brought = Brought()
        here.reading = True
        try:
            self[number] = pickle.loads(self._unread[number])
        except Exception as error:  # noqa: BLE001 - the user's code
            self[number] = _Unloadable(error)
        finally:
            here.brought, here.reading = outer
        del self._unread[number]
        if brought:
            self._views[number] = View(brought.globals, brought.classes.values())
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
        if number in self._unread:
            self._read(number)
            if number in self:
                return self[number]
        function, view = self._concerned[number]
        view.restore()
        return function

    def clear(self) -> None:
        """Forget all of them."""
        super().clear()
        self._unread.clear()
        self._views.clear()
        self._concerned.clear()


class _Unloadable:
    """Stands in for a function that can't be unpickled here."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: object, **__: object) -> None:
        raise self._error
