"""Who gives jobs to a pool, and what the pool tells it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from polyexec.scheduling import Job
    from polyexec_process._link import Answer


class Lost(NamedTuple):
    """How a worker ended."""

    worker: str
    pid: int | None
    exitcode: int | None
    dump: str | None = None

    def __str__(self) -> str:
        who = f"worker {self.worker!r} (pid {self.pid})"
        if self.exitcode is None:
            return f"{who} was lost"
        if self.exitcode >= 0:
            return f"{who} exited with code {self.exitcode}"
        try:
            name = signal.Signals(-self.exitcode).name
        except ValueError:
            name = f"signal {-self.exitcode}"
        return f"{who} was killed by {name}"


class Client(Protocol):
    """Who gave the jobs; called by the reactor without the pool's lock, unless said otherwise."""

    def started(self, jobs: list[Job], worker: str) -> None:
        """Take note that *worker* is being sent *jobs*; on any thread, under the pool's lock."""

    def unstarted(self, jobs: list[Job]) -> None:
        """Take note that *jobs* were sent, but not begun; under the pool's lock."""

    def ended(self, job: Job, answer: Answer) -> None:
        """Take a job's outcome."""

    def lost(self, job: Job, lost: Lost) -> None:
        """Take note that *job* was running on a worker as that died."""

    def timed_out(self, job: Job) -> None:
        """Take note that *job* was stopped, for it ran out of time."""

    def stopped(self, job: Job) -> None:
        """Take note that *job* was stopped, for somebody asked to."""

    def worker_started(self, worker: str) -> None:
        """Take note of a new worker."""

    def worker_lost(self, lost: Lost, job: Job | None) -> None:
        """Take note that a worker died unasked."""

    def unprepared(self, worker: str, error: bytes) -> None:
        """Take note that an initializer failed."""

    def barren(self, why: str) -> None:
        """Take note that there will be no more workers."""
