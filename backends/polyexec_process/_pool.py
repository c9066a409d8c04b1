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
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polyexec.scheduling import Job, Scheduler
from polyexec.waiting import wait_in_slices
from polyexec_process._client import Lost
from polyexec_process._frames import MESSAGE, PASSED_OVER, PREPARE, READY, RECORDS, UNPREPARED
from polyexec_process._link import Answer, Link, resident
from polyexec_process._overseer import MOMENT, Overseer
from polyexec_process._records import Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec_process._births import Births
    from polyexec_process._client import Client
    from polyexec_process._workerprocess import WorkerProcess

#: With so many jobs in a window, the reactor lets answers gather rather than wake for each.
FLOOD: Final = 8
#: How many workers in a row may die before they were ready.
MISCARRIAGES: Final = 3
#: How many seconds to go on with the workers that there are, where none could be started.
SCARCE: Final = 1.0


class LocalPool:
    """Up to *size* workers, started as jobs ask for them.

    *births* starts the nursery, *prepare* makes the first message for a worker of a given name.
    *max_memory* is in bytes, *idle_timeout* in seconds.
    """

    selector: selectors.BaseSelector

    def __init__(
        self,
        size: int,
        client: Client,
        births: Callable[[], Births],
        prepare: Callable[[str], bytes],
        names: str,
        *,
        all_at_once: bool = False,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        self.size: int = size
        self.lock: threading.RLock = threading.RLock()
        self.changed: threading.Condition = threading.Condition(self.lock)
        self.links: dict[int, Link] = {}
        #: The workers whose pipe was full.
        self.writing: set[Link] = set()
        #: How many workers have nothing to do, and how many jobs have not ended.
        self.idle: int = 0
        self.outstanding: int = 0
        #: Whether only the reactor may send jobs, for that calls plugins' code.
        self.observed: bool = False
        self.thread: threading.Thread | None = None
        self._client = client
        self._make_births = births
        self._prepare = prepare
        self._name = names
        self._all_at_once = all_at_once
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._scheduler = Scheduler()
        self._overseer = Overseer(self, self._scheduler, idle_timeout)
        self._records = Records(self._wake)
        self._numbers = itertools.count(1)
        self._births: Births | None = None
        self._waker = (-1, -1)
        self._dispatching = False
        #: Whether the reactor sleeps until something happens.
        self._resting = False
        self._miscarriages = 0
        #: Before when it is no use to ask for another worker.
        self._next_try = 0.0
        #: Whether an initializer has failed, of which the client may not have heard yet.
        self._failing = False
        self._stopping = False
        self._terminated: signal.Signals | None = None

    # -- for the client ----------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""
        with self.lock:
            if len(self.links) < self.size and self.outstanding >= self._working():
                self.want_worker()
            self.outstanding += 1
            self._scheduler.submit(job)
            if self.idle:
                if self.observed:
                    self._wake()
                else:
                    self.dispatch()

    def _working(self) -> int:
        """Return how many workers may be given jobs."""
        return sum(not link.leaving for link in self.links.values())

    def want_worker(self) -> None:
        """Start one more worker, unless there are enough."""
        with self.lock:
            if self._all_at_once:
                self.start_workers()
            else:
                self._start()
                if len(self.links) < self.size:
                    self._bear()

    def start_workers(self) -> None:
        """Start all workers."""
        with self.lock:
            self._start()
            while len(self.links) < self.size and self._bear():
                pass

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if a worker has it."""
        with self.lock:
            # Within `dispatch` it is the collector that cancels, and the job may be on its way.
            if self._dispatching or not self._scheduler.withdraw(job):
                return False
            self.outstanding -= 1
            return True

    def may_repeat(self, job: Job, reason: int) -> bool:
        """Return whether *job*, which has ended, may be submitted again, and count that."""
        with self.lock:
            return self._scheduler.repeat(job, reason)

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        with self.changed:
            if job.place is None or self.thread is None or not self.thread.is_alive():
                return False
            if self.thread is threading.current_thread():
                return False  # it can't wait for itself, where a result's or a plugin's code asks
            overseer = self._overseer
            overseer.kills.setdefault(job, False)
            self._wake()
            wait_in_slices(partial(self.changed.wait_for, lambda: job not in overseer.kills))
            killed = job in overseer.killed
            overseer.killed.discard(job)
            return killed

    def stop(self) -> None:
        """End the workers once they have done what they have."""
        with self.lock:
            self._stopping = True
            self._wake()

    def join(self) -> None:
        """Return once all has ended."""
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._records.join()

    #: What ProcessPoolExecutor's `_call_queue` has, for those who look.
    join_thread = join

    def terminate(self, signum: signal.Signals) -> None:
        """Have all workers killed by *signum*; what they have ends as stopped."""
        with self.lock:
            self._stopping = True
            self._terminated = signum
            self._wake()

    def processes(self) -> dict[int, WorkerProcess]:
        """Return the workers by pid; waits for those that are being started."""
        with self.lock:
            workers = [link.process for link in self.links.values()]
        return {pid: worker for worker in workers if (pid := worker.pid) is not None}

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker; waits for those that are being started."""
        self.processes()
        with self.lock:
            return [link.describe() for link in self.links.values()]

    def abandon(self) -> None:
        """Close this forked child's copies of the descriptors, which are the parent's."""
        for link in list(self.links.values()):
            link.close()
        self._records.abandon()
        if self._births is not None:
            self._births.sock.close()
            self.selector.close()
        for fd in self._waker:
            if fd >= 0:
                os.close(fd)

    # -- births and deaths -------------------------------------------------------------------------

    def _start(self) -> None:
        if self.thread is not None:
            return
        # In this order: the nursery is forked before there is a thread of ours.
        self._births = self._make_births()
        self._waker = os.pipe()
        for fd in self._waker:
            os.set_blocking(fd, False)
        self.selector = self._records.selector = selectors.DefaultSelector()
        self.selector.register(self._waker[0], selectors.EVENT_READ, self._awake)
        self.selector.register(self._births.sock, selectors.EVENT_READ, self._hear)
        self.thread = threading.Thread(target=self._react, name="polyexec-reactor", daemon=True)
        self.thread.start()

    def _bear(self) -> bool:
        """Start a worker; return False if none can be had now.

        Raises OSError if there is no descriptor or no memory for it, and it would be the only one.
        """
        if self._stopping or self._failing or time.monotonic() < self._next_try:
            return False
        if self._births is None:
            return False
        number = next(self._numbers)
        name = f"{self._name}-{number}"
        body = self._prepare(name)
        try:
            link = Link(number, name, self.changed)
        except OSError as error:
            return self._do_with_fewer(error)
        try:
            records = self._records.open(number, link.words)
        except OSError as error:
            link.close()
            return self._do_with_fewer(error)
        window = link.window = self._scheduler.add_worker(number, self._max_tasks)
        try:
            self._births.bear(number, (*link.fds, records))
        except OSError as error:
            self._scheduler.lost(window, None)
            link.close()
            self._records.drain(number)
            self._records.forget(number)
            # If the nursery has ended we shall hear of it.
            gone = isinstance(error, BrokenPipeError | ConnectionResetError)
            return not gone and self._do_with_fewer(error)
        link.release_fds()
        self._records.opened(number)
        self.links[number] = link
        self.idle += 1
        self.selector.register(link.answers, selectors.EVENT_READ, partial(self._answered, link))
        self._send(link, MESSAGE.pack(MESSAGE.size + len(body), PREPARE, 0) + body)
        return True

    def _do_with_fewer(self, error: OSError) -> bool:
        """Go on with the workers that there are, or raise *error* if there are none."""
        if not self.links:
            raise error
        self._next_try = time.monotonic() + SCARCE
        return False

    def _hear(self) -> None:
        if self._births is None:
            return
        message = self._births.hear()
        if message is None:
            self._orphaned()
            return
        what, number, detail = message
        link = self.links.get(number)
        if link is None:
            return
        if what == "born":
            with self.changed:
                link.pid = detail
                self.changed.notify_all()
            if self._terminated is not None:
                link.signal(self._terminated)
        elif what == "died":
            self._died(link, detail)
        else:
            self._not_born(link, detail)

    def _not_born(self, link: Link, why: str) -> None:
        """Do without a worker that the nursery could not start, unless it would be the only one."""
        others = len(self.links) > 1
        self._next_try = time.monotonic() + SCARCE
        link.leaving = link.killed = others
        self._died(link, None, None if others else f"none could be started: {why}")

    def _orphaned(self) -> None:
        """Go on without the nursery, which has died: its workers can't be replaced."""
        assert self._births is not None
        self.selector.unregister(self._births.sock)
        births, self._births = self._births, None
        births.close()
        for link in list(self.links.values()):
            link.signal(signal.SIGKILL)
            self._died(link, None)
        if not self._stopping:
            self._client.barren("the process that starts them died")

    def _died(self, link: Link, exitcode: int | None, failure: str | None = None) -> None:
        """See to what a dead worker leaves."""
        self._records.drain(link.number)
        self._drain(link)
        lost = Lost(link.name, link.pid, exitcode, link.last_words())
        with self.lock:
            running = self._bury(link)
            expected = link.killed or (running is None and (link.leaving or self._stopping))
            if not (link.ready or link.killed or link.unprepared or self._stopping):
                self._miscarriages += 1
                if self._miscarriages >= MISCARRIAGES:
                    failure = f"{MISCARRIAGES} in a row died as they started, the last: {lost}"
        if running is not None:
            expected |= self._tell_end(link, running, lost)
        if not expected:
            self._records.after(link.number, partial(self._client.worker_lost, lost, running))
        with self.changed:
            if running is not None and self._overseer.kills.pop(running, None) is False:
                self._overseer.killed.add(running)
            link.dead, link.exitcode = True, exitcode
            self.changed.notify_all()
            try:
                if failure is None and self.outstanding > self._working():
                    self._bear()
            except OSError as error:
                failure = f"none could be started: {error}"
            except Exception as error:  # noqa: BLE001 - the user's initargs, which pickle no more
                failure = f"their initializer can't be sent: {error}"
            self.dispatch()
            dropped = self._scheduler.drain() if self._terminated is not None else []
            self.outstanding -= len(dropped)
        for job in dropped:
            self._client.stopped(job)
        self._records.forget(link.number)
        if failure is not None:
            self._client.barren(failure)

    def _bury(self, link: Link) -> Job | None:
        """Forget *link*, and return the job that it was running."""
        with contextlib.suppress(KeyError):  # not there any more, if it closed its pipe first
            self.selector.unregister(link.answers)
        if link in self.writing:
            self.writing.discard(link)
            self.selector.unregister(link.jobs)
        del self.links[link.number]
        self.idle -= link.idle
        running = self._scheduler.lost(link.window, link.begun)
        if running is not None:
            self.outstanding -= 1
            self._overseer.timed -= running.timeout is not None
        link.close()
        return running

    def _tell_end(self, link: Link, job: Job, lost: Lost) -> bool:
        """Tell how *job* ended with its worker; return whether that was our doing."""
        out_of_time = self._overseer.kills.get(job)
        ours = True
        if out_of_time:
            tell = partial(self._client.timed_out, job)
        elif out_of_time is not None or self._terminated is not None:
            tell = partial(self._client.stopped, job)
        else:
            tell, ours = partial(self._client.lost, job, lost), False
        self._records.after(link.number, tell)
        return ours

    def _drain(self, link: Link) -> None:
        """Take what a dead worker has answered."""
        more = link.answers >= 0
        while more:
            answers, more = link.read()
            if answers:
                self._deliver(link, answers)
            elif more:
                return  # something that it started holds the pipe open

    # -- jobs --------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Send jobs to workers that may have more; called with the lock held."""
        if self._dispatching:
            return  # the collector, or a hook, submits within it: the loop comes to that
        self._dispatching = True
        try:
            back = self._scheduler.requeued()
            if back:
                self._overseer.timed -= sum(job.timeout is not None for job in back)
                self._client.unstarted(back)
            while (found := self._scheduler.assign()) is not None:
                window, jobs = found
                link = self.links[window.worker]
                if link.idle:
                    link.idle = False
                    self.idle -= 1
                    window.progressed_at = time.monotonic()
                self._overseer.timed += jobs[0].timeout is not None  # those go alone
                self._client.started(jobs, link.name)
                self._send(link, link.message(jobs))
                if window.left == 0:
                    link.finish()
                if self._resting and (self._overseer.timed or len(window.entries) > 1):
                    self._wake()  # it is to watch the clock from now on
        finally:
            self._dispatching = False

    def _send(self, link: Link, data: bytes) -> None:
        if not link.write(data) and link not in self.writing:
            self._wake()

    def write_more(self, link: Link) -> None:
        """Send what the pipe had no room for."""
        with self.lock:
            if link in self.writing and link.write_more():
                self.writing.discard(link)
                self.selector.unregister(link.jobs)
                if link.leaving:
                    link.finish()

    def _answered(self, link: Link) -> None:
        if link.answers < 0:
            return  # it died while this event waited for its turn
        answers, more = link.read()
        if answers:
            self._deliver(link, answers)
        if not more:
            # It has died, or closed its pipe and is of no more use; the nursery tells us which.
            with contextlib.suppress(KeyError):
                self.selector.unregister(link.answers)
            if not link.leaving:
                link.signal(signal.SIGKILL)

    def _deliver(self, link: Link, answers: list[Answer]) -> None:
        while answers and not link.ready:
            self._begin(link, answers.pop(0))
        if not answers:
            return
        with self.lock:
            jobs = self._settle(link, answers)
            logged = link.words[RECORDS] and self._records.are_before(
                link.number, idle=not link.window.entries
            )
            if self._max_memory is not None and self._is_too_large(link):
                self.retire(link)
            # First of all the worker gets new work; then we look at what it has done.
            self.dispatch()
        if len(jobs) < len(answers):
            answers = [answer for answer in answers if answer.status != PASSED_OVER]
        if logged:
            self._records.after(link.number, partial(self._tell, link, jobs, answers))
        else:
            self._tell(link, jobs, answers)

    def _tell(self, link: Link, jobs: list[Job], answers: list[Answer]) -> None:
        ended = self._client.ended
        for job, answer in zip(jobs, answers, strict=True):
            ended(job, answer, link)

    def _settle(self, link: Link, answers: list[Answer]) -> list[Job]:
        """Account for *answers*; return the jobs that they end."""
        now = time.monotonic()
        overseer, window = self._overseer, link.window
        elapsed = [None if answer[0] == PASSED_OVER else answer[1] for answer in answers]
        jobs = self._scheduler.answered(window, elapsed, now)
        if not window.entries and not link.leaving and not link.idle:
            link.idle = True
            self.idle += 1
            link.since = now
        link.done += len(jobs)
        self.outstanding -= len(jobs)
        if overseer.timed:
            overseer.timed -= sum(job.timeout is not None for job in jobs)
        if overseer.kills:
            for job in jobs:
                overseer.kills.pop(job, None)
            self.changed.notify_all()
        return jobs

    def _begin(self, link: Link, answer: Answer) -> None:
        if answer.status == UNPREPARED:
            link.leaving = link.unprepared = self._failing = True
            tell = partial(self._client.unprepared, link.name, bytes(answer.data))
            self._records.after(link.number, tell)
            return
        assert answer.status == READY
        with self.lock:
            self._miscarriages = 0
            link.ready = True
            link.since = time.monotonic()
            self._scheduler.started(link.window)
        self._client.worker_started(link.name)
        with self.lock:
            self.dispatch()

    def _is_too_large(self, link: Link) -> bool:
        limit = self._max_memory
        return limit is not None and not link.leaving and resident(link.pid) > limit

    def retire(self, link: Link) -> None:
        """Let a worker end once it has done what it was sent."""
        self._scheduler.retire(link.window)
        self.idle -= link.idle
        link.finish()

    # -- the reactor -------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._waker[1] >= 0 and threading.current_thread() is not self.thread:
            with contextlib.suppress(BlockingIOError):  # it has not read the last one yet
                os.write(self._waker[1], b"!")

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._waker[0], 4096)

    def _react(self) -> None:
        try:
            self._run()
            self._close()
        except BaseException as error:  # a defect of ours: nobody must wait for ever because of it
            logging.getLogger("polyexec").critical("the reactor failed", exc_info=True)
            with self.lock:
                for link in self.links.values():
                    link.signal(signal.SIGKILL)
                self._overseer.kills.clear()
                self.changed.notify_all()
            self._client.barren(f"polyexec failed: {error!r}")

    def _run(self) -> None:
        while True:
            waiting = self._records.look()
            with self.lock:
                if self.observed:
                    self.dispatch()
                timeout = _sooner(waiting, self._overseer.look())
                if self._stopping:
                    self._wind_up()
                    if not self.links and waiting is None:
                        return
                self._resting = timeout is None
                flooded = any(len(link.window.entries) >= FLOOD for link in self.links.values())
            if flooded:
                # Answers come faster than it pays to wake for each; they lose nothing by it.
                time.sleep(MOMENT)
            events = self.selector.select(timeout)
            self._resting = False
            for key, _ in events:
                key.data()

    def _wind_up(self) -> None:
        """Let the workers end; at once, if they are to be killed."""
        for link in self.links.values():
            if self._terminated is not None:
                link.signal(self._terminated)
                link.leaving = True
            elif not link.leaving and not self.outstanding:
                link.finish()

    def _close(self) -> None:
        if self._births is not None:
            self._births.close()
        with self.lock:
            self._births = None
            self.selector.close()
            waker, self._waker = self._waker, (-1, -1)
            for fd in waker:
                os.close(fd)


def _sooner(one: float | None, other: float | None) -> float | None:
    """Return the shorter of two times; None is any."""
    return one if other is None else other if one is None else min(one, other)
