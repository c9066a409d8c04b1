"""Functions to bytes, once each."""

from __future__ import annotations

import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec.serialization.payloads import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EncodedFunction", "FunctionTable", "Wrapper", "is_constant"]


#: What is not longer than this, in bytes, is its own digest.
_OWN_DIGEST = 128


class EncodedFunction(NamedTuple):
    """A function as bytes; *digest* is None for one that must be sent with every task."""

    digest: bytes | None
    data: bytes


class Wrapper:
    """A callable of ours that is as constant as *fn*, which it calls."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn


class FunctionTable:
    """Serializes each plain function once, as it is when it is first sent.

    Bound methods, partials and callable objects are serialized each time: what they are bound to
    may change between two tasks.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], EncodedFunction]] = {}

    def encode(self, fn: Callable[..., Any]) -> EncodedFunction:
        """Return *fn* as bytes, with its digest if it may be kept under that."""
        if not is_constant(fn):
            return EncodedFunction(None, dumps(fn))
        key = id(fn)
        known = self._known.get(key)
        if known is not None and known[0]() is fn:
            return known[1]
        data = self.dumps(fn)
        encoded = EncodedFunction(_digest(data), data)
        known_by = self._known
        self._known[key] = (weakref.ref(fn, lambda _: known_by.pop(key, None)), encoded)
        return encoded

    def dumps(self, fn: Callable[..., Any]) -> bytes:
        """Return *fn* as the bytes that are sent once; for those who override it."""
        return dumps(fn)


def _digest(data: bytes) -> bytes:
    if len(data) <= _OWN_DIGEST:
        return data
    import hashlib  # takes long, and most functions travel by name

    return hashlib.sha256(data).digest()


def is_constant(fn: Callable[..., Any]) -> bool:
    """Return whether *fn* is taken to be the same at each call."""
    if isinstance(fn, Wrapper):
        return is_constant(fn.fn)
    if isinstance(fn, types.BuiltinFunctionType):
        return fn.__self__ is None or isinstance(fn.__self__, types.ModuleType)
    return isinstance(fn, types.FunctionType | type)
