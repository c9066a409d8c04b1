"""The scheduler: which worker gets how many of the waiting jobs, and what becomes of a lost one's.

How much a worker is given at a time decides both speed and fairness. Sending jobs one by one costs
many times what running tiny ones does; sending many keeps them from other workers, should the first
of them take long. So each kind of job has an expected duration, learnt from answers. A kind that
was never seen, or that takes long, is given one at a time. Of a fast one a worker is given a share
of the backlog, but never more than HORIZON seconds of expected work. Expectations fail: a worker
that answers nothing for a while is stalled, and what it has not begun is recalled for others.

    recall(worker)        the driver tells the worker how far it may go   ->  hold back from there
    recalled(worker, n)   the worker had begun number n, and will not begin later ones
    answered(worker, ..)  in order, recalled ones included, as passed over

A site stands for several workers that somebody else places jobs on, a machine's: its window is as
wide as it has workers, and is answered in any order.

Each decision costs the same, however many workers there are and however many jobs wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from polyexec.scheduling.job import ASSIGNED, ENDED, QUEUED, WITHDRAWN
from polyexec.scheduling.ready import ReadyJobs
from polyexec.scheduling.window import SiteWindow, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from polyexec.scheduling.job import Job

__all__ = ["Scheduler"]

#: How many seconds of expected work a worker may hold.
HORIZON: Final = 0.02
#: How many of them go into one message, so that others get their share of what is left.
MESSAGE: Final = 0.01
#: What no expectation is taken to be shorter than.
SHORTEST: Final = 1e-7
#: How many jobs go into one message.
MAX_BATCH: Final = 256
#: Of how many kinds the expectation is kept.
MAX_KINDS: Final = 4096
#: How much of an expectation is the newest answer.
NEWEST: Final = 0.2


class Scheduler:
    """Places jobs on workers; the driver serialises its calls."""

    def __init__(self) -> None:
        self.ready: ReadyJobs = ReadyJobs()
        #: Queue a job; or several, which go from where they are.
        self.submit: Callable[[Job], None] = self.ready.append
        self.submit_all: Callable[[deque[Job]], None] = self.ready.take_in
        self._windows: dict[Hashable, Window] = {}
        #: Workers that might take more, each once.
        self._open: deque[Window] = deque()
        self._is_open: set[Window] = set()
        #: Workers that have nothing to do, the last to become so last: it is the likeliest to be
        #: awake, and to have at hand what its tasks need.
        self._idle: deque[Window] = deque()
        #: How many workers there are, at sites as well.
        self._width: int = 0
        self._durations: dict[int, float] = {}
        self._requeued: list[Job] = []

    # -- workers -----------------------------------------------------------------------------

    def add_worker(self, worker: Hashable, most: int | None = None) -> Window:
        """Take note that *worker* is being started, for *most* jobs in its life."""
        window = self._windows[worker] = Window(worker, most)
        self._width += 1
        self._idle.appendleft(window)
        return window

    def add_site(self, site: Hashable, width: int) -> SiteWindow:
        """Take note of *width* workers that somebody else places jobs on."""
        window = SiteWindow(site, width)
        self._windows[site] = window
        self._width += width
        self._idle.appendleft(window)
        return window

    def resize_site(self, window: SiteWindow, width: int) -> None:
        """Take note that there are *width* workers now; with 0 it is given no more."""
        self._width += width - window.width
        window.width = width
        window.left = None if width else 0
        if window.idling or not width:
            return
        if window.entries:
            self._reopen(window)
        else:
            window.idling = True
            self._idle.append(window)

    def started(self, window: Window) -> None:
        """Take note that the worker is ready."""
        window.starting = False
        self._reopen(window)

    def retire(self, window: Window) -> None:
        """Give the worker no more jobs."""
        window.left = 0

    def lost(self, window: Window, begun: int | None) -> list[Job]:
        """Take back what a dead worker held, and return what it had begun, in that order.

        *begun* is the number of the last that it began, None if it began none.
        Whatever it answered must have been told before, so that there is but the one that it was
        running; unless a task has cut it off from us. What it never began goes to others.
        """
        del self._windows[window.worker]
        self._width -= 1
        window.left = 0
        count = 0 if begun is None else max(begun + 1 - window.first, 0)
        entries = list(window.entries)
        window.entries.clear()
        ended = [job for job in entries[:count] if job is not None]
        for job in ended:
            job.state, job.place = ENDED, None
        self._requeue([job for job in entries[count:] if job is not None])
        return ended

    def lost_site(self, window: SiteWindow) -> list[Job]:
        """Return what a site held that is no more: any of it may have begun."""
        del self._windows[window.worker]
        self._width -= window.width
        window.left = 0
        held = list(window.entries)
        window.entries.clear()
        for job in held:
            job.state, job.place = ENDED, None
        return held

    # -- jobs --------------------------------------------------------------------------------

    def withdraw(self, job: Job) -> bool:
        """Drop *job*, and return True, unless a worker has it or it has ended."""
        if job.state != QUEUED:
            return False
        job.state = WITHDRAWN
        self.ready.forget_one()
        return True

    def drain(self) -> list[Job]:
        """Remove and return all jobs that wait."""
        waiting: list[Job] = []
        while (job := self.ready.first()) is not None:
            self.ready.take()
            job.state = ENDED
            waiting.append(job)
        return waiting

    def requeued(self) -> list[Job]:
        """Return the assigned jobs that were queued again since the last call."""
        back, self._requeued = self._requeued, []
        return back

    def assign(self) -> tuple[Window, list[Job]] | None:
        """Return a worker and the jobs to send it now, in that order; None if there are none."""
        while self._idle and self.ready:
            window = self._idle.pop()
            window.idling = False
            jobs = self._fill(window)
            if jobs:
                self._reopen(window)
                return window, jobs
        while self._open and self.ready:
            window = self._open[0]
            jobs = self._fill(window)
            if jobs:
                self._open.rotate(-1)
                return window, jobs
            self._open.popleft()
            self._is_open.discard(window)
        return None

    def answered(self, window: Window, elapsed: Iterable[float | None], now: float) -> list[Job]:
        """Take note of answers to the oldest jobs, and return those.

        *elapsed*: how many seconds each took, None for one that was passed over. A job that was
        passed over though it was not recalled is queued again, and not returned.
        """
        entries = window.entries
        ended: list[Job] = []
        back: list[Job] = []
        load, count = window.load, 0
        kind, known = 0, None
        for seconds in elapsed:
            job = entries.popleft()
            count += 1
            if job is None:
                window.passing -= 1
                continue
            load -= job.estimate
            if seconds is None:
                back.append(job)
                continue
            if known is not None and job.kind == kind:
                known += NEWEST * (seconds - known)
            else:
                if known is not None:
                    self._durations[kind] = known
                kind = job.kind
                known = self._learn(kind, seconds)
            job.state, job.place = ENDED, None
            ended.append(job)
        if known is not None:
            self._durations[kind] = known
        if back:
            self._requeue(back)
        window.first += count
        window.load = load
        if ended and window.first > window.stuck:
            window.blocked = False
        self._note_progress(window, now)
        return ended

    def ended(
        self, window: SiteWindow, outcomes: Iterable[tuple[Job, float | None]], now: float
    ) -> None:
        """Take note of what became of some of a site's jobs, as of `answered`'s; None: unbegun."""
        entries = window.entries
        for job, seconds in outcomes:
            del entries[job]
            window.load -= job.estimate
            if seconds is None:
                self._requeue([job])
            else:
                self._learn(job.kind, seconds)
                job.state, job.place = ENDED, None
                window.blocked = False
        self._note_progress(window, now)

    def _note_progress(self, window: Window, now: float) -> None:
        """Have *window* be given more, now that it has answered."""
        window.progressed_at = now
        if window.entries:
            self._reopen(window)
            return
        window.load = 0.0
        window.blocked = False
        if not window.idling and window.left != 0:
            window.idling = True
            self._idle.append(window)

    def hold_back(self, window: SiteWindow) -> None:
        """Give a site no more than it can run at once, until it answers."""
        window.blocked = True

    def adopt(self, window: SiteWindow, job: Job) -> None:
        """Take note that a site has *job* already."""
        job.state, job.estimate, job.place = ASSIGNED, HORIZON, window
        window.load += HORIZON
        window.entries[job] = None
        if window.idling:
            window.idling = False
            self._idle.remove(window)
        self._reopen(window)

    def _learn(self, kind: int, seconds: float) -> float:
        durations = self._durations
        known = durations.get(kind)
        if known is None and len(durations) >= MAX_KINDS:
            del durations[next(iter(durations))]
        known = seconds if known is None else known + NEWEST * (seconds - known)
        durations[kind] = known
        return known

    # -- recall --------------------------------------------------------------------------------

    def is_stalled(self, window: Window, now: float, patience: float) -> bool:
        """Return whether jobs wait behind one that takes longer than expected.

        Not while the worker has still to pass over what was recalled before: to set it another
        limit now might let it begin some of that.
        """
        return (
            len(window.entries) > 1
            and not window.blocked
            and not window.passing
            and now - window.progressed_at > patience
        )

    def recall(self, window: Window) -> None:
        """Give the worker nothing more until it goes on; what it has is held back."""
        window.blocked = True
        window.floor = window.sent
        window.stuck = window.floor

    def recalled(self, window: Window, begun: int) -> None:
        """Queue again what was held back and comes after number *begun*."""
        window.stuck = begun
        back: list[Job] = []
        for place in range(max(begun + 1 - window.first, 0), window.floor - window.first):
            job = window.entries[place]
            if job is not None:
                window.entries[place] = None
                window.passing += 1
                window.load -= job.estimate
                back.append(job)
        self._requeue(back)

    # -- within ----------------------------------------------------------------------------------

    def _fill(self, window: Window) -> list[Job]:
        held = len(window.entries)
        if window.left == 0 or (window.starting and held):
            return []
        width = window.width
        share = -(-len(self.ready) * width // (2 * self._width))
        room = min(MAX_BATCH, window.most * width - held, share)
        if window.starting:
            room = 1
        if window.blocked:
            room = min(room, max(width - held, 0))
        if window.left is not None:
            room = min(room, window.left)
        jobs = self._take(room, window, held)
        if window.left is not None:
            window.left -= len(jobs)
        window.hold(jobs)
        return jobs

    def _take(self, room: int, window: Window, held: int) -> list[Job]:
        """Return up to *room* jobs that together take as long as *window* has time for."""
        ready, durations = self.ready, self._durations
        width = window.width
        load, limit = window.load, min(HORIZON * width, window.load + MESSAGE * width)
        jobs: list[Job] = []
        while len(jobs) < room and (job := ready.first()) is not None:
            expected = durations.get(job.kind)
            if expected is None or expected > window.long or job.timeout is not None:
                if held + len(jobs) >= width:  # else it waits until it can go alone
                    break
                ready.take()
                job.state, job.estimate, job.place = ASSIGNED, HORIZON, window
                load += HORIZON
                jobs.append(job)
                continue
            if load + expected > limit and (jobs or held >= 2 * width):
                break
            fitting = int((limit - load) / max(expected, SHORTEST))
            run = ready.take_run(max(min(room - len(jobs), fitting), 1))
            for job in run:
                job.state, job.estimate, job.place = ASSIGNED, expected, window
            load += expected * len(run)
            jobs += run
        window.load = load
        return jobs

    def _requeue(self, jobs: list[Job]) -> None:
        back = [job for job in jobs if job.state == ASSIGNED]
        for job in back:
            job.state, job.place = QUEUED, None
        self.ready.put_back(back)
        self._requeued += back

    def _reopen(self, window: Window) -> None:
        if window not in self._is_open and window.left != 0:
            self._is_open.add(window)
            self._open.append(window)
