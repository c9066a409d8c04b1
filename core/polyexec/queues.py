"""`multiprocessing.queues`, whose classes are made on the default context."""

from __future__ import annotations

from queue import Empty, Full

from polyexec._default import late

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

Queue = late("Queue")
JoinableQueue = late("JoinableQueue")
SimpleQueue = late("SimpleQueue")
