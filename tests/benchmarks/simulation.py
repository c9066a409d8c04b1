"""Drives the scheduler alone: simulated workers, simulated time, no process and no thread.

What is measured includes the simulation itself, which does the same for each message however many
workers there are: the oldest message is the next to be answered.
"""

from __future__ import annotations

import time
from collections import deque

from polyexec.scheduling import Job, Scheduler, Window

#: Simulated seconds that a task takes, and how many tasks wait for each worker.
DURATION = 0.001
BACKLOG = 8
_KIND = 1


def cost_per_task(workers: int, tasks: int) -> float:
    """Return the seconds of processor time that scheduling one of *tasks* takes."""
    scheduler = Scheduler()
    for number in range(workers):
        scheduler.started(scheduler.add_worker(number))
    running: deque[tuple[Window, int]] = deque()
    waiting = submitted = ended = 0
    now = 0.0
    began = time.process_time()
    while ended < tasks:
        for _ in range(min(BACKLOG * workers - waiting, tasks - submitted)):
            scheduler.submit(Job(_KIND, None, None))
            waiting += 1
            submitted += 1
        while (found := scheduler.assign()) is not None:
            window, jobs = found
            running.append((window, len(jobs)))
            waiting -= len(jobs)
        window, count = running.popleft()
        now += DURATION * count / workers
        ended += len(scheduler.answered(window, [DURATION] * count, now))
    return (time.process_time() - began) / tasks
