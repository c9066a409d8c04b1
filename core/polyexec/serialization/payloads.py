"""Objects to bytes: plain pickle where it is right, cloudpickle where it is needed.

Plain pickle is several times faster, but it stores `__main__`'s functions and classes by a name
that means something else in a worker, and refuses lambdas, closures and what a notebook defined.
So its output is scanned for that name, which costs next to nothing, and cloudpickle does again
what must travel by value. Once modules are registered to be pickled by value, it does everything.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from polyexec.errors import UnpicklableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["dumps", "loads"]

PROTOCOL = 5
#: How pickle says that something can't be pickled.
_REFUSALS = (pickle.PicklingError, TypeError, AttributeError, RecursionError)


def dumps(
    obj: Any, *, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None
) -> bytes:
    """Return *obj* as bytes; *buffer_callback* takes large buffers out of band (PEP 574).

    Raises UnpicklableError, caused by the pickler's own error; what else an object's own reducer
    raises is let through.
    """
    buffers: list[pickle.PickleBuffer] = []
    keep = None if buffer_callback is None else buffers.append
    try:
        data = pickle.dumps(obj, PROTOCOL, buffer_callback=keep)
    except Exception as error:  # noqa: BLE001 - reducers are the user's code
        data = _by_value(obj, buffers, keep, error)
    else:
        if b"__main__" in data or b"__mp_main__" in data or _by_value_modules():
            data = _by_value(obj, buffers, keep, None)
    if buffer_callback is not None:
        for buffer in buffers:
            buffer_callback(buffer)
    return data


def loads(data: bytes, buffers: Iterable[Any] = ()) -> Any:
    """Return the object that `dumps` made *data* and *buffers* from."""
    return pickle.loads(data, buffers=buffers)


def _by_value(
    obj: Any,
    buffers: list[pickle.PickleBuffer],
    keep: Callable[[pickle.PickleBuffer], Any] | None,
    first: Exception | None,
) -> bytes:
    from polyexec.serialization.namespaces import dumps_by_value

    buffers.clear()
    try:
        data = dumps_by_value(obj, PROTOCOL, keep)
    except Exception as error:  # noqa: BLE001 - reducers are the user's code
        cause = first or error
        if not isinstance(cause, _REFUSALS):
            raise cause from None  # a reducer's own error means more than ours
        raise UnpicklableError(
            f"{_short(obj)} can't be sent to another process: {cause}; pass what can be "
            "pickled, or open files, sockets and locks in the task itself"
        ) from cause
    return data


def _by_value_modules() -> bool:
    # Who has registered a module has imported cloudpickle.
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())


def _short(obj: Any) -> str:
    try:
        text = repr(obj)
    except Exception:  # noqa: BLE001 - the user's __repr__
        text = f"<{type(obj).__name__} object at {id(obj):#x}>"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth
