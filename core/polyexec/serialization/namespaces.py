"""cloudpickle, but functions of one module share their globals wherever they arrive.

cloudpickle gives each function that travels by value the globals that it refers to, as they were
when it was pickled, and a namespace of its own to keep them in. So an initializer that sets a
global would set it for nobody. Here all of one module's functions have one namespace in a process.
What is delivered to a worker replaces what was delivered before, and nothing else: a value that
code has set in the process itself stays.
"""

from __future__ import annotations

import io
from collections import ChainMap
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import cloudpickle
from cloudpickle import cloudpickle as machinery

from polyexec.serialization import homes
from polyexec.serialization.homes import adopt, home_of
from polyexec.serialization.variables import reduce_variable

if TYPE_CHECKING:
    import pickle
    import types
    from collections.abc import Callable, Mapping

__all__ = ["dumps_by_value"]


def dumps_by_value(
    obj: Any,
    protocol: int,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    reducers: Mapping[type, Callable[[Any], Any]] | None = None,
    refer: Callable[[Any], int | None] | None = None,
) -> bytes:
    """Return *obj* as bytes, with what has no name elsewhere by value.

    *reducers* go by type; what *refer* returns a number for is stood for by that.
    """
    file = io.BytesIO()
    kind: Any = _Pickler
    if reducers:
        # In the class, for that is where the pickler looks, once, as it is made.
        base: Any = _Pickler.dispatch_table
        table = ChainMap(dict(reducers), base)
        kind = type(_Pickler.__name__, (_Pickler,), {"dispatch_table": table})
    if refer is not None:
        kind = type(_Pickler.__name__, (kind,), {"persistent_id": staticmethod(refer)})
    kind(file, protocol=protocol, buffer_callback=buffer_callback).dump(obj)
    return file.getvalue()


_known_types: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table: ClassVar[Any] = ChainMap({ContextVar: reduce_variable}, _known_types)

    def _dynamic_function_reduce(self, func: types.FunctionType) -> tuple[Any, ...]:
        reduced: tuple[Any, ...] = super()._dynamic_function_reduce(func)
        module = func.__module__
        if module is None or func.__globals__ is not home_of(module):
            return reduced  # made by exec(), say, with globals of its own
        return (_make_function, (module, *reduced[1]), *reduced[2:-1], _set_state)


def _make_function(module: str, code: Any, base: dict[str, Any], *rest: Any) -> Any:
    namespace = home_of(module)
    if namespace is None:  # the module is there where the function comes from, and not here
        namespace = {}
        adopt(module, namespace)
    for name, value in base.items():
        namespace.setdefault(name, value)
    return machinery._make_function(code, namespace, *rest)


def _set_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    slots = state[1]
    namespace, delivered = function.__globals__, homes.delivered.get(slots["__module__"], {})
    fresh = {
        name: value
        for name, value in slots["__globals__"].items()
        if name not in namespace or (name in delivered and namespace[name] is delivered[name])
    }
    slots["__globals__"] = fresh
    delivered.update(fresh)
    machinery._function_setstate(function, state)
