"""Functions to bytes, once each."""

from __future__ import annotations

import functools
import types
import weakref

from polyexec._current import here
from polyexec.namedtuple import NamedTuple
from polyexec.serialization.payloads import LARGE, dumps
from polyexec.serialization.uses import UsesTable, hold
from polyexec.sharing import refer

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from polyexec.serialization.uses import UsesRef
    from polyexec.sharing import Shared

__all__ = ["CACHED", "EncodedFunction", "FunctionTable", "Wrapper", "is_constant"]


#: What `functools.lru_cache` makes.
CACHED: Final = type(functools.lru_cache(len))
#: What is not longer than this, in bytes, is its own digest.
_OWN_DIGEST = 128
#: A function that is larger, in bytes, is sent with every task, in ways for large data.
MAX_FUNCTION: Final = 64 << 20


class EncodedFunction(NamedTuple):
    """A function as bytes; *digest* is None for one that must be sent with every task."""

    digest: bytes | None
    data: bytes
    uses: UsesRef | None = None


class Wrapper:
    """A callable of ours that is as constant as *fn*, which it calls, if that is small.

    There may be a new *fn* for each, with whatever it encloses, which workers must not keep; and
    what it encloses of an executor's shared objects goes by reference only with a task.
    """

    #: Whether that is so; else it is sent with every task.
    is_light: bool = True

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn


class FunctionTable:
    """Serializes each plain function once, and again if a global that it uses was rebound since.

    What else may have changed of it, what is in a list say, is as it was then. Bound methods,
    partials and callable objects are serialized each time: what they are bound to may change
    between two tasks.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], EncodedFunction | None]] = {}
        self._uses = UsesTable()

    def encode(self, fn: Callable[..., Any]) -> EncodedFunction:
        """Return *fn* as bytes, with its digest if it may be kept under that."""
        return self.keep(fn) or EncodedFunction(None, dumps(fn))

    def keep(self, fn: Callable[..., Any]) -> EncodedFunction | None:
        """Return *fn* as workers keep it, None if it must be sent with every task."""
        if not is_constant(fn):
            return None
        key = id(fn)
        known = self._known.get(key)
        if known is not None and known[0]() is fn:
            kept = known[1]
            if kept is None or hold(kept.uses):
                return kept
        is_wrapper = isinstance(fn, Wrapper)
        # Where it goes, for what it uses may lead to the executor, whose table may not.
        table = self._uses if here.destination is None else here.destination.uses
        data, used = table.watch(fn, self._light if is_wrapper else self.dumps)
        kept = None
        if data is not None and len(data) <= MAX_FUNCTION:
            # A wrapper is the same for a whole map.
            kept = EncodedFunction(digest(data), data, None if is_wrapper else used)
        known_by = self._known
        self._known[key] = (weakref.ref(fn, lambda _: known_by.pop(key, None)), kept)
        return kept

    def _light(self, fn: Any) -> bytes | None:
        """Return *fn* as bytes, None if those are many, or it refers to a shared object."""
        shared: list[Shared[Any]] = []

        def note(handle: Shared[Any]) -> tuple[Any, ...]:
            shared.append(handle)
            return (bool, ())  # whatever takes no time

        data = refer(note, self.dumps, fn)
        fn.is_light = not shared and len(data) <= LARGE
        return data if fn.is_light else None

    def dumps(self, fn: Callable[..., Any]) -> bytes:
        """Return *fn* as the bytes that are sent once; for those who override it."""
        return dumps(fn)


def digest(data: bytes) -> bytes:
    """Return what no other bytes have."""
    if len(data) <= _OWN_DIGEST:
        return data
    import hashlib  # takes long, and most functions travel by name

    return hashlib.sha256(data).digest()


def is_constant(fn: Callable[..., Any]) -> bool:
    """Return whether *fn* is taken to be the same at each call."""
    if isinstance(fn, Wrapper):
        return fn.is_light and is_constant(fn.fn)
    if isinstance(fn, types.BuiltinFunctionType):
        return fn.__self__ is None or isinstance(fn.__self__, types.ModuleType)
    return isinstance(fn, types.FunctionType | type | CACHED)
