"""The scheduler with sites, whose workers somebody else places jobs on: each job ends once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from polyexec.scheduling import Job, Scheduler, SiteWindow
from polyexec.scheduling.scheduler import HORIZON

TINY, LASTING = 1e-6, 1.0


class SitesMachine(RuleBasedStateMachine):
    """Submits, answers, gives back, resizes and loses at random."""

    sites: Bundle[int] = Bundle("sites")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.windows: dict[int, SiteWindow] = {}
        self.held: dict[int, list[Job]] = {}
        self.accepted: list[Job] = []
        self.ended: set[Job] = set()
        self.clock = 0.0
        self.count = 0

    def dispatch(self) -> None:
        while (found := self.scheduler.assign()) is not None:
            window, jobs = found
            assert jobs
            assert window.width > 0
            self.held[window.worker] += jobs
        self.scheduler.requeued()

    def end(self, job: Job) -> None:
        assert job not in self.ended, "a job ended twice"
        self.ended.add(job)

    @rule(target=sites, width=st.integers(1, 5))
    def join(self, width: int) -> int:
        self.count += 1
        self.windows[self.count] = self.scheduler.add_site(self.count, width)
        self.held[self.count] = []
        self.dispatch()
        return self.count

    @rule(count=st.integers(1, 60), kind=st.integers(1, 3), priority=st.integers(0, 1))
    def submit(self, count: int, kind: int, priority: int) -> None:
        for _ in range(count):
            job = Job(kind, b"", None)
            job.priority = priority
            self.accepted.append(job)
            self.scheduler.submit(job)
        self.dispatch()

    @rule(
        site=sites,
        count=st.integers(1, 40),
        took=st.sampled_from([TINY, 0.001, LASTING]),
        late=st.booleans(),
        begun=st.booleans(),
    )
    def answer(self, site: int, count: int, took: float, *, late: bool, begun: bool) -> None:
        if site not in self.windows:
            return
        held = self.held[site]
        some = held[-count:] if late else held[:count]
        self.held[site] = [job for job in held if job not in some]
        self.clock += took
        seconds = took if begun else None
        outcomes = [(job, seconds) for job in some]
        self.scheduler.ended(self.windows[site], outcomes, self.clock)
        for job in some if begun else ():
            self.end(job)
        self.dispatch()

    @rule(site=sites, width=st.integers(0, 5))
    def resize(self, site: int, width: int) -> None:
        if site in self.windows:
            self.scheduler.resize_site(self.windows[site], width)
            self.dispatch()

    @rule(site=sites)
    def hold_back(self, site: int) -> None:
        if site in self.windows:
            self.scheduler.hold_back(self.windows[site])
            self.dispatch()

    @rule(site=sites)
    def lose(self, site: int) -> None:
        if site in self.windows:
            lost = self.scheduler.lost_site(self.windows.pop(site))
            assert sorted(map(id, lost)) == sorted(map(id, self.held.pop(site)))
            for job in lost:
                self.end(job)
            self.dispatch()

    @rule(place=st.integers(0, 1000))
    def withdraw(self, place: int) -> None:
        if self.accepted:
            job = self.accepted[place % len(self.accepted)]
            if self.scheduler.withdraw(job):
                self.end(job)

    @invariant()
    def every_job_is_somewhere(self) -> None:
        held = [job for jobs in self.held.values() for job in jobs]
        assert len(held) == len(set(held))
        assert len(self.scheduler.ready) == len(self.accepted) - len(self.ended) - len(held)

    @invariant()
    def nobody_waits_beside_a_free_worker(self) -> None:
        if self.scheduler.ready:
            for window in self.windows.values():
                assert len(window.entries) >= window.width

    @invariant()
    def no_site_is_swamped(self) -> None:
        for window in self.windows.values():
            if window.width:
                assert window.load <= HORIZON * (2 * 5 + 1)


SitesMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestSites = SitesMachine.TestCase


def test_long_tasks_go_one_to_each_worker_of_a_site() -> None:
    scheduler = Scheduler()
    window = scheduler.add_site("here", 3)
    for _ in range(10):
        scheduler.submit(Job(1, b"", None))
    while scheduler.assign() is not None:
        pass
    assert len(window.entries) == 3


def test_short_tasks_go_to_a_site_in_batches() -> None:
    scheduler = Scheduler()
    window = scheduler.add_site("here", 2)
    first = Job(1, b"", None)
    scheduler.submit(first)
    assert scheduler.assign() == (window, [first])
    scheduler.ended(window, [(first, TINY)], 0.0)
    for _ in range(1000):
        scheduler.submit(Job(1, b"", None))
    found = scheduler.assign()
    assert found is not None
    assert len(found[1]) > 100


def test_a_site_that_is_adopted_with_its_jobs_gets_no_more_than_it_can_run() -> None:
    scheduler = Scheduler()
    window = scheduler.add_site("here", 1)
    job = Job(1, b"", None)
    scheduler.submit(job)
    assert scheduler.withdraw(job)
    scheduler.adopt(window, job)
    scheduler.submit(Job(1, b"", None))
    assert scheduler.assign() is None
    scheduler.ended(window, [(job, TINY)], 0.0)
    assert scheduler.assign() is not None


def test_a_site_that_is_held_back_gets_more_once_it_answers() -> None:
    scheduler = Scheduler()
    stuck = scheduler.add_site("here", 1)
    first, second = Job(1, b"", None), Job(1, b"", None)
    scheduler.submit(first)
    scheduler.assign()
    scheduler.hold_back(stuck)
    scheduler._learn(1, TINY)
    scheduler.submit(second)
    assert scheduler.assign() is None
    scheduler.ended(stuck, [(first, TINY)], 0.0)
    assert scheduler.assign() == (stuck, [second])


def test_what_an_adopted_site_gives_back_is_assigned_again() -> None:
    scheduler = Scheduler()
    window = scheduler.add_site("site", 1)
    job = Job(1, b"", None)
    scheduler.adopt(window, job)
    scheduler.ended(window, [(job, None)], 0.0)
    assert scheduler.requeued() == [job]
    assert scheduler.assign() == (window, [job])
