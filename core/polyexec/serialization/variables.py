"""Context variables to references: one that a module holds under a name is found there again.

A ContextVar can't be pickled and knows no module. So the modules that hold it are looked for, once,
and whoever unpickles it takes it from the first of them that is there. The program's main module
comes last, for it may have imported what another one defines. Where the main module is not what it
was, in a worker that was not forked, the variable is made anew: once, and it is the same that the
main module's functions find among their globals.
"""

from __future__ import annotations

import importlib
import sys
from contextvars import Context, ContextVar
from typing import Any

from polyexec.errors import UnpicklableError
from polyexec.serialization.homes import adopted, home_of
from polyexec.serialization.payloads import dumps, loads

__all__ = ["find_variable", "places_of", "reduce_variable"]

_MAIN = "__main__"
#: What one variable may be called, module by module, that is worth sending.
_MOST = 4
_places: dict[ContextVar[Any], tuple[tuple[str, str], ...]] = {}


def places_of(variable: ContextVar[Any]) -> tuple[tuple[str, str], ...]:
    """Return the modules and the names that hold *variable*, the likeliest to define it first."""
    known = _places.get(variable)
    if known is not None and all(_at(*place) is variable for place in known):
        return known
    # A module is loaded after the one that imports it: the later, the nearer to the definition.
    homes = {name: getattr(module, "__dict__", {}) for name, module in list(sys.modules.items())}
    homes |= adopted
    main = homes.pop(_MAIN, {})
    homes.pop("__mp_main__", None)  # what multiprocessing's children call that
    found = [
        (module, name)
        for module, home in [*reversed(homes.items()), (_MAIN, main)]
        for name, value in list(home.items())
        if value is variable
    ]
    places = tuple(found[:_MOST])
    if places:
        _places[variable] = places
    return places


def _at(module: str, name: str) -> Any:
    return (home_of(module) or {}).get(name)


def reduce_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """Return how pickle is to make *variable* again; raises TypeError, as pickle does, if not."""
    places = places_of(variable)
    if not places:
        raise TypeError(f"cannot pickle {variable!r}: it is not a variable of a module")
    default = _default(variable) if places[0][0] == _MAIN else None
    return find_variable, (places, variable.name, default)


def _default(variable: ContextVar[Any]) -> tuple[bytes | None] | None:
    """Return the default of *variable*, pickled if that can be done; None if it has none."""
    try:
        default = Context().run(variable.get)
    except LookupError:
        return None
    try:
        return (dumps(default),)
    except Exception:  # noqa: BLE001 - the user's reducers; it may not be needed where it arrives
        return (None,)


def find_variable(
    places: tuple[tuple[str, str], ...], label: str, default: tuple[bytes | None] | None
) -> ContextVar[Any]:
    """Return the variable that is at one of *places*; made anew if that is the main module."""
    for place in places:
        variable = _at(*place)
        if isinstance(variable, ContextVar):
            return variable
    for module, name in places:
        if module == _MAIN:
            # In one step, for several threads may unpickle.
            home = home_of(_MAIN)
            assert home is not None
            made: ContextVar[Any] = home.setdefault(name, _make(name, label, default))
            return made
        try:
            variable = getattr(importlib.import_module(module), name, None)
        except ModuleNotFoundError:
            continue  # another place may do
        if isinstance(variable, ContextVar):
            return variable
    raise UnpicklableError(
        f"the context variable {label!r} is in none of {sorted({module for module, _ in places})} "
        "here; define it in a module that workers can import"
    )


def _make(name: str, label: str, default: tuple[bytes | None] | None) -> ContextVar[Any]:
    if default is None:
        return ContextVar(label)
    (data,) = default
    if data is None:
        raise UnpicklableError(
            f"the default of the context variable {name!r} can't be sent to another process; "
            "define the variable in a module, or give it a default that can be pickled"
        )
    return ContextVar(label, default=loads(data))  # noqa: B039 - as its definition has it
