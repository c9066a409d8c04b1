"""Turns calls into what goes to workers: bytes, parcels, and shared objects that they refer to."""

from __future__ import annotations

import functools
import itertools
import pickle
import threading
import types
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from polyexec.interrupts import Uninterrupted
from polyexec.serialization import LARGE, Destination, are_plain, bound_for, dumps_parts
from polyexec.sharing import Shared, refer
from polyexec_process._holdings import reference
from polyexec_process._parcels import READONLY, Blob, Parcel, flat
from polyexec_process._segments import Store, most_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

#: A call as it is sent, and with it the shared objects that it refers to, None if it can't.
Call: TypeAlias = "bytes | Parcel"
Packed: TypeAlias = "tuple[Call, list[Blob] | None]"

#: How many bytes of constants, bound in callables that are sent with each task, are kept.
CONSTANT_BYTES: Final = 64 << 20
#: How many callables are looked into for such constants, at most, for one task.
_MOST_LOOKED_AT = 32


class Packer:
    """One executor's, whose workers are at *destination*; any thread may call."""

    def __init__(self, destination: weakref.ref[Destination]) -> None:
        self._destination = destination
        self._store = Store()
        #: Whether there was a parcel, so that calls may be parcels.
        self.has_parcels: bool = False
        self._kept: Store | None = None
        self._numbers = itertools.count(1)
        self._shared: weakref.WeakKeyDictionary[Shared[Any], Blob] = weakref.WeakKeyDictionary()
        # Guards the constants; re-entrant, for the collector may run code that submits.
        self._lock = threading.RLock()
        #: By identity, with its size.
        self._constants: dict[int, tuple[Blob, int]] = {}
        self._constant_bytes = 0

    def share(self, obj: T) -> Shared[T]:
        """Return a handle on *obj*, which is sent to each worker that needs it, once."""
        handle = Shared(obj)
        self._shared[handle] = self._blob(obj)
        return handle

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Packed:
        """Return a call's arguments as they are sent, and what they refer to."""
        if not kwargs and are_plain(args):  # most are, and it costs a third
            return self._sent(pickle.dumps((args, {}), 5), ()), None
        return self._pack((args, kwargs), [], None)

    def bound_call(self, fn: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Packed:
        """Return a call as it is sent together with its function."""
        needs: list[Blob] = []
        constant = partial(self._constant, needs) if _binds_much(fn) else None
        return self._pack((fn, args, kwargs), needs, constant)

    @property
    def crowded(self) -> bool:
        """Whether large calls wait, so that more had better be held back."""
        return self._store.crowded

    def close(self) -> None:
        """Let go of memory that is kept for more."""
        self._store.close()
        with self._lock:
            self._constants.clear()
            self._constant_bytes = 0

    def _pack(
        self,
        call: tuple[Any, ...],
        needs: list[Blob],
        constant: Callable[[Any], int | None] | None,
    ) -> Packed:
        if self._shared:
            data, buffers = refer(partial(self._reference, needs), self._dumps, call, constant)
        else:
            data, buffers = self._dumps(call, constant)
        return self._sent(data, buffers), needs or None

    def _dumps(
        self, obj: Any, constant: Callable[[Any], int | None] | None = None
    ) -> tuple[bytes, list[pickle.PickleBuffer]]:
        destination = self._destination()
        assert destination is not None  # the executor keeps it, and its tasks the executor
        return bound_for(destination, dumps_parts, obj, constant)

    def _sent(self, data: bytes, buffers: Sequence[pickle.PickleBuffer]) -> Call:
        if buffers or len(data) >= LARGE:
            self.has_parcels = True
            return Parcel(self._store, flat(data, buffers))
        return data

    def _reference(self, needs: list[Blob], handle: Shared[Any]) -> tuple[Any, ...] | None:
        blob = self._shared.get(handle)
        if blob is None:
            return None
        needs.append(blob)
        return reference(blob.number)

    def _constant(self, needs: list[Blob], obj: Any) -> int | None:
        """Return what stands for *obj*, if that is large and can't change."""
        if not _is_constant(obj):
            return None
        key = id(obj)
        with Uninterrupted(), self._lock:
            known = self._constants.pop(key, None)
            if known is None:
                known = (self._blob(obj), len(obj))
                self._constant_bytes += len(obj)
            self._constants[key] = known  # behind those that were used before it
            while self._constant_bytes > CONSTANT_BYTES and len(self._constants) > 1:
                self._constant_bytes -= self._constants.pop(next(iter(self._constants)))[1]
        blob = known[0]
        needs.append(blob)
        return blob.number

    def _blob(self, obj: Any) -> Blob:
        data, buffers = self._dumps(obj)
        with Uninterrupted(), self._lock:
            if self._kept is None:
                self._kept = Store(most_shared())
        return Blob(next(self._numbers), Parcel(self._kept, flat(data, buffers), READONLY), obj)


def _is_constant(obj: Any) -> bool:
    return type(obj) in (bytes, str) and len(obj) >= LARGE


def _binds_much(fn: Any) -> bool:
    """Return whether the callable *fn* is bound to a large constant, as far as is seen at once."""
    pending = [fn]
    for _ in range(_MOST_LOOKED_AT):
        if not pending:
            return False
        for value in _bound_to(pending.pop()):
            if _is_constant(value):
                return True
            if callable(value):
                pending.append(value)
    return False


def _bound_to(fn: Any) -> list[Any]:
    """Return what the callable *fn* is bound to: a partial, a method, a map's chunk."""
    owner = fn.__self__ if type(fn) is types.MethodType else fn
    if type(owner) is functools.partial:
        return [owner.func, *owner.args, *owner.keywords.values()]
    return list(_attributes(owner).values())


def _attributes(owner: Any) -> dict[str, Any]:
    if isinstance(owner, type | types.FunctionType | types.BuiltinFunctionType):
        return {}
    try:
        return dict(owner.__dict__)
    except Exception:  # noqa: BLE001 - the user's __getattr__; most have no __dict__
        return {}
