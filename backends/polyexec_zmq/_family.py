"""One executor's pools: one for tasks that can run anywhere, one for each kind that needs more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from polyexec_process.engine import abandon_in_children

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

    from polyexec.scheduling import Job
    from polyexec_zmq._remotepool import RemotePool

#: What a worker must have: names and how many of each, sorted.
Needs: TypeAlias = "tuple[tuple[str, int], ...]"


def needs_of(resources: Mapping[str, float]) -> Needs:
    """Return *resources* as what a worker must have; raises ValueError or TypeError."""
    needs: list[tuple[str, int]] = []
    for name, amount in sorted(resources.items()):
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise TypeError(
                f"resources must map names to whole numbers, not {name!r} to {amount!r}"
            )
        if amount != int(amount) or amount < 1:
            raise ValueError(
                f"resources must be whole numbers above 0, not {amount!r} of {name!r}: a worker "
                "has all of one, or none"
            )
        needs.append((name, int(amount)))
    return tuple(needs)


class PoolFamily:
    """An engine that gives each job to the pool whose workers have what it needs.

    *open_pool* makes one; *default* is what jobs need that do not say.
    """

    #: Jobs are always sent by the line's thread.
    observed = False

    def __init__(self, open_pool: Callable[[Needs], RemotePool], default: Needs) -> None:
        self._open_pool = open_pool
        self._default = default
        self._lock = threading.RLock()
        self._first = open_pool(default)
        self._pools: dict[Needs, RemotePool] = {default: self._first}
        self._terminated: signal.Signals | None = None
        abandon_in_children(self)

    def _pool(self, job: Job) -> RemotePool:
        task: Any = job
        resources = task.options.resources
        if not resources:
            return self._first
        needs = needs_of(resources)
        with self._lock:
            pool = self._pools.get(needs)
            if pool is None:
                pool = self._pools[needs] = self._open_pool(needs)
                if self._terminated is not None:
                    pool.terminate(self._terminated)
            return pool

    def _all(self) -> list[RemotePool]:
        with self._lock:
            return list(self._pools.values())

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""
        self._pool(job).submit(job)

    def want_worker(self) -> None:
        """Have workers started."""
        self._first.want_worker()

    start_workers = want_worker

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if it may have begun."""
        return self._pool(job).withdraw(job)

    def withdraw_all(self) -> None:
        """Take back all that has not begun, so that `withdraw` need not ask for each."""
        for pool in self._all():
            pool.withdraw_all()

    def may_repeat(self, job: Job, reason: int) -> bool:
        """Return whether *job*, which has ended, may be submitted again, and count that."""
        return self._pool(job).may_repeat(job, reason)

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        return self._pool(job).kill(job)

    def stop(self) -> None:
        """End the workers once they have done what they have."""
        for pool in self._all():
            pool.stop()

    def join(self) -> None:
        """Return once all has ended."""
        for pool in self._all():
            pool.join()

    def terminate(self, signum: signal.Signals, grace: float = 0.0) -> None:  # noqa: ARG002 - there are no queues here that a worker might have to write to
        """Have all workers killed by *signum*; what they have ends as stopped."""
        with self._lock:
            self._terminated = signum
        for pool in self._all():
            pool.terminate(signum)

    def processes(self) -> dict[int, Any]:
        """Return nothing: the workers are no processes of this one."""
        return {}

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker."""
        return [worker for pool in self._all() for worker in pool.describe()]

    def abandon(self) -> None:
        """Let go of what is the parent's, in this forked child."""
        for pool in list(self._pools.values()):
            pool.abandon()
