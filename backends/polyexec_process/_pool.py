"""The local pool: workers as processes, and the one thread that talks with them.

Below this line there is no Future and no task of the user's: jobs come with opaque bytes, and go
with a status and opaque bytes to the pool's client. `submit` sends a job itself to a worker that
has nothing to do; else it queues it, and answers make room. So no thread is woken for a job that
would have to wait anyway.

To stop a job that runs is to kill its worker, and that must hurt no other job:

    reactor                                   page                  worker
    hold back from the job's successor on     LIMIT, FLOOR     ->   passes over what follows
    a moment later: is it still that job?     BEGUN            <-
      yes: kill; whatever it held besides was not begun, and goes to others
      no:  it had ended; what was held back comes back as passed over

The lock is re-entrant, and what it guards is not fit for that: a signal's handler, the collector or
a plugin's hook may call while their own thread holds it, and is half way through a change. Such a
call only leaves word, and the reactor sees to it once the lock is free.
"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polyexec.interrupts import Uninterrupted
from polyexec.scheduling import Job, Scheduler
from polyexec.scheduling.job import WITHDRAWN
from polyexec.surroundings import handle_record
from polyexec.waiting import Condition
from polyexec_process._client import abandon_in_children
from polyexec_process._frames import (
    NUMBER,
    PASSED_OVER,
    READY,
    RECORDS,
    UNPREPARED,
)
from polyexec_process._link import Link, resident
from polyexec_process._overseer import MOMENT, TICK, Overseer, soonest
from polyexec_process._reactor import OVER, Reactor
from polyexec_process._records import Records
from polyexec_process._staff import Staff

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from polyexec_process._answers import Answer
    from polyexec_process._births import Births
    from polyexec_process._client import Client
    from polyexec_process._reactor import Host
    from polyexec_process._workerprocess import WorkerProcess

#: With so many jobs in each window, the reactor lets answers gather rather than wake for each: for
#: this part of the time that they take, with the seconds that a worker adds to each.
FLOOD: Final = 8
GATHERED: Final = 0.6
OVERHEAD: Final = 4e-6
#: To sleep for less takes longer than what it saves.
SHORTEST_NAP: Final = 1e-4


class LocalPool:
    """Up to *size* workers, started as jobs ask for them.

    *births* starts the nursery, *prepare* makes the first message for a worker of a given name.
    *max_memory* is in bytes, *idle_timeout* in seconds; *handle_record* takes what workers log. The
    reactor is on the thread of *host*, if there is one.
    """

    def __init__(
        self,
        size: int,
        client: Client,
        births: Callable[[Thread | None], Births],
        prepare: Callable[[str], bytes],
        names: str,
        *,
        all_at_once: bool = False,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        idle_timeout: float | None = None,
        handle_record: Callable[[bytes], object] = handle_record,
        host: Host | None = None,
    ) -> None:
        self.size: int = size
        #: How many there may be, with those that have nothing more to do and do not end.
        self.most: int = size
        #: What guards all this, and what those wait on who wait for a change of it.
        self.lock: Condition = Condition()
        self.links: dict[int, Link] = {}
        #: The workers whose pipe was full.
        self.writing: set[Link] = set()
        #: How many workers have nothing to do, and how many jobs of the scheduler's have not ended.
        self.idle: int = 0
        self._taken: int = 0
        #: Jobs that were submitted, and of which the scheduler has not heard.
        self._incoming: deque[Job] = deque()
        #: Whether only the reactor may send jobs, for that calls plugins' code.
        self.observed: bool = False
        self.client: Client = client
        self.scheduler: Scheduler = Scheduler()
        self.reactor: Reactor = Reactor(host)
        self.overseer: Overseer = Overseer(self, idle_timeout)
        self.records: Records = Records(self.reactor.wake, handle_record)
        self.stopping: bool = False
        self._has_failed = False
        #: The signal that was to end all workers.
        self.terminated: signal.Signals | None = None
        self._staff = Staff(self, births, prepare, names, max_tasks)
        self._all_at_once = all_at_once
        self._max_memory = max_memory
        abandon_in_children(self)

    # -- for the client ----------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""
        if len(self.links) < self.most and not self.lock.is_held:
            with Uninterrupted(), self.lock:
                if len(self.links) < self.most and self.outstanding >= self.working():
                    self._start_worker()
                self._incoming.append(job)
                self._hand_out()
            self._end_late()
            return
        self._incoming.append(job)
        # Who makes a worker idle looks for jobs after that, as we look for idle workers now; who
        # buries one does as well, and so we look again whether there are enough.
        if self.idle or len(self.links) < self.most:
            if self.lock.is_held:
                self.reactor.rouse()
                return
            with Uninterrupted(), self.lock:
                self._hand_out()
            self._end_late()

    def _end_late(self) -> None:
        """End what was submitted as all had been terminated."""
        if self.terminated is not None:
            with Uninterrupted(), self.lock:
                jobs = self.drain_jobs()
            for job in jobs:
                self.client.stopped(job)

    def _hand_out(self) -> None:
        """Have a job that was submitted sent, if there is a worker for it."""
        if not self.idle:
            if len(self.links) < self.most:
                self.reactor.rouse()
        elif self.observed:
            self.reactor.rouse()
        else:
            self.dispatch()
            if self._staff.is_short:  # another thread has seen the same idle worker
                self.reactor.rouse()

    @property
    def outstanding(self) -> int:
        """How many jobs have not ended."""
        return self._taken + len(self._incoming)

    def _take_in(self) -> None:
        """Have the scheduler hear of the jobs that were submitted."""
        ready = self.scheduler.ready
        before = len(ready)
        try:
            self.scheduler.submit_all(self._incoming)
        finally:
            self._taken += len(ready) - before

    def note_ended(self, count: int) -> None:
        """Take note that so many jobs have ended, or were taken back; called with the lock held."""
        self._taken -= count

    def drain_jobs(self) -> list[Job]:
        """Take back all jobs that no worker has; called with the lock held."""
        self._take_in()
        jobs = self.scheduler.drain()
        self._taken -= len(jobs)
        return jobs

    def working(self) -> int:
        """Return how many workers may be given jobs."""
        return sum(not link.leaving for link in self.links.values())

    def want_worker(self) -> None:
        """Start one more worker, unless there are enough."""
        if not self.lock.is_held:  # else a job that comes later has one started
            with Uninterrupted(), self.lock:
                self._start_worker()

    def _start_worker(self) -> None:
        self._open()
        if self._all_at_once:
            self._staff.bear_all(hurry=self.outstanding > 0)
        elif len(self.links) < self.most:
            self._staff.bear()

    def start_workers(self) -> None:
        """Start all workers."""
        if not self.lock.is_held:  # as above
            with Uninterrupted(), self.lock:
                self._open()
                self._staff.bear_all()

    def _open(self) -> None:
        """Have the reactor's thread there; called with the lock held."""
        if self.reactor.thread is None:
            # First, though a nursery is forked after it: the thread waits for the lock. One that is
            # started beside processes that start waits for its turn, on two processors often for as
            # long as all this takes.
            self.reactor.open()
            self.records.selector = self.reactor.selector
            self.reactor.start(self._turn, self._failed)

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if a worker has it."""
        if self.lock.is_held:
            return False  # it may be on its way
        with Uninterrupted(), self.lock:
            self._take_in()
            if not self.scheduler.withdraw(job):
                return False
            self._taken -= 1
            return True

    def may_repeat(self, job: Job, reason: int) -> bool:
        """Return whether *job*, which has ended, may be submitted again, and count that."""
        with Uninterrupted(), self.lock:
            return job.spend_retry(reason)

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        if self.lock.is_held:
            self.kill_soon(job)
            return False  # to wait is to let go of the lock
        with Uninterrupted(), self.lock:
            thread = self.reactor.thread
            if job.place is None or thread is None or not thread.is_alive():
                return False
            if self._has_failed:
                return False  # though its thread, which serves others as well, goes on
            if self.reactor.is_current:
                return False  # it can't wait for itself, where a plugin's code asks
            overseer = self.overseer
            overseer.kills.setdefault(job, False)
            self.reactor.wake()
            try:
                self.lock.wait_for(lambda: job not in overseer.kills)
            except BaseException:  # Ctrl-C: whoever waits for the task must hear all the same
                if job in overseer.kills:
                    overseer.unawaited.add(job)
                elif job.state == WITHDRAWN:
                    self.client.stopped(job)
                raise
            finally:
                killed = job in overseer.killed
                overseer.killed.discard(job)
            return killed

    def kill_soon(self, job: Job) -> None:
        """Stop *job* if a worker has it; its end is told as that of any other."""
        with Uninterrupted(), self.lock:
            if job.place is not None:
                self.overseer.kills.setdefault(job, False)
                self.overseer.unawaited.add(job)
                self.reactor.rouse()

    def resize(self, size: int) -> None:
        """Have *size* workers at most; those too many end once they have done what they have."""
        with Uninterrupted(), self.lock:
            self.most += size - self.size
            self.size = size
            staying = [link for link in self.links.values() if not link.leaving]
            staying.sort(key=lambda link: not link.idle)
            for link in staying[: max(len(staying) - size, 0)]:
                self.retire(link)
            self.reactor.wake()  # it is to watch whether they end

    def stop(self) -> None:
        """End the workers once they have done what they have."""
        with Uninterrupted(), self.lock:
            self.stopping = True
            self.reactor.rouse()

    def join(self) -> None:
        """Return once all has ended."""
        if self.lock.is_held:
            return  # a signal's handler: the reactor waits for what that has interrupted
        self.reactor.join()
        if not self.reactor.is_current:
            self.records.join()

    #: What ProcessPoolExecutor's `_call_queue` has, for those who look.
    join_thread = join

    def terminate(self, signum: signal.Signals, grace: float = 0.0) -> None:
        """Have all workers killed by *signum*; what they have ends as stopped.

        Those that are at no job are given *grace* seconds to end in order.
        """
        with Uninterrupted(), self.lock:
            self.stopping = True
            self.terminated = signum
            self.overseer.give_time(grace)
            self.reactor.wake()

    def processes(self) -> dict[int, WorkerProcess]:
        """Return the workers by pid; waits for those that are being started, if it can."""
        inside = self.lock.is_held or self.reactor.is_current
        with Uninterrupted(), self.lock:
            if inside:
                return {link.pid: link.process for link in self.links.values() if link.pid}
            self._staff.bear_wanted()
            workers = [link.process for link in self.links.values()]
        return {pid: worker for worker in workers if (pid := worker.pid) is not None}

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker; waits for those that are being started."""
        self.processes()
        with Uninterrupted(), self.lock:
            return [link.describe() for link in self.links.values()]

    def abandon(self) -> None:
        """Close this forked child's copies of the descriptors, which are the parent's."""
        for link in list(self.links.values()):
            link.close()
        self.links.clear()
        self.records.abandon()
        self._staff.abandon()
        self.reactor.close()

    # -- for its parts -----------------------------------------------------------------------------

    def drain(self, link: Link) -> None:
        """Take what a dead worker has answered."""
        more = link.answers >= 0
        while more:
            answers, more = link.stream.read(link.answers)
            if answers:
                self._deliver(link, answers)
            elif more:
                break  # something that it started holds the pipe open
        self._take_staged(link)

    # -- jobs --------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Send jobs to workers that may have more; called with the lock held."""
        back = self.scheduler.requeued()
        if back:
            self.overseer.timed -= sum(job.timeout is not None for job in back)
            self.client.unstarted(back)
        while True:
            if self._incoming:
                self._take_in()
            found = self.scheduler.assign()
            if found is None:
                break
            window, jobs = found
            link = self.links[window.worker]
            if link.idle:
                link.idle = False
                self.idle -= 1
                window.progressed_at = time.monotonic()
            self.overseer.timed += jobs[0].timeout is not None  # those go alone
            self.client.started(jobs, link.name)
            self.send(link, link.message(jobs))
            if window.left == 0:
                link.finish()
                if link.out:
                    self.reactor.wake()  # it is to send the rest
            if self.reactor.resting and (self.overseer.timed or len(window.entries) > 1):
                self.reactor.wake()  # it is to watch the clock from now on

    def send(self, link: Link, data: bytes) -> None:
        if not link.write(data) and link not in self.writing:
            self.reactor.wake()

    def write_more(self, link: Link) -> None:
        """Send what the pipe had no room for."""
        with self.lock:
            if link in self.writing and link.write_more():
                self.writing.discard(link)
                self.reactor.forget(link.jobs)
                if link.leaving:
                    link.finish()

    def answered(self, link: Link) -> None:
        if link.answers < 0:
            return  # it died while this event waited for its turn
        answers, more = link.stream.read(link.answers)
        if answers:
            self._deliver(link, answers)
        if not more:
            # It has died, or closed its pipe and is of no more use; the nursery tells us which.
            self.reactor.forget(link.answers)
            if not link.leaving:
                link.signal(signal.SIGKILL)

    def _deliver(self, link: Link, answers: list[Answer]) -> None:
        while answers and not link.ready:
            self._begin(link, answers.pop(0))
        if not answers:
            return
        with self.lock:
            jobs = self._settle(link, answers)
            logged = link.words[RECORDS] and self.records.are_before(
                link.number, idle=not link.window.entries
            )
            if self._max_memory is not None and self._is_too_large(link):
                self.retire(link)
            # First of all the worker gets new work; then we look at what it has done.
            self.dispatch()
        if len(jobs) < len(answers):
            answers = [answer for answer in answers if answer[0] != PASSED_OVER]
        # Now, for the worker may be gone by the time that somebody is told.
        answers = link.unwrap(jobs, answers)
        if logged:
            self.records.after(link.number, partial(self._tell, jobs, answers))
        else:
            self._tell(jobs, answers)

    def _tell(self, jobs: list[Job], answers: list[Answer]) -> None:
        self.client.ended(jobs, answers)

    def _settle(self, link: Link, answers: list[Answer]) -> list[Job]:
        """Account for *answers*; return the jobs that they end."""
        now = time.monotonic()
        overseer, window = self.overseer, link.window
        elapsed = [None if answer[0] == PASSED_OVER else answer[1] for answer in answers]
        jobs = self.scheduler.answered(window, elapsed, now)
        if not window.entries and not link.leaving and not link.idle:
            link.idle = True
            self.idle += 1
            link.since = now
        link.done += len(jobs)
        self._taken -= len(jobs)
        if overseer.timed:
            overseer.timed -= sum(job.timeout is not None for job in jobs)
        if overseer.kills:
            for job in jobs:
                overseer.kills.pop(job, None)
                overseer.unawaited.discard(job)
            self.lock.notify_all()
        return jobs

    def _begin(self, link: Link, answer: Answer) -> None:
        status, _, data, _ = answer
        if status == UNPREPARED:
            link.leaving = link.unprepared = self._staff.failing = True
            tell = partial(self.client.unprepared, link.name, bytes(data))
            self.records.after(link.number, tell)
            return
        assert status == READY
        with self.lock:
            self._staff.miscarriages = 0
            link.ready = True
            (link.pid,) = NUMBER.unpack(data)
            self.lock.notify_all()
            link.since = link.window.progressed_at = time.monotonic()
            self.scheduler.started(link.window)
        self.client.worker_started(link.name)
        with self.lock:
            self.dispatch()

    def _is_too_large(self, link: Link) -> bool:
        limit = self._max_memory
        return limit is not None and not link.leaving and resident(link.pid) > limit

    def retire(self, link: Link) -> None:
        """Let a worker end once it has done what it was sent."""
        self.scheduler.retire(link.window)
        self.idle -= link.idle
        link.finish()

    # -- the reactor -------------------------------------------------------------------------------

    def _take_staged(self, link: Link) -> None:
        answers = link.stream.read_stage()
        if answers:
            self._deliver(link, answers)

    def _look_at_stages(self) -> float | None:
        """Take what was done before long jobs; return how many seconds until the next look."""
        now = time.monotonic()
        waits = []
        for link in list(self.links.values()):
            wait = link.stream.staged_for(now)
            if wait == 0.0:
                self._take_staged(link)
            else:
                waits.append(wait)
        return soonest(waits)

    def _turn(self) -> float | None:
        """Do what is due; return how many seconds to wait for events."""
        waiting = self.records.look()
        staged = self._look_at_stages()
        with self.lock:
            # Whoever submitted a job may have been interrupted before it was sent.
            if self.observed or (self._incoming and self.idle):
                self.dispatch()
            due = [waiting, staged, self.overseer.look()]
            failure = self._staff.replace()
            due.append(self._staff.due)
            if self.stopping:
                due.append(self.overseer.wind_up())
            timeout = soonest(due)
            over = self.stopping and not self.links and waiting is None
            self.reactor.resting = timeout is None or timeout > TICK
            nap = self._nap()
        if failure is not None:
            self.client.barren(failure)
        if over:
            self._close()
            return OVER
        if nap:
            time.sleep(nap)
        return timeout

    def _nap(self) -> float:
        """Return for how many seconds answers may gather.

        Where they come fast it does not pay to wake for each: nobody loses by it but who waits for
        one, and that while all workers have enough to do.
        """
        windows = [link.window for link in self.links.values() if link.window.entries]
        flooded = [window for window in windows if len(window.entries) >= FLOOD]
        if not flooded:
            return 0.0
        nap = GATHERED * min(window.load + OVERHEAD * len(window.entries) for window in flooded)
        if len(flooded) < len(windows) or self.reactor.is_hosted:
            nap = min(nap, MOMENT)
        return nap if nap > SHORTEST_NAP else 0.0

    def _close(self) -> None:
        self._staff.close()
        with self.lock:
            self.reactor.close()

    def _failed(self, error: BaseException) -> None:
        """End all, for a defect of ours: nobody must wait for ever because of it."""
        logging.getLogger("polyexec").critical("the reactor failed", exc_info=error)
        with self.lock:
            self._has_failed = True
            for link in self.links.values():
                link.signal(signal.SIGKILL)
            self.overseer.kills.clear()
            self.lock.notify_all()
        self.client.barren(f"polyexec failed: {error!r}")
