"""Sees to what no event tells: jobs that take too long, and workers that have nothing to do.

A worker that is to end waits for its threads and child processes and runs its exit hooks, as the
standard library's do. None of that may ever end, and tasks wait for its place. Where all are to be
killed, those that are at no job may be given time for it.
"""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from polyexec_process._reactor import WRITE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polyexec.scheduling import Job
    from polyexec_process._link import Link
    from polyexec_process._pool import LocalPool

#: How many seconds a worker may be silent before what waits behind its job is recalled.
PATIENCE: Final = 0.02
#: The same, where it has begun nothing, for it may be receiving what is large.
SLOW_START: Final = 1.0
#: How many seconds a worker that was stopped has to begin a job, beyond the job's timeout, before
#: another gets that.
NUMB: Final = 1.0
#: How often, in seconds, the reactor looks while there is something to watch.
TICK: Final = 0.01
#: How many seconds a worker has to end before another takes its place, and before it is killed.
GRACE: Final = 1.0
LAST: Final = 10.0
#: How many seconds a processor may take to let another see what it stored; by far.
MOMENT: Final = 0.001


class Overseer:
    """Holds back, recalls, kills and retires; its pool calls it with the lock held."""

    def __init__(self, pool: LocalPool, idle_timeout: float | None) -> None:
        self._pool = pool
        self._scheduler = pool.scheduler
        self._idle_timeout = idle_timeout
        #: How many jobs with a timeout the workers hold.
        self.timed: int = 0
        #: Jobs to stop, and whether because they ran out of time.
        self.kills: dict[Job, bool] = {}
        #: When all were to be killed, and until when those may live who were at no job then.
        self._ended_at = self._grace_ends = 0.0
        #: Jobs that were stopped for somebody who waits to hear it.
        self.killed: set[Job] = set()
        #: Jobs to stop that nobody waits for.
        self.unawaited: set[Job] = set()

    def note_death(self, job: Job) -> None:
        """Take note that a worker died while it ran *job*."""
        if self.kills.pop(job, None) is False:
            self.note_killed(job)
        self.unawaited.discard(job)

    def note_killed(self, job: Job) -> bool:
        """Take note that *job* was stopped; return whether somebody waits to hear it."""
        if job in self.unawaited:
            self.unawaited.discard(job)
            return False
        self.killed.add(job)
        return True

    def look(self) -> float | None:
        """Do what is due; return how many seconds may pass until the next look, None for any."""
        now = time.monotonic()
        waits = [self._look_at(link, now) for link in list(self._pool.links.values())]
        if self.timed:
            waits.append(TICK)
        if self.kills:
            waits.append(MOMENT)
            self._settle_kills(now)
        return soonest(waits)

    def _look_at(self, link: Link, now: float) -> float | None:
        pool, window = self._pool, link.window
        if link.out and link not in pool.writing:
            pool.writing.add(link)
            pool.reactor.watch(link.jobs, WRITE, partial(pool.write_more, link))
        if window.entries:
            if self.timed:
                self._time(link, now)
            if self._holds(link, now):
                return MOMENT
            return TICK if len(window.entries) > 1 or not link.ready else None
        if link.leaving:
            return self._see_off(link, now)
        if self._idle_timeout is None or not link.ready:
            return None
        left = link.since + self._idle_timeout - now
        if left <= 0:
            pool.retire(link)
            return self._see_off(link, now)
        return left

    def _see_off(self, link: Link, now: float) -> float | None:
        """Replace a worker that has nothing more to do and does not end, and then kill it."""
        pool = self._pool
        if link.over_at is None:
            if pool.stopping:
                return None  # nobody needs its place
            link.over_at = now
        spent = now - link.over_at
        if spent < GRACE:
            return GRACE - spent
        if not link.lingers:
            link.lingers = True
            pool.most += 1
        if spent < LAST:
            return LAST - spent
        link.signal(signal.SIGKILL)
        return GRACE

    def give_time(self, seconds: float) -> None:
        """Have no worker begin a job any more, and let those live for a while that are at none."""
        self._ended_at = time.monotonic()
        self._grace_ends = self._ended_at + seconds
        if seconds:
            for link in self._pool.links.values():
                link.hold_back_all()

    def wind_up(self) -> float | None:
        """Let the workers end, or kill them; return how many seconds may pass, as `look` does."""
        pool, now = self._pool, time.monotonic()
        if pool.terminated is not None:
            signum = pool.terminated
            return soonest([self._end(link, signum, now) for link in pool.links.values()])
        for link in pool.links.values():
            if not link.leaving and not pool.outstanding:
                link.finish()
        return None

    def _end(self, link: Link, signum: signal.Signals, now: float) -> float | None:
        """Kill a worker that was at a job, or has had time to end; else have it end."""
        left = self._grace_ends - now
        if left > 0:
            if link.spared is None:
                certain = self._ended_at + MOMENT
                if now < certain:
                    return certain - now
                # What it has begun since it passes over; until it says so that looks like a job.
                link.spared = link.running is None or link.begun_at >= self._ended_at
            if link.spared:
                if not link.leaving:
                    self._pool.retire(link)
                return left
        link.signal(signum)
        link.leaving = True
        return None

    def _time(self, link: Link, now: float) -> None:
        """Have the job that *link* runs stopped, if its time is up; it may not even have begun."""
        job = link.running
        if job is None:
            job = link.window.at(link.last_begun + 1)
            late = now - max(link.window.progressed_at, link.begun_at)
            is_late = job is not None and job.timeout is not None and late > job.timeout + NUMB
            is_held = link.held is not None or link.window.passing
            if is_late and not is_held and link.is_stopped():
                self._hold(link, now, is_stopped=True)
            return
        if job.timeout is None or job in self.kills:
            return
        if now - link.begun_at > job.timeout:
            self.kills[job] = True

    def _holds(self, link: Link, now: float) -> bool:
        """Hold back a worker whose jobs wait for long; return whether one is being held back."""
        window = link.window
        if link.held is not None:
            if now - link.held >= MOMENT:
                self._scheduler.recalled(window, link.last_begun)
                link.held = None
                if link.was_stopped and link.running is None:
                    link.killed = True  # with nothing that it has begun
                    link.signal(signal.SIGKILL)
                self._pool.dispatch()
            return True
        late = not link.ready and self._pool.idle and now - window.progressed_at > PATIENCE
        patience = SLOW_START if link.running is None else PATIENCE
        stalled = (
            not (link.leaving or link.out)
            and self._scheduler.is_stalled(window, now, patience)
            # Else it goes on, or has done all, and it is we who have not read its answers.
            and now - link.begun_at > PATIENCE
            and link.last_begun + 1 < window.sent
        )
        if stalled or (late and not window.blocked):
            self._hold(link, now)
            return True
        return False

    def _hold(self, link: Link, now: float, *, is_stopped: bool = False) -> None:
        """Have a worker begin nothing more; one that *is_stopped*, at no job, is killed then."""
        link.was_stopped = is_stopped
        link.hold_back(link.last_begun)
        self._scheduler.recall(link.window)
        link.held = now

    def _settle_kills(self, now: float) -> None:
        pool = self._pool
        for job in list(self.kills):
            if job.place is None:  # it has ended, or was recalled, for it had not begun
                del self.kills[job]
                if self._scheduler.withdraw(job):
                    pool.note_ended(1)
                    if not self.note_killed(job):
                        pool.client.stopped(job)
                self.unawaited.discard(job)
                pool.lock.notify_all()
                continue
            window = job.place
            link = pool.links[window.worker]
            if not window.blocked:
                if not window.passing:
                    self._hold(link, now, is_stopped=link.is_stopped())
            elif link.held is None and link.running is job:
                link.killed = True
                link.signal(signal.SIGKILL)


def soonest(waits: Iterable[float | None]) -> float | None:
    """Return the shortest of some times; None is any."""
    return min((wait for wait in waits if wait is not None), default=None)
