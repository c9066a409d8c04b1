"""The jobs that wait for a worker: the highest priority first, then in order of arrival."""

from __future__ import annotations

import bisect
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from polyexec.scheduling.job import QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polyexec.scheduling.job import Job

__all__ = ["ReadyJobs"]


class ReadyJobs:
    """A queue for each priority in use; adding and taking cost the same however many wait.

    A withdrawn job stays where it is until it is met, and is passed over then; but when there are
    more of those than others, they go: each may refer to much.
    """

    def __init__(self) -> None:
        self._queues: dict[int, deque[Job]] = {}
        self._priorities: list[int] = []  # ascending
        self._count = 0
        self._withdrawn = 0
        self._from: deque[Job] = deque()
        self._arrivals = 0

    def __len__(self) -> int:
        return self._count

    def append(self, job: Job) -> None:
        """Add *job* behind those of its priority."""
        self.take_in(deque([job]))

    def take_in(self, jobs: deque[Job]) -> None:
        """Move *jobs* here, each behind those of its priority.

        None is lost, whatever is raised, the RecursionError of a full stack for one: what is left
        of them is to be taken in later.
        """
        queues, take = self._queues, jobs.popleft
        queue, priority = None, None
        for _ in range(len(jobs)):
            job = jobs[0]
            if job.state != QUEUED:  # else something was raised below
                if job.priority != priority:
                    queue, priority = queues.get(job.priority), job.priority
                if queue is None:
                    queue = self._open(job.priority)
                # Without a call in between, after which a signal's handler might raise.
                job.arrival = self._arrivals
                job.state = QUEUED
                self._arrivals += 1
                self._count += 1
                queue.append(job)
            take()

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Add *jobs*, which were taken, where they were in the order of arrival.

        Those before them in their queue are others that were put back, and so are few.
        """
        groups: dict[int, list[Job]] = {}
        for job in jobs:
            groups.setdefault(job.priority, []).append(job)
        for priority, group in groups.items():
            queue = self._queues.get(priority)
            if queue is None:
                queue = self._open(priority)
            self._count += len(group)
            last = max(map(_arrival, group))
            while queue and queue[0].arrival < last:
                group.append(queue.popleft())
            group.sort(key=_arrival, reverse=True)
            queue.extendleft(group)

    def forget_one(self) -> None:
        """Take note that a job of the queue was withdrawn."""
        self._count -= 1
        self._withdrawn += 1
        if self._withdrawn > self._count:
            self._drop_withdrawn()

    def _drop_withdrawn(self) -> None:
        self._withdrawn = 0
        for queue in self._queues.values():
            left = [job for job in queue if job.state == QUEUED]
            queue.clear()
            queue.extend(left)

    def first(self) -> Job | None:
        """Return the job that goes next, and leave it."""
        while self._priorities:
            queue = self._queues[self._priorities[-1]]
            while queue:
                job = queue[0]
                if job.state == QUEUED:
                    self._from = queue
                    return job
                queue.popleft()
                self._withdrawn -= 1
            del self._queues[self._priorities.pop()]
        return None

    def take(self) -> None:
        """Remove the job that `first` returned."""
        self._from.popleft()
        self._take_off(1)

    def take_run(self, most: int) -> list[Job]:
        """Remove and return the job that `first` returned, and up to *most* of its kind behind."""
        queue = self._from
        kind = queue[0].kind
        count = 0
        for job in islice(queue, most):
            if job.kind != kind or job.timeout is not None:
                break
            count += 1
        take = queue.popleft
        run = [take() for _ in range(count)]
        if self._withdrawn:
            run = [job for job in run if job.state == QUEUED]
            self._withdrawn -= count - len(run)
        self._take_off(len(run))
        return run

    def _take_off(self, count: int) -> None:
        self._count -= count
        if self._withdrawn > self._count:
            self._drop_withdrawn()

    def _open(self, priority: int) -> deque[Job]:
        queue: deque[Job] = deque()  # first, for it is a call, and the stack may be full
        bisect.insort(self._priorities, priority)
        self._queues[priority] = queue
        return queue


def _arrival(job: Job) -> int:
    return job.arrival
