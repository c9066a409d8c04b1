"""`multiprocessing.queues`, whose classes are made on the default context."""

from __future__ import annotations

from queue import Empty, Full
from typing import TYPE_CHECKING, Any

from polyexec._default import late, others_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

__getattr__: Callable[[str], Any] = others_of("multiprocessing.queues")

Queue: Callable[..., Any] = late("Queue")
JoinableQueue: Callable[..., Any] = late("JoinableQueue")
SimpleQueue: Callable[..., Any] = late("SimpleQueue")
