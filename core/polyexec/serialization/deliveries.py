"""Globals that arrive with functions, in the namespace that all functions of a module share."""

from __future__ import annotations

from polyexec.serialization import homes, views
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.standins import StandIn

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["as_inherited", "deliver", "inherited_function", "inherited_main"]


def deliver(
    module: str,
    namespace: dict[str, Any],
    brought: dict[str, Any],
    stamps: dict[str, bytes],
    *,
    lends: bool,
) -> None:
    """Set those of the globals *brought* in *namespace* that are to be set, and note them."""
    delivered = homes.delivered.get(module, {})
    known = homes.stamps.setdefault(module, {})
    lent = homes.lent.setdefault(module, set())
    fresh = {
        name: value
        for name, value in brought.items()
        if name not in namespace
        or (
            name in delivered
            and namespace[name] is delivered[name]
            and (name not in stamps or stamps[name] != known.get(name))
            and not (type(value) is StandIn and name in lent)
        )
    }
    replaced = [name for name in fresh if name in namespace and namespace[name] is not fresh[name]]
    namespace.update(fresh)
    delivered.update(fresh)
    if lends:
        lent.update(fresh)
    else:
        lent.difference_update(fresh)
    for name in fresh:
        known.pop(name, None)
        if name in stamps:
            known[name] = stamps[name]
    views.note(module, brought, replaced)


def as_inherited(module: str, names: Iterable[str]) -> None:
    """Have the globals *names* of *module* as this process has inherited them."""
    born, namespace = homes.born[module], homes.adopted[module]
    brought = {name: born[name] for name in names if name in born}
    deliver(module, namespace, brought, {}, lends=False)


def inherited_function(
    module: str, name: str, names: tuple[str, ...], classes: tuple[str, ...]
) -> Any:
    """Return the function that was inherited as *name*, and finds all as it was then."""
    as_inherited(module, names)
    if classes:
        from polyexec.serialization.arrivals import as_born  # with cloudpickle, which takes long

        as_born(classes)
    return homes.born[module][name]


def inherited_main(place: int, name: str, names: tuple[str, ...]) -> Any:
    """Do as `inherited_function`, for a module of that *place* in MAINS.

    So it is not named, which tells a pickle that holds nothing else of the main module's.
    """
    return inherited_function(MAINS[place], name, names, ())
