"""The scheduler as a state machine: whatever happens, every accepted job ends exactly once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from polyexec.scheduling import CRASHED, FAILED, LOST, Job, Scheduler
from polyexec.scheduling.scheduler import HORIZON, MAX_BATCH

if TYPE_CHECKING:
    from polyexec.scheduling import Window

TINY, LASTING = 1e-6, 1.0


class SimulatedWorker:
    """Runs what it is sent in order, and passes over what is held back, as a real one does."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.inbox: deque[Job] = deque()
        self.number = 0
        self.begun: int | None = None
        self.limit = self.floor = 0

    def begin(self) -> Job | None:
        """Begin the next job; return it, or None if it is passed over."""
        self.begun = self.number
        job = self.inbox.popleft()
        self.number += 1
        return None if self.limit <= self.begun < self.floor else job


class SchedulerMachine(RuleBasedStateMachine):
    """Submits, runs, recalls, withdraws and loses at random."""

    workers: Bundle[int] = Bundle("workers")
    jobs: Bundle[Job] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.alive: dict[int, SimulatedWorker] = {}
        self.accepted: set[Job] = set()
        self.ended: set[Job] = set()
        self.begun: set[Job] = set()
        self.clock = 0.0
        self.count = 0

    def end(self, job: Job) -> None:
        assert job in self.accepted
        assert job not in self.ended, "a job ended twice"
        self.ended.add(job)

    def end_or_repeat(self, job: Job, reason: int) -> None:
        """End *job*, unless it has retries left for *reason*: then it is as if it had not begun."""
        left = job.retries[reason]
        assert job.spend_retry(reason) == (left > 0)
        if left:
            self.begun.discard(job)
            self.scheduler.submit(job)
        else:
            self.end(job)

    def dispatch(self) -> None:
        while (found := self.scheduler.assign()) is not None:
            window, jobs = found
            assert 0 < len(jobs) <= MAX_BATCH
            assert len(window.entries) <= window.most
            assert not window.blocked
            for job in jobs:
                assert job not in self.begun, "a job that had begun was sent again"
            self.alive[window.worker].inbox.extend(jobs)

    @rule(target=workers, most=st.none() | st.integers(1, 5))
    def birth(self, most: int | None) -> int:
        self.count += 1
        window = self.scheduler.add_worker(self.count, most)
        self.alive[self.count] = SimulatedWorker(window)
        self.dispatch()
        return self.count

    @rule(number=workers)
    def ready(self, number: int) -> None:
        if number in self.alive:
            self.scheduler.started(self.alive[number].window)
            self.dispatch()

    @rule(
        target=jobs,
        kind=st.integers(1, 3),
        priority=st.integers(-1, 1),
        timeout=st.none() | st.just(1.0),
        retries=st.integers(0, 2),
    )
    def submit(self, kind: int, priority: int, timeout: float | None, retries: int) -> Job:
        job = Job(kind, b"", None)
        job.priority, job.timeout = priority, timeout
        job.retries = (retries, retries, retries)
        self.accepted.add(job)
        self.scheduler.submit(job)
        self.dispatch()
        return job

    @rule(count=st.integers(1, 300), kind=st.integers(1, 2))
    def flood(self, count: int, kind: int) -> None:
        for _ in range(count):
            job = Job(kind, b"", None)
            self.accepted.add(job)
            self.scheduler.submit(job)
        self.dispatch()

    @rule(
        number=workers,
        most=st.integers(1, 50),
        took=st.sampled_from([TINY, 0.001, LASTING]),
        fails=st.booleans(),
    )
    def work(self, number: int, most: int, took: float, *, fails: bool = False) -> None:
        worker = self.alive.get(number)
        if worker is None:
            return
        ran: list[Job] = []
        elapsed: list[float | None] = []
        for _ in range(min(most, len(worker.inbox))):
            job = worker.begin()
            elapsed.append(None if job is None else took)
            if job is not None:
                self.begun.add(job)
                ran.append(job)
        self.clock += took
        answered = self.scheduler.answered(worker.window, elapsed, self.clock)
        assert answered == ran, "answers went to other jobs than those that ran"
        for job in answered:
            if fails:
                self.end_or_repeat(job, FAILED)
            else:
                self.end(job)
        self.dispatch()

    @rule(number=workers)
    def recall(self, number: int) -> None:
        worker = self.alive.get(number)
        if worker is None or not self.scheduler.is_stalled(worker.window, self.clock + 10, 1):
            return
        begun = worker.window.first - 1 if worker.begun is None else worker.begun
        worker.limit, worker.floor = begun + 1, worker.window.sent
        self.scheduler.recall(worker.window)
        self.scheduler.recalled(worker.window, begun)
        self.dispatch()

    @rule(number=workers, runs=st.booleans(), reason=st.sampled_from([LOST, CRASHED]))
    def lose(self, number: int, *, runs: bool, reason: int) -> None:
        worker = self.alive.pop(number, None)
        if worker is None:
            return
        running = worker.begin() if runs and worker.inbox else None
        if running is not None:
            self.begun.add(running)
        lost = self.scheduler.lost(worker.window, worker.begun)
        assert running is None or lost == [running]
        for job in lost:
            self.end_or_repeat(job, reason)
        self.dispatch()

    @rule(job=jobs)
    def withdraw(self, job: Job) -> None:
        if self.scheduler.withdraw(job):
            assert job not in self.begun
            self.end(job)

    @precondition(lambda self: self.accepted)
    @invariant()
    def an_idle_worker_and_a_waiting_job_never_meet(self) -> None:
        if len(self.scheduler.ready):
            for worker in self.alive.values():
                assert worker.window.entries or worker.window.left == 0

    def teardown(self) -> None:
        """Whatever is left ends once there are workers that work."""
        self.birth(None)
        for _ in range(3 * len(self.accepted) + 3 * len(self.alive)):
            for number in list(self.alive):
                self.ready(number)
                self.work(number, 10_000, TINY)
        assert self.ended == self.accepted


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def fed(*kinds: int, workers: int = 1) -> tuple[Scheduler, list[Window]]:
    scheduler = Scheduler()
    windows = [scheduler.add_worker(number) for number in range(workers)]
    for window in windows:
        scheduler.started(window)
    for kind in kinds:
        scheduler.submit(Job(kind, b"", None))
    return scheduler, windows


def teach(scheduler: Scheduler, window: Window, seconds: float) -> None:
    """Have a job of kind 1 take so many *seconds*."""
    scheduler.submit(Job(1, b"", None))
    assert scheduler.assign() is not None
    scheduler.answered(window, [seconds], 0.0)


def laden() -> tuple[Scheduler, Window]:
    """Return a scheduler, and its only worker, which holds several jobs."""
    scheduler, (window,) = fed()
    teach(scheduler, window, TINY)
    for _ in range(8):
        scheduler.submit(Job(1, b"", None))
    while scheduler.assign() is not None:
        pass
    return scheduler, window


def test_a_kind_that_was_never_seen_is_sent_alone() -> None:
    scheduler, _ = fed(1, 1, 1)
    assigned = scheduler.assign()
    assert assigned is not None
    assert len(assigned[1]) == 1
    assert scheduler.assign() is None


def test_a_fast_kind_is_sent_in_batches() -> None:
    scheduler, (window,) = fed()
    teach(scheduler, window, TINY)
    for _ in range(1000):
        scheduler.submit(Job(1, b"", None))
    assigned = scheduler.assign()
    assert assigned is not None
    assert len(assigned[1]) == MAX_BATCH


def test_a_slow_kind_is_not_sent_ahead() -> None:
    scheduler, (window,) = fed()
    teach(scheduler, window, LASTING)
    for _ in range(10):
        scheduler.submit(Job(1, b"", None))
    assert scheduler.assign() is not None
    assert scheduler.assign() is None
    assert len(window.entries) == 1


def test_no_worker_holds_more_work_than_the_horizon() -> None:
    scheduler, (window,) = fed()
    teach(scheduler, window, 0.0005)
    for _ in range(1000):
        scheduler.submit(Job(1, b"", None))
    while scheduler.assign() is not None:
        assert window.load <= HORIZON + 0.0005


def test_a_higher_priority_goes_first_and_equal_ones_in_order() -> None:
    scheduler, (window,) = fed()
    jobs = [Job(1, b"", None) for _ in range(5)]
    for job, priority in zip(jobs, (0, 2, 0, 1, 2), strict=True):
        job.priority = priority
    for job in jobs:
        scheduler.submit(job)
    order: list[Job] = []
    while (assigned := scheduler.assign()) is not None:
        order += assigned[1]
        scheduler.answered(window, [LASTING] * len(assigned[1]), 0.0)
    assert [jobs.index(job) for job in order] == [1, 4, 3, 0, 2]


def test_a_lost_workers_jobs_that_had_not_begun_go_first() -> None:
    scheduler, windows = fed(workers=2)
    teach(scheduler, windows[0], TINY)
    jobs = [Job(1, b"", number) for number in range(8)]
    for job in jobs:
        scheduler.submit(job)
    assigned = scheduler.assign()
    assert assigned is not None
    window, sent = assigned
    assert scheduler.lost(window, window.first) == sent[:1]
    assert scheduler.requeued() == sent[1:]
    assert scheduler.ready.first() is (sent[1] if len(sent) > 1 else jobs[len(sent)])


def test_what_had_begun_is_lost_though_a_later_one_had_as_well() -> None:
    scheduler, window = laden()
    held = list(window.entries)
    assert scheduler.lost(window, window.first + 2) == held[:3]
    assert scheduler.requeued() == held[3:]


def test_a_worker_is_given_nothing_until_it_answers_what_it_is_at() -> None:
    scheduler, window = laden()
    scheduler.recall(window)
    scheduler.answered(window, [TINY], 0.0)
    assert window.blocked
    scheduler.recalled(window, window.first + 1)
    scheduler.answered(window, [TINY], 0.0)
    assert window.blocked
    assert scheduler.assign() is None
    scheduler.answered(window, [TINY], 0.0)
    assert not window.blocked


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_recalled_jobs_are_those_that_had_not_begun(begun: int) -> None:
    scheduler, window = laden()
    held, first = len(window.entries), window.first
    scheduler.recall(window)
    scheduler.recalled(window, first + begun)
    assert len(scheduler.requeued()) == held - begun - 1
