"""`multiprocessing.connection`; `Pipe` is the default context's."""

from __future__ import annotations

from multiprocessing.connection import Client, Connection, Listener, wait
from typing import TYPE_CHECKING, Any

from polyexec._default import late, others_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Client", "Connection", "Listener", "Pipe", "wait"]

__getattr__: Callable[[str], Any] = others_of("multiprocessing.connection")

Pipe: Callable[..., Any] = late("Pipe")
