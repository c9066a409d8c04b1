"""The jobs that wait: in order of arrival, whatever is taken and put back."""

from __future__ import annotations

import random
from collections import deque
from unittest import mock

import pytest

from polyexec.scheduling import Job, Scheduler
from polyexec.scheduling.job import WITHDRAWN
from polyexec.scheduling.ready import ReadyJobs


def taken(ready: ReadyJobs, count: int) -> list[Job]:
    """Take the next jobs, up to *count*."""
    jobs: list[Job] = []
    while len(jobs) < count and (job := ready.first()) is not None:
        ready.take()
        jobs.append(job)
    return jobs


def withdraw(ready: ReadyJobs, job: Job) -> None:
    """Withdraw a job that waits."""
    job.state = WITHDRAWN
    ready.forget_one()


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


def test_what_was_withdrawn_is_kept_by_nothing() -> None:
    ready = ReadyJobs()
    jobs = [Job(1, None, number) for number in range(6)]
    ready.take_in(deque(jobs))
    for job in jobs[:3]:
        withdraw(ready, job)
    assert sum(map(len, ready._queues.values())) == 6  # fewer than half of them, so far
    withdraw(ready, jobs[3])
    assert sum(map(len, ready._queues.values())) == 2
    assert taken(ready, 9) == jobs[4:]


def test_what_was_withdrawn_is_kept_by_nothing_once_the_others_have_gone() -> None:
    ready = ReadyJobs()
    jobs = [Job(1, None, number) for number in range(5)]
    ready.take_in(deque(jobs))
    for job in jobs[3:]:
        withdraw(ready, job)
    assert taken(ready, 1) == jobs[:1]
    assert ready.first() is jobs[1]
    assert ready.take_run(2) == jobs[1:3]
    assert (len(ready), sum(map(len, ready._queues.values()))) == (0, 0)


def test_no_job_is_lost_as_the_stack_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = ReadyJobs()
    jobs = [Job(1, None, number) for number in range(4)]
    jobs[2].priority = 1
    incoming = deque(jobs)
    ready._open(0)
    with monkeypatch.context() as patch:
        patch.setattr(ready, "_open", mock.Mock(side_effect=RecursionError))
        with pytest.raises(RecursionError):
            ready.take_in(incoming)
    assert (len(ready), list(incoming)) == (2, jobs[2:])
    ready.take_in(incoming)
    assert (len(ready), taken(ready, 9)) == (4, [jobs[2], *jobs[:2], jobs[3]])


def test_a_job_is_taken_in_once_though_a_signals_handler_raises_in_between() -> None:
    ready = ReadyJobs()
    incoming = deque([Job(1, None, "first"), Job(1, None, "second")])
    ready.append(incoming[0])  # and there the handler was called
    ready.take_in(incoming)
    assert (len(ready), len(incoming)) == (2, 0)
    assert [job.owner for job in taken(ready, 9)] == ["first", "second"]


def test_a_job_can_not_be_withdrawn_before_it_is_there() -> None:
    scheduler = Scheduler()
    job = Job(1, None, None)
    assert not scheduler.withdraw(job)
    scheduler.submit(job)
    assert (len(scheduler.ready), scheduler.withdraw(job), len(scheduler.ready)) == (1, True, 0)


def test_of_jobs_that_were_withdrawn_among_others_none_is_taken() -> None:
    chance = random.Random(5)
    ready = ReadyJobs()
    waiting: list[Job] = []
    for number in range(4000):
        what = chance.randrange(4)
        if what < 2:
            job = Job(chance.randrange(2), None, number)
            ready.append(job)
            waiting.append(job)
        elif what == 2 and waiting:
            withdraw(ready, waiting.pop(chance.randrange(len(waiting))))
        elif ready.first() is not None:
            run = ready.take_run(chance.randrange(1, 4))
            assert run == waiting[: len(run)]
            del waiting[: len(run)]
        kept = sum(map(len, ready._queues.values()))
        assert len(ready) == len(waiting) >= kept // 2
    assert taken(ready, 4000) == waiting
