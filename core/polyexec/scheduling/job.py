"""A job: what a scheduler knows of a task, and the opaque bytes that its worker gets."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ASSIGNED", "ENDED", "QUEUED", "WITHDRAWN", "Job"]

QUEUED: Final = 0
ASSIGNED: Final = 1
WITHDRAWN: Final = 2
ENDED: Final = 3


class Job:
    """One attempt's worth of work; *kind* groups jobs that are expected to take equally long.

    *priority*: higher goes first. *timeout*: seconds that it may run, None for no limit.
    *payload* and *owner* are the driver's, and never looked at here.
    """

    __slots__ = ("estimate", "kind", "owner", "payload", "place", "priority", "state", "timeout")

    def __init__(
        self,
        kind: int,
        payload: Any,
        owner: Any,
        priority: int = 0,
        timeout: float | None = None,
    ) -> None:
        self.kind: int = kind
        self.payload: Any = payload
        self.owner: Any = owner
        self.priority: int = priority
        self.timeout: float | None = timeout
        self.state: int = QUEUED
        #: How many seconds it was expected to take when it was assigned.
        self.estimate: float = 0.0
        #: The window that it is in, and its number there.
        self.place: Any = None
