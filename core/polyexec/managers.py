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
from typing import TYPE_CHECKING, Any

from polyexec._default import others_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BaseManager",
    "BaseProxy",
    "Namespace",
    "RemoteError",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
]

__getattr__: Callable[[str], Any] = others_of("multiprocessing.managers")
