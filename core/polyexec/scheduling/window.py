"""What a worker, or a site of several, has been given and has not answered."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polyexec.scheduling.job import Job

__all__ = ["SiteWindow", "Window"]


class Window:
    """The jobs that one worker holds, in the order in which it runs and answers them.

    Each job that is sent has the next number. A recalled one leaves a None behind, for the worker
    still answers that it passed it over.
    """

    __slots__ = (
        "blocked",
        "entries",
        "first",
        "floor",
        "idling",
        "left",
        "load",
        "passing",
        "progressed_at",
        "starting",
        "stuck",
        "width",
        "worker",
    )

    #: A kind that takes more seconds is not sent ahead: what a worker saves by it is less than
    #: what others lose, who may begin later jobs before that one is known to be in the wrong place.
    long: ClassVar[float] = 0.004

    #: How many jobs a worker may hold; with more, what is known of them leaves the caches before
    #: they are answered.
    most: ClassVar[int] = 1024

    entries: Any

    def __init__(self, worker: Any, left: int | None) -> None:
        self.worker: Any = worker
        #: How many jobs it can run at a time.
        self.width: int = 1
        self.entries = deque()
        #: The number of the oldest entry.
        self.first: int = 0
        #: The number from which on nothing is held back.
        self.floor: int = 0
        #: How many seconds of work are expected in it.
        self.load: float = 0.0
        #: How many more jobs the worker may be given, None for no limit.
        self.left: int | None = left
        #: How many entries were recalled, and not answered since.
        self.passing: int = 0
        #: Whether the worker is not ready yet; it is given one job for then.
        self.starting: bool = True
        #: Whether it is among those that have nothing to do.
        self.idling: bool = True
        #: Whether its jobs were recalled, and it has not gone on since.
        self.blocked: bool = False
        #: The number of the job that it was at then, as far as that is known.
        self.stuck: int = -1
        #: When it last answered, or was given something while it had nothing.
        self.progressed_at: float = 0.0

    @property
    def sent(self) -> int:
        """The number that the next job will have."""
        return self.first + len(self.entries)

    @property
    def held(self) -> int:
        """How many jobs it holds that were not recalled."""
        return len(self.entries) - self.passing

    def hold(self, jobs: Iterable[Job]) -> None:
        """Take note that it is being sent *jobs*."""
        self.entries.extend(jobs)

    def at(self, number: int) -> Job | None:
        """Return the job of that number, None if it is answered, recalled or not sent yet."""
        place = number - self.first
        return self.entries[place] if 0 <= place < len(self.entries) else None


class SiteWindow(Window):
    """The jobs that a site of *width* workers holds, which it answers in any order."""

    __slots__ = ()

    #: What is sent there is under way for longer.
    long: ClassVar[float] = 0.02
    most: ClassVar[int] = 2048

    entries: dict[Job, None]

    def __init__(self, site: Any, width: int) -> None:
        super().__init__(site, None)
        self.width = width
        self.starting = False
        self.entries = {}

    def hold(self, jobs: Iterable[Job]) -> None:
        """Take note that it is being sent *jobs*."""
        self.entries.update(dict.fromkeys(jobs))
