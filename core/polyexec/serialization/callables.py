"""Functions that arrive by value; one that its module has a name for is made once in a process.

So it is the same object in whatever it arrives, keeps what code has made of it, its attributes, its
cache, and is found as a key. Where it comes from, it is what is there by that name.
"""

from __future__ import annotations

import builtins
import functools
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, Final

from cloudpickle import cloudpickle as machinery

from polyexec.namedtuple import NamedTuple
from polyexec.serialization import homes
from polyexec.serialization.deliveries import deliver
from polyexec.serialization.functions import CACHED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "CELLS",
    "INHERITED",
    "LENT",
    "RETURNED",
    "SAME",
    "STAMPS",
    "Global",
    "has_arrived",
    "make_cache",
    "make_function",
    "name_in",
    "rebind",
    "set_cache_state",
    "set_function_state",
]

#: Parts of a function's state, among the names of others.
STAMPS: Final = "_polyexec_stamps"
LENT: Final = "_polyexec_lent"
SAME: Final = "_polyexec_same"
CELLS: Final = "_polyexec_cells"

#: What stands for what a function has of its own, if it is what a process was forked with, or is
#: what its parent has sent it.
INHERITED: Final = b"inherited"
RETURNED: Final = b"returned"

#: What has been made, and has no state yet, with the thread that is about to set that.
_fresh: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
#: Of each name of a module, the function that arrived, and what it had beside its code.
_named: dict[tuple[str, str], tuple[Any, bytes | None]] = {}


class Global(NamedTuple):
    """Stands for what a function is bound to and has as a global as well."""

    name: str


def rebind(slots: dict[str, Any], other: Callable[[Any], Any]) -> None:
    """Have a function bound to *other* of each value that it is bound to, in its *slots*."""
    if slots.get("__defaults__"):
        slots["__defaults__"] = tuple(map(other, slots["__defaults__"]))
    if slots.get("__kwdefaults__"):
        slots["__kwdefaults__"] = {n: other(value) for n, value in slots["__kwdefaults__"].items()}
    if slots.get("__closure__"):
        slots["__closure__"] = tuple(_rebound(cell, other) for cell in slots["__closure__"])


def _rebound(cell: types.CellType, other: Callable[[Any], Any]) -> types.CellType:
    try:
        content = cell.cell_contents
    except ValueError:  # nothing yet
        return cell
    value = other(content)
    return cell if value is content else types.CellType(value)


def _is_empty(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def name_in(namespace: Mapping[Any, Any], function: Any) -> str | None:
    """Return the name that *namespace* has for *function*, None if it has not its own."""
    name: str | None = getattr(function, "__qualname__", None)
    return name if namespace.get(name) is function else None


def _there(module: str, name: str | None, kind: type, own: bytes | None) -> Any:
    """Return what this process has of that *name*, None if what arrives may be another."""
    home = None if name is None else homes.home_of(module)
    if name is None or home is None:
        return None
    mine = home.get(name)
    if type(mine) is not kind or _fresh.get(mine, threading.get_ident()) != threading.get_ident():
        return None
    if own == INHERITED:
        is_it = homes.born.get(module, {}).get(name) is mine
    elif own == RETURNED:
        is_it = module not in homes.adopted
    else:
        arrived, had = _named.get((module, name), (None, None))
        if arrived is not mine:
            from polyexec.serialization.namespaces import stamp_of

            had = stamp_of(mine)
        is_it = own is not None and own == had
    return mine if is_it else None


def has_arrived(function: Any, module: str, name: str) -> bool:
    """Return whether *function* is what this process's parent has by that *name*."""
    if module not in homes.adopted:
        return False
    return (
        homes.born[module].get(name) is function
        or _named.get((module, name), (None, None))[0] is function
    )


def make_function(
    who: tuple[str, str | None, bytes | None],
    code: types.CodeType,
    base: dict[str, Any],
    cells: tuple[types.CellType, ...] | None,
) -> Any:
    """Return a function that is to have its state set, or the one that is here.

    *who* is its module, its name there, and by what is known again what it has beside its code.
    """
    module, name, own = who
    namespace = homes.home_of(module)
    if namespace is None:  # the module is there where the function comes from, and not here
        namespace = {}
        homes.adopt(module, namespace)
    for key, value in base.items():
        namespace.setdefault(key, value)
    mine = _there(module, name, types.FunctionType, own)
    if mine is not None and mine.__code__ == code:
        return mine
    namespace.setdefault("__builtins__", vars(builtins))
    function: Any = types.FunctionType(code, namespace, closure=cells)
    _fresh[function] = threading.get_ident()
    _settle(module, name, function, own)
    return function


def _settle(module: str, name: str | None, function: Any, own: bytes | None) -> None:
    """Have *function* found by its name, unless something else is that code has set here."""
    if name is not None and module in homes.adopted:
        _named[module, name] = function, own
        deliver(module, homes.adopted[module], {name: function}, {}, lends=False)


def set_function_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Have *function* find what came with it; if it was made just now, be as it was."""
    slots = state[1]
    module = slots["__module__"]
    namespace = function.__globals__
    brought: dict[str, Any] = slots["__globals__"]
    born = homes.born.get(module, {})
    brought.update((name, born[name]) for name in slots.pop(SAME, ()) if name in born)
    stamps: dict[str, bytes] = slots.pop(STAMPS, {})
    lends = slots.pop(LENT, False)
    slots["__globals__"] = {}  # they are set as they are delivered
    deliver(module, namespace, brought, stamps, lends=lends)
    if _fresh.pop(function, None) is None:
        return

    def found(value: Any) -> Any:
        if type(value) is not Global:
            return value
        delivered = homes.delivered.get(module, {})
        return delivered[value.name] if value.name in delivered else namespace[value.name]

    rebind(slots, found)
    for cell, content in slots.pop(CELLS, ()):
        if content is not None and _is_empty(cell):  # another may share it
            cell.cell_contents = found(*content)
    machinery._function_setstate(function, state)


def make_cache(
    who: tuple[str, str | None, bytes | None],
    parameters: dict[str, Any],
    wrapped: Callable[..., Any],
) -> Any:
    """Return what `functools.lru_cache` makes of *wrapped*, or the one that is here."""
    module, name, own = who
    mine = _there(module, name, CACHED, own)
    if mine is not None and _is_like(mine, parameters, wrapped):
        return mine
    cached: Any = functools.lru_cache(**parameters)(wrapped)
    _fresh[cached] = threading.get_ident()
    _settle(module, name, cached, own)
    return cached


def _is_like(cached: Any, parameters: dict[str, Any], wrapped: Any) -> bool:
    mine = cached.__wrapped__
    return bool(
        cached.cache_parameters() == parameters
        and type(mine) is type(wrapped) is types.FunctionType
        and mine.__code__ == wrapped.__code__
    )


def set_cache_state(cached: Any, state: dict[str, Any]) -> None:
    """Have *cached* the attributes of *state*, if it was made just now."""
    if _fresh.pop(cached, None) is not None:
        vars(cached).update(state)
