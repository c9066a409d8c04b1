"""Pickles what a process inherits at its birth: locks, queues and connections among it."""

from __future__ import annotations

import multiprocessing.context
import pickle
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from typing import Any

from polyexec.serialization import dumps as plain_dumps


class _Heir:
    """What multiprocessing asks, while it pickles, for the process that is to inherit."""

    DupFd = staticmethod(resource_sharer.DupFd)

    @staticmethod
    def duplicate_for_child(fd: int) -> int:
        """Return what `DupFd` is to be called with."""
        return fd


def dumps_for_heir(obj: Any) -> bytes:
    """Return *obj* as bytes that one new process may unpickle, once.

    In one pass: each time that a connection is pickled, a descriptor waits to be fetched.
    """
    state: Any = multiprocessing.context
    outer = state.get_spawning_popen()
    state.set_spawning_popen(_Heir())
    try:
        return _dumps_by_value(obj)
    finally:
        state.set_spawning_popen(outer)


def dumps_inheritable(obj: Any) -> bytes:
    """Pickle *obj* for the process that is being started, by value if it can't be done plainly."""
    try:
        return bytes(ForkingPickler.dumps(obj))
    except Exception:  # noqa: BLE001 - reducers are the user's code; cloudpickle may do better
        return _dumps_by_value(obj)


def _dumps_by_value(obj: Any) -> bytes:
    from polyexec.serialization.namespaces import dumps_by_value

    extra: Any = ForkingPickler._extra_reducers  # type: ignore[attr-defined]  # registered types
    try:
        return dumps_by_value(obj, pickle.HIGHEST_PROTOCOL, reducers=extra)
    except Exception:  # noqa: BLE001 - the user's reducers; this says what is wrong
        return plain_dumps(obj)
