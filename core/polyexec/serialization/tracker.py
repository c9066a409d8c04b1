"""The numbers by which classes that travel by value are known in every process: cloudpickle's."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from cloudpickle import cloudpickle as machinery

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["class_of", "identity_of", "register", "track"]

_by_class: Any = machinery._DYNAMIC_CLASS_TRACKER_BY_CLASS
_by_identity: Any = machinery._DYNAMIC_CLASS_TRACKER_BY_ID


def identity_of(kind: Any) -> str:
    """Return the number of the class *kind*, which it gets if it has none."""
    known: str | None = _by_class.get(kind)
    return known or machinery._get_or_create_tracker_id(kind)


def class_of(identity: str) -> Any:
    """Return the class of that number, None if it is not here."""
    return _by_identity.get(identity)


def register(identity: str, kind: Any) -> Any:
    """Return the class of that number, which is *kind* if another thread has made none."""
    return machinery._lookup_class_or_track(identity, kind)


def track(kinds: Iterable[Any]) -> None:
    """Have classes known to processes that are forked later as those that they inherit."""
    for kind in kinds:
        identity_of(kind)


def _renew_lock() -> None:
    # Re-entrant, for a signal's handler and the collector may submit at any time.
    machinery._DYNAMIC_CLASS_TRACKER_LOCK = threading.RLock()


def _lock() -> None:
    machinery._DYNAMIC_CLASS_TRACKER_LOCK.acquire()


def _unlock() -> None:
    machinery._DYNAMIC_CLASS_TRACKER_LOCK.release()


_renew_lock()
if hasattr(os, "register_at_fork"):
    # A child has no thread that would let go of it, and is to find all whole.
    os.register_at_fork(before=_lock, after_in_parent=_unlock, after_in_child=_renew_lock)
