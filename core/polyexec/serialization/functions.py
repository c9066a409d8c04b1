"""Functions to bytes, once each: a table for those who send, a cache for those who receive."""

from __future__ import annotations

import hashlib
import types
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec.serialization.payloads import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EncodedFunction", "FunctionCache", "FunctionTable"]


class EncodedFunction(NamedTuple):
    """A function as bytes; *digest* is None for one that must be sent with every task."""

    digest: bytes | None
    data: bytes


class FunctionTable:
    """Serializes each plain function once, as it is when it is first sent.

    Bound methods, partials and callable objects are serialized each time: what they are bound to
    may change between two tasks.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], EncodedFunction]] = {}

    def encode(self, fn: Callable[..., Any]) -> EncodedFunction:
        """Return *fn* as bytes, with its digest if it may be kept under that."""
        if not _is_constant(fn):
            return EncodedFunction(None, dumps(fn))
        key = id(fn)
        known = self._known.get(key)
        if known is not None and known[0]() is fn:
            return known[1]
        data = dumps(fn)
        encoded = EncodedFunction(hashlib.sha256(data).digest(), data)
        known_by = self._known
        self._known[key] = (weakref.ref(fn, lambda _: known_by.pop(key, None)), encoded)
        return encoded


class FunctionCache:
    """Keeps functions by digest, the least recently used going first beyond *limit* bytes."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._bytes = 0
        self._functions: OrderedDict[bytes, tuple[Callable[..., Any], int]] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._functions

    def get(self, digest: bytes) -> Callable[..., Any] | None:
        """Return the function of that digest, None if it must be sent."""
        found = self._functions.get(digest)
        if found is None:
            return None
        self._functions.move_to_end(digest)
        return found[0]

    def add(self, digest: bytes, data: bytes) -> Callable[..., Any]:
        """Unpickle the function *data*, and keep it under *digest*."""
        fn: Callable[..., Any] = loads(data)
        self._bytes += len(data) - self._functions.pop(digest, (None, 0))[1]
        self._functions[digest] = (fn, len(data))
        while self._bytes > self._limit and len(self._functions) > 1:
            _, (_, size) = self._functions.popitem(last=False)
            self._bytes -= size
        return fn


def _is_constant(fn: Callable[..., Any]) -> bool:
    if isinstance(fn, types.BuiltinFunctionType):
        return fn.__self__ is None or isinstance(fn.__self__, types.ModuleType)
    return isinstance(fn, types.FunctionType | type)
