"""Enumerations by value: their members are made as they are, not as the program made them."""

from __future__ import annotations

import contextlib
import enum
import types
from typing import Any, Final, TypeAlias

__all__ = ["ENUMERATED", "Members", "make_enum", "members_of"]

#: Of each name that of its member, its value, attributes, and of what else it is made; and then
#: what the enumeration looks members up in.
Members: TypeAlias = "tuple[list[tuple[str, str, Any, Any]], dict[str, Any]]"

#: What an enumeration has of its members.
_LOOKED_UP: Final = frozenset(
    {"_member_names_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_"}
)
ENUMERATED: Final = _LOOKED_UP | {
    *("_member_map_", "_value2member_map_", "_member_type_", "_generate_next_value_", "_use_args_")
}


def members_of(kind: Any) -> Members:
    """Return what `make_enum` makes the members of *kind* of."""
    found = [
        (name, member._name_, member._value_, _instance(member))
        for name, member in kind.__members__.items()
    ]
    return found, {name: vars(kind)[name] for name in _LOOKED_UP & vars(kind).keys()}


def _instance(member: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return what an enumeration's *member* has, and of what it is made besides."""
    own = {
        name: value
        for name, value in vars(member).items()
        if name not in ("_name_", "_value_", "__objclass__", "_sort_order_")
    }
    mixin: Any = type(member)._member_type_
    return own, _args(mixin, member)


def _args(mixin: Any, member: Any) -> tuple[Any, ...]:
    args: Any = member._value_ if isinstance(member._value_, tuple) else (member._value_,)
    if mixin.__new__ is object.__new__:
        args = ()
    elif hasattr(mixin, "__getnewargs__"):
        args = mixin.__getnewargs__(member)
    elif mixin.__reduce__ is not object.__reduce__:
        args = mixin.__reduce__(member)[1]  # dates and the like
    return tuple(args)


def make_enum(
    meta: Any,
    name: str,
    bases: tuple[Any, ...],
    namespace: dict[str, Any],
    members: tuple[Any, Any],
) -> Any:
    """Return an enumeration with *members*, for the making of which none of its code is run."""
    classdict = meta.__prepare__(name, bases)
    for key, value in namespace.items():
        if key != "__slots__":
            classdict[key] = value
    made = meta.__new__(meta, name, bases, classdict)
    mixin = made._member_type_
    found, looked_up = members
    for place, (alias, canonical, value, (own, args)) in enumerate(found):
        member = made._member_map_.get(canonical)
        if member is None:
            member = mixin.__new__(made, *args)
            member._name_, member._value_ = canonical, value
            member.__objclass__, member._sort_order_ = made, place
            vars(member).update(own)
            made._member_map_[canonical] = member
            with contextlib.suppress(TypeError):  # without a hash it is found by a search
                made._value2member_map_.setdefault(value, member)
        made._member_map_[alias] = member
        if not isinstance(getattr(enum.Enum, alias, None), types.DynamicClassAttribute):
            type.__setattr__(made, alias, member)
    for attribute, value in looked_up.items():
        type.__setattr__(made, attribute, value)
    return made
