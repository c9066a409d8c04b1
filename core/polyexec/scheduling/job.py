"""A job: what a scheduler knows of a task, and the opaque bytes that its worker gets."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "ASSIGNED",
    "CRASHED",
    "ENDED",
    "FAILED",
    "LOST",
    "NO_RETRIES",
    "QUEUED",
    "WITHDRAWN",
    "Job",
]

QUEUED: Final = 0
ASSIGNED: Final = 1
WITHDRAWN: Final = 2
#: Or it was not submitted yet.
ENDED: Final = 3

#: Why a job may have to be run again: its worker was lost for no fault of its own, its worker died
#: of it as far as can be told, or its own code failed.
LOST: Final = 0
CRASHED: Final = 1
FAILED: Final = 2


#: The retries of most jobs, by reason.
NO_RETRIES: Final = (0, 0, 0)


class Job:
    """What one worker does at a time; *kind* groups jobs that are expected to take equally long.

    *priority*: higher goes first. *timeout*: seconds that one attempt may run, None for no limit.
    *retries*: how often it may be run again yet, for each reason.
    *payload* and *owner* are the driver's, and never looked at here.
    """

    __slots__ = (
        "arrival",
        "estimate",
        "kind",
        "owner",
        "payload",
        "place",
        "priority",
        "retries",
        "state",
        "timeout",
    )

    def __init__(self, kind: int, payload: Any, owner: Any) -> None:
        self.kind: int = kind
        self.payload: Any = payload
        self.owner: Any = owner
        self.priority: int = 0
        self.timeout: float | None = None
        self.retries: tuple[int, int, int] = NO_RETRIES
        self.state: int = ENDED
        #: Its place in the order of arrival.
        self.arrival: int = 0
        #: How many seconds it was expected to take when it was assigned.
        self.estimate: float = 0.0
        #: The window that it is in, None if in none.
        self.place: Any = None

    @property
    def name(self) -> str:
        """What people call it."""
        name: str = self.owner.name
        return name

    def spend_retry(self, reason: int) -> bool:
        """Return whether it, which has ended, may be run again, and count that.

        It may be submitted then. Each *reason* has a budget of its own, so that a job that kills
        its workers is stopped by that, however few of its losses were nobody's fault.
        """
        left = list(self.retries)
        if left[reason] <= 0:
            return False
        left[reason] -= 1
        self.retries = (left[0], left[1], left[2])
        return True
