"""What `typing` makes of names of the main module, by value: pickle has names alone for it."""

from __future__ import annotations

import functools
import sys
import typing
from typing import Any

from polyexec.serialization.destinations import MAINS

__all__ = ["REDUCERS"]


def _is_elsewhere(obj: Any) -> bool:
    """Return whether *obj* is found by its name in another process."""
    module = sys.modules.get(obj.__module__)
    return obj.__module__ not in MAINS and getattr(module, obj.__name__, None) is obj


def _reduce_new_type(new: Any) -> Any:
    if _is_elsewhere(new):
        return new.__name__
    return typing.NewType, (new.__name__, new.__supertype__), {"__module__": new.__module__}


def _reduce_parameters(parameters: Any) -> Any:
    if _is_elsewhere(parameters):
        return parameters.__name__
    options = {
        "bound": parameters.__bound__,
        "covariant": parameters.__covariant__,
        "contravariant": parameters.__contravariant__,
    }
    if getattr(parameters, "__infer_variance__", False):
        options = {"infer_variance": True, "bound": parameters.__bound__}
    kind: Any = type(parameters)
    return functools.partial(kind, **options), (parameters.__name__,)


def _reduce_type_tuple(parameters: Any) -> Any:
    if _is_elsewhere(parameters):
        return parameters.__name__
    return type(parameters), (parameters.__name__,)


def _reduce_alias(alias: Any) -> Any:
    if _is_elsewhere(alias):
        return alias.__name__
    kind: Any = type(alias)
    make = functools.partial(kind, type_params=alias.__type_params__)
    return make, (alias.__name__, alias.__value__)


REDUCERS: dict[type, Any] = {
    typing.NewType: _reduce_new_type,
    typing.ParamSpec: _reduce_parameters,
}
if sys.version_info >= (3, 11):
    REDUCERS[typing.TypeVarTuple] = _reduce_type_tuple
if sys.version_info >= (3, 12):
    REDUCERS[typing.TypeAliasType] = _reduce_alias
