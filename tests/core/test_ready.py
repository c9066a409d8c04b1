"""The jobs that wait: in order of arrival, whatever is taken and put back."""

from __future__ import annotations

import random

from polyexec.scheduling import Job
from polyexec.scheduling.ready import ReadyJobs


def taken(ready: ReadyJobs, count: int) -> list[Job]:
    """Take the next jobs, up to *count*."""
    jobs: list[Job] = []
    while len(jobs) < count and (job := ready.first()) is not None:
        ready.take()
        jobs.append(job)
    return jobs


def test_what_is_put_back_later_does_not_go_before_what_came_earlier() -> None:
    ready = ReadyJobs()
    jobs = [Job(1, None, name) for name in "abcd"]
    for job in jobs:
        ready.append(job)
    a, b, c = taken(ready, 3)
    ready.put_back([a])
    ready.put_back([c, b])
    assert len(ready) == 4
    assert taken(ready, 9) == jobs


def test_whatever_is_put_back_the_order_is_that_of_arrival() -> None:
    chance = random.Random(3)
    ready = ReadyJobs()
    out: list[Job] = []
    arrived = 0
    for _ in range(3000):
        what = chance.randrange(3)
        if what == 0:
            job = Job(1, None, arrived)
            job.priority = chance.randrange(2)
            ready.append(job)
            arrived += 1
        elif what == 1:
            out += taken(ready, chance.randrange(5))
        elif out:
            back = chance.sample(out, chance.randrange(len(out) + 1))
            out = [job for job in out if job not in back]
            ready.put_back(back)
        assert len(ready) + len(out) == arrived
    ready.put_back(out)
    order = [(-job.priority, job.owner) for job in taken(ready, arrived)]
    assert order == sorted(order)
    assert len(order) == arrived
