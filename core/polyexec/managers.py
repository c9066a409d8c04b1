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

from polyexec._default import others_of

__all__ = [
    "BaseManager",
    "BaseProxy",
    "Namespace",
    "RemoteError",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
]

__getattr__ = others_of("multiprocessing.managers")
