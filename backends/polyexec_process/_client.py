"""Who gives jobs to a pool, what the pool tells it, and what it may be asked."""

from __future__ import annotations

import os
import signal
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from polyexec.namedtuple import NamedTuple
from polyexec.scheduling import CRASHED

if TYPE_CHECKING:
    from polyexec.scheduling import Job
    from polyexec_process._answers import Answer


class Lost(NamedTuple):
    """How a worker ended; *reason* is which of a job's retries that takes.

    *host* is None for this one. *why* is known where it was lost together with its machine.
    """

    worker: str
    pid: int | None
    exitcode: int | None
    dump: str | None = None
    host: str | None = None
    reason: int = CRASHED
    why: str | None = None

    def __str__(self) -> str:
        if self.why is not None:
            return self.why
        where = "" if self.host is None else f" on host {self.host}"
        who = f"worker {self.worker!r} (pid {self.pid}{where})"
        if self.exitcode is None:
            return f"{who} was lost"
        if self.exitcode >= 0:
            return f"{who} exited with code {self.exitcode}"
        try:
            name = signal.Signals(-self.exitcode).name
        except ValueError:
            name = f"signal {-self.exitcode}"
        return f"{who} was killed by {name}"


class Engine(Protocol):
    """What an executor's jobs are given to: a pool here, or what stands for many elsewhere."""

    #: Whether only a thread of its own may send jobs, for that calls plugins' code.
    observed: bool

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""

    def want_worker(self) -> None:
        """Start one more worker, unless there are enough."""

    def start_workers(self) -> None:
        """Start all workers."""

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if a worker has it."""
        ...

    def may_repeat(self, job: Job, reason: int) -> bool:
        """Return whether *job*, which has ended, may be submitted again, and count that."""
        ...

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        ...

    def stop(self) -> None:
        """End the workers once they have done what they have."""

    def join(self) -> None:
        """Return once all has ended."""

    def terminate(self, signum: signal.Signals, grace: float = 0.0) -> None:
        """Have all workers killed by *signum*; what they have ends as stopped.

        Those that are at no job may be given *grace* seconds to end in order.
        """

    def processes(self) -> dict[int, Any]:
        """Return the workers by pid; waits for those that are being started."""
        ...

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker; waits for those that are being started."""
        ...

    def abandon(self) -> None:
        """Let go of what is the parent's, in this forked child."""


class Client(Protocol):
    """Who gave the jobs; called by the reactor without the pool's lock, unless said otherwise."""

    def started(self, jobs: list[Job], worker: str) -> None:
        """Take note that *worker* is being sent *jobs*; on any thread, under the pool's lock."""

    def unstarted(self, jobs: list[Job]) -> None:
        """Take note that *jobs* were sent, but not begun; under the pool's lock."""

    def ended(self, jobs: list[Job], answers: list[Answer]) -> None:
        """Take jobs' outcomes."""

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


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def abandon_in_children(engine: Engine) -> None:
    """Have a forked child let go of what is its parent's, of which a nursery is one."""
    _engines.add(engine)


def _forked() -> None:
    for engine in list(_engines):
        engine.abandon()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
