"""Lists of objects to bytes, so that one that can't be pickled spoils no other.

One pickle for several objects would make equal what was not the same object, by the pickler's
memo, and would be lost as a whole. Plain values have neither problem and ride together.
"""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext

from polyexec._current import Collection, here
from polyexec.namedtuple import NamedTuple
from polyexec.serialization.exceptions import dumps_exception, loads_exception
from polyexec.serialization.payloads import ItemDumper, loads

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = [
    "PackedItems",
    "are_plain",
    "how_alike",
    "pack_items",
    "ride_together",
    "unpack_items",
]

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_NUMBERS = frozenset({int, float, bool})
#: Others whose objects have no parts and never change, so that it is no matter which is which.
_LEAVES = frozenset({("datetime", "date"), ("datetime", "timedelta"), ("decimal", "Decimal")})
#: Those of numpy's scalars that are not so.
_PARTED = frozenset({"void", "object_", "record"})


class PackedItems(NamedTuple):
    """Objects, each ready to be pickled: as they are if *plain*, else in bytes, each its own.

    *errors* holds, by place, the exception of each that could not be pickled.
    """

    plain: bool
    items: list[Any]
    errors: dict[int, bytes]
    #: The definitions of classes that they have in common.
    classes: tuple[tuple[str, Any], ...] = ()


def are_plain(values: Iterable[Any]) -> bool:
    """Return whether no pickler has questions about any of *values*."""
    try:
        return _PLAIN.issuperset(map(type, values))
    except TypeError:  # a class that has no hash
        return False


def ride_together(values: Sequence[Any]) -> bool:
    """Return whether one pickle of all *values* does as well as one of each, or better."""
    return how_alike(values) is not None


def how_alike(values: Sequence[Any]) -> str | None:
    """Return "numbers" for small ones, "plain" if *values* can ride together, else None."""
    kinds = [*map(type, values)]
    try:
        # What is the same is not compared, so this takes less than to look up each.
        if not kinds or kinds.count(kinds[0]) < len(kinds):
            return "plain" if _PLAIN.issuperset(kinds) else None
        if kinds[0] in _NUMBERS:
            return "numbers"
        return "plain" if kinds[0] in _PLAIN or _is_leaf(kinds[0]) else None
    except Exception:  # noqa: BLE001 - a metaclass of the user's
        return None


def _is_leaf(kind: type) -> bool:
    module, name = kind.__module__, kind.__qualname__
    if module == "numpy":
        numpy: Any = sys.modules.get("numpy")
        return issubclass(kind, numpy.generic) and name not in _PARTED
    return (module, name) in _LEAVES and getattr(sys.modules.get(module), name, None) is kind


def pack_items(values: Sequence[Any]) -> PackedItems:
    """Pack *values*; never raises for what they are."""
    if all(_is_plain(value) for value in values):
        return PackedItems(plain=True, items=list(values), errors={})
    items: list[Any] = []
    errors: dict[int, bytes] = {}
    classes: dict[str, Any] = {}
    outer, dump = here.collection, ItemDumper()
    here.collection = Collection(outer.uses, outer.needs, classes)
    try:
        for place, value in enumerate(values):
            try:
                items.append(dump(value))
            except BaseException as error:  # noqa: BLE001 - becomes this one item's outcome
                items.append(None)
                errors[place] = dumps_exception(error)
    finally:
        here.collection = outer
    known = tuple((identity, entry) for identity, entry in classes.items() if entry is not None)
    return PackedItems(plain=False, items=items, errors=errors, classes=known)


def unpack_items(
    packed: PackedItems, *, interruptible: bool = False
) -> list[tuple[Any, BaseException | None]]:
    """Return each value, or what kept it from being pickled or unpickled.

    If *interruptible*, what Ctrl-C may have raised is nobody's outcome, but raised.
    """
    if packed.plain:
        return [(item, None) for item in packed.items]
    struck = interruptible and threading.current_thread() is threading.main_thread()
    through = KeyboardInterrupt if struck else ()
    known: Any = nullcontext()
    if packed.classes:
        from polyexec.serialization.arrivals import arriving  # it imports cloudpickle

        known = arriving(packed.classes)
    with known:
        return [_unpack(packed, place, through) for place in range(len(packed.items))]


def _unpack(
    packed: PackedItems, place: int, through: type[BaseException] | tuple[()]
) -> tuple[Any, BaseException | None]:
    if place in packed.errors:
        return None, loads_exception(packed.errors[place])
    try:
        return loads(packed.items[place]), None
    except through:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's code; this one item's outcome
        return None, error


def _is_plain(value: Any) -> bool:
    # A tuple has the arguments of one call.
    return are_plain(value if type(value) is tuple else (value,))
