"""`multiprocessing.managers`, whose managers run in processes of the standard library."""

from __future__ import annotations

from multiprocessing.managers import (
    BaseManager,
    BaseProxy,
    Namespace,
    RemoteError,
    SharedMemoryManager,
    SyncManager,
    Token,
)

__all__ = [
    "BaseManager",
    "BaseProxy",
    "Namespace",
    "RemoteError",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
]
