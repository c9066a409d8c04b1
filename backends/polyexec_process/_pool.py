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
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from polyexec.scheduling import Job, Scheduler, Window
from polyexec_process._frames import (
    CLEAR,
    ENTRY,
    FUNCTION,
    JOBS,
    MESSAGE,
    NUMBER,
    PASSED_OVER,
    PREPARE,
    READY,
    UNPREPARED,
)
from polyexec_process._link import Answer, Link, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec_process._births import Births

#: How many seconds a worker may be silent before what waits behind its job is recalled.
PATIENCE: Final = 0.02
#: How often, in seconds, the reactor looks at what no event tells.
TICK: Final = 0.01
#: How many seconds a processor may take to let another see what it stored; by far.
MOMENT: Final = 0.001
#: With so many jobs in a window, the reactor lets answers gather rather than wake for each.
FLOOD: Final = 8
#: How many bytes of functions a worker keeps.
FUNCTION_BYTES: Final = 64 << 20
#: How many workers in a row may die before they were ready.
MISCARRIAGES: Final = 3


class Lost(NamedTuple):
    """How a worker ended."""

    worker: str
    pid: int | None
    exitcode: int | None
    dump: str | None


class Client(Protocol):
    """Who gave the jobs; called on the reactor's thread, without the pool's lock."""

    def started(self, jobs: list[Job], worker: str) -> None:
        """Take note that *worker* is being sent *jobs*; under the pool's lock."""

    def unstarted(self, jobs: list[Job]) -> None:
        """Take note that *jobs* were sent, but not begun; under the pool's lock."""

    def ended(self, job: Job, answer: Answer) -> None:
        """Take a job's outcome."""

    def lost(self, job: Job, lost: Lost) -> None:
        """Take note that *job* was running on a worker as that died."""

    def timed_out(self, job: Job) -> None:
        """Take note that *job* was stopped, for it ran out of time."""

    def stopped(self, job: Job) -> None:
        """Take note that *job* was stopped, for somebody asked to."""

    def worker_started(self, worker: str) -> None:
        """Take note of a new worker."""

    def worker_lost(self, lost: Lost, job: Job | None) -> None:
        """Take note that a worker died unasked."""

    def unprepared(self, worker: str, error: bytes) -> None:
        """Take note that an initializer failed."""

    def barren(self, why: str) -> None:
        """Take note that there will be no more workers."""

    def functions(self, number: int) -> bytes:
        """Return a function's bytes."""


class LocalPool:
    """Up to *size* workers, started as jobs ask for them."""

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
        self.links: dict[int, Link] = {}
        self._client = client
        self._make_births = births
        self._prepare = prepare
        self._name = names
        self._all_at_once = all_at_once
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._idle_timeout = idle_timeout
        #: Whether only the reactor may send jobs, for that calls plugins' code.
        self.observed: bool = False
        self._scheduler = Scheduler()
        self._numbers = itertools.count(1)
        self._births: Births | None = None
        self._idle = 0
        self._outstanding = 0
        self._timed = 0
        #: Jobs to stop, and whether because they ran out of time.
        self._kills: dict[Job, bool] = {}
        self._killed: set[Job] = set()
        self._dispatching = False
        #: Whether the reactor sleeps until something happens.
        self._resting = False
        self._miscarriages = 0
        self._stopping = False
        self._terminated: signal.Signals | None = None
        self._selector: selectors.BaseSelector | None = None
        self.thread: threading.Thread | None = None
        self._waker = (-1, -1)
        self._writing: set[Link] = set()
        self._changed = threading.Condition(self.lock)

    # -- for the client ----------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""
        with self.lock:
            if self._outstanding >= len(self.links) < self.size:
                self.want_worker()
            self._outstanding += 1
            self._scheduler.submit(job)
            if self._idle:
                if self.observed:
                    self._wake()
                else:
                    self._dispatch()

    def want_worker(self) -> None:
        """Start one more worker, unless there are enough."""
        if self._all_at_once:
            self.start_workers()
            return
        with self.lock:
            if self.thread is None:
                self._start()
            if len(self.links) < self.size:
                self._bear()

    def start_workers(self) -> None:
        """Start all workers."""
        with self.lock:
            if self.thread is None:
                self._start()
            while len(self.links) < self.size and self._bear():
                pass

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if a worker has it."""
        with self.lock:
            # Within `_dispatch` it is the collector that cancels, and the job may be on its way.
            if self._dispatching or not self._scheduler.withdraw(job):
                return False
            self._outstanding -= 1
            return True

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        with self._changed:
            if job.place is None:
                return False
            self._kills.setdefault(job, False)
            self._wake()
            self._changed.wait_for(lambda: job not in self._kills)
            killed = job in self._killed
            self._killed.discard(job)
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

    def processes(self) -> dict[int, WorkerProcess]:
        """Return the workers by pid; waits for those that are being started."""
        with self.lock:
            workers = [link.process for link in self.links.values()]
        return {pid: worker for worker in workers if (pid := worker.pid) is not None}

    join_thread = join

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker; its memory is in bytes."""
        with self.lock:
            return [self._describe(link) for link in self.links.values()]

    def _describe(self, link: Link) -> dict[str, Any]:
        window, begun = link.window, link.begun
        job = None if begun is None else window.at(begun)
        state = "starting" if not link.ready else "idle" if job is None else "busy"
        return {
            "name": link.name,
            "pid": link.pid,
            "state": "leaving" if link.leaving else state,
            "task": None if job is None else job.owner.name,
            "tasks_done": link.done,
            "memory": resident(link.pid),
        }

    def terminate(self, signum: signal.Signals) -> None:
        """Have all workers killed by *signum*; what they ran ends as stopped."""
        with self.lock:
            self._stopping = True
            self._terminated = signum
            self._wake()

    def abandon(self) -> None:
        """Close this forked child's copies of the descriptors, which are the parent's."""
        for link in list(self.links.values()):
            link.close()
        for fd in self._waker:
            if fd >= 0:
                os.close(fd)
        if self._selector is not None:
            self._selector.close()
        if self._births is not None:
            self._births.sock.close()

    # -- workers -------------------------------------------------------------------------------------

    def _start(self) -> None:
        # In this order: the nursery is forked before there is a thread of ours.
        self._births = self._make_births()
        self._waker = os.pipe()
        for fd in self._waker:
            os.set_blocking(fd, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker[0], selectors.EVENT_READ, self._awake)
        self._selector.register(self._births.sock, selectors.EVENT_READ, self._hear)
        self.thread = threading.Thread(target=self._react, name="polyexec-reactor", daemon=True)
        self.thread.start()

    def _bear(self) -> bool:
        """Start a worker; return False if the nursery has ended, or everything is about to."""
        births, selector = self._births, self._selector
        if births is None or selector is None or self._stopping:
            return False
        number = next(self._numbers)
        name = f"{self._name}-{number}"
        window = self._scheduler.add_worker(number, self._max_tasks)
        link = Link(number, name, window, self._changed)
        try:
            body = self._prepare(name)
            births.bear(number, link.fds)
        except OSError:
            self._scheduler.lost(window, None)
            link.close()  # the nursery has ended, which we shall hear of
            return False
        except BaseException:
            self._scheduler.lost(window, None)
            link.close()
            raise
        link.release_fds()
        self.links[number] = link
        self._idle += 1
        link.idle = True
        selector.register(link.answers, selectors.EVENT_READ, partial(self._answered, link))
        self._send(link, MESSAGE.pack(MESSAGE.size + len(body), PREPARE, 0) + body)
        return True

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
            with self._changed:
                link.pid = detail
                self._changed.notify_all()
            if self._terminated is not None:
                link.signal(self._terminated)
        else:
            code = detail if what == "died" else None
            self._died(link, code, detail if what == "failed" else None)

    def _orphaned(self) -> None:
        """Go on without the nursery, which has died: its workers can't be replaced."""
        assert self._births is not None
        assert self._selector is not None
        self._selector.unregister(self._births.sock)
        births, self._births = self._births, None
        births.close()
        for link in list(self.links.values()):
            link.signal(signal.SIGKILL)
            self._died(link, None, None)
        if not self._stopping:
            self._client.barren("the process that starts them died")

    def _died(self, link: Link, exitcode: int | None, failure: str | None) -> None:
        assert self._selector is not None
        self._drain(link)
        with self.lock:
            selector = self._selector
            with contextlib.suppress(KeyError):  # not there any more, if it closed its pipe first
                selector.unregister(link.answers)
            if link in self._writing:
                self._writing.discard(link)
                selector.unregister(link.jobs)
            del self.links[link.number]
            lost = Lost(link.name, link.pid, exitcode, link.last_words())
            if not (link.ready or link.leaving or self._stopping):
                self._miscarriages += 1
            self._idle -= link.idle
            running = self._scheduler.lost(link.window, link.begun).running
            asked = running in self._kills
            if running is not None:
                self._outstanding -= 1
                self._timed -= running.timeout is not None
            link.close()
            barren = self._miscarriages >= MISCARRIAGES or failure is not None
        if running is not None:
            if self._kills.get(running):
                self._client.timed_out(running)
            elif asked or self._terminated is not None:
                self._client.stopped(running)
            else:
                self._client.lost(running, lost)
        if not (link.leaving or asked or self._stopping):
            self._client.worker_lost(lost, running)
        with self._changed:
            if running is not None and self._kills.pop(running, None) is False:
                self._killed.add(running)
            link.dead, link.exitcode = True, exitcode
            self._changed.notify_all()
            try:
                if not barren and self._outstanding > len(self.links):
                    self._bear()
            except Exception as error:  # noqa: BLE001 - the user's initargs, which pickle no more
                barren, failure = True, str(error)
            self._dispatch()
            dropped = self._scheduler.drain() if self._terminated is not None else []
            self._outstanding -= len(dropped)
        for job in dropped:
            self._client.stopped(job)
        if barren:
            why = failure or f"{MISCARRIAGES} in a row died as they started ({_ended(exitcode)})"
            self._client.barren(why)

    def _drain(self, link: Link) -> None:
        """Take what a dead worker has answered."""
        more = True
        while more and link.answers >= 0:
            answers, more = link.read()
            if answers:
                self._deliver(link, answers)
            elif more:
                return

    # -- jobs ----------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Send jobs to workers that may have more; called with the lock held."""
        if self._dispatching:
            return  # the collector, or a hook, submits within it: the loop comes to that
        self._dispatching = True
        try:
            back = self._scheduler.requeued()
            if back:
                self._timed -= sum(job.timeout is not None for job in back)
                self._client.unstarted(back)
            while (found := self._scheduler.assign()) is not None:
                window, jobs = found
                link: Link = self.links[window.worker]
                if link.idle:
                    link.idle = False
                    self._idle -= 1
                    window.progressed_at = time.monotonic()
                self._client.started(jobs, link.name)
                self._send(link, self._message(link, jobs))
                if window.left == 0:
                    link.finish()
                if self._resting and (self._timed or len(window.entries) > 1):
                    self._wake()  # it is to watch the clock from now on
        finally:
            self._dispatching = False

    def _message(self, link: Link, jobs: list[Job]) -> bytes:
        functions: list[bytes] = []
        known, pack = link.known, ENTRY.pack
        entries: list[bytes] = []
        payloads: list[bytes] = []
        size = MESSAGE.size
        for job in jobs:
            which, payload = job.kind, job.payload
            if which > 0 and which not in known:
                functions.extend(self._teach(link, which))
            entries.append(pack(len(payload), max(which, 0)))
            payloads.append(payload)
            size += ENTRY.size + len(payload)
            if job.timeout is not None:
                self._timed += 1
        return b"".join([*functions, MESSAGE.pack(size, JOBS, len(jobs)), *entries, *payloads])

    def _teach(self, link: Link, which: int) -> list[bytes]:
        data = self._client.functions(which)
        messages: list[bytes] = []
        if link.known_bytes + len(data) > FUNCTION_BYTES and link.known:
            link.known.clear()
            link.known_bytes = 0
            messages.append(MESSAGE.pack(MESSAGE.size, CLEAR, 0))
        link.known.add(which)
        link.known_bytes += len(data)
        size = MESSAGE.size + NUMBER.size + len(data)
        messages += [MESSAGE.pack(size, FUNCTION, 0), NUMBER.pack(which), data]
        return messages

    def _send(self, link: Link, data: bytes) -> None:
        if not link.write(data) and link not in self._writing:
            self._wake()

    def _write_more(self, link: Link) -> None:
        with self.lock:
            if link in self._writing and link.write_more():
                self._writing.discard(link)
                assert self._selector is not None
                self._selector.unregister(link.jobs)
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
            assert self._selector is not None
            with contextlib.suppress(KeyError):
                self._selector.unregister(link.answers)
            if not link.leaving:
                link.signal(signal.SIGKILL)

    def _deliver(self, link: Link, answers: list[Answer]) -> None:
        while answers and not link.ready:
            self._begin(link, answers.pop(0))
        if not answers:
            return
        window = link.window
        now = time.monotonic()
        with self.lock:
            jobs = self._scheduler.answered(
                window,
                [None if answer[0] == PASSED_OVER else answer[1] for answer in answers],
                now,
            )
            if not window.entries and not link.leaving and not link.idle:
                link.idle = True
                self._idle += 1
                link.since = now
            link.done += len(jobs)
            self._outstanding -= len(jobs)
            if self._timed:
                self._timed -= sum(job.timeout is not None for job in jobs)
            if self._kills:
                for job in jobs:
                    self._kills.pop(job, None)
                self._changed.notify_all()
            # First of all the worker gets new work; then we look at what it has done.
            if self._scheduler.ready:
                self._dispatch()
            if self._max_memory is not None and self._idle:
                self._weigh(link, window)
        ended = self._client.ended
        if len(jobs) == len(answers):
            for job, answer in zip(jobs, answers, strict=True):
                ended(job, answer)
        else:
            real = [answer for answer in answers if answer.status != PASSED_OVER]
            for job, answer in zip(jobs, real, strict=True):
                ended(job, answer)

    def _begin(self, link: Link, answer: Answer) -> None:
        if answer.status == UNPREPARED:
            link.leaving = True
            self._client.unprepared(link.name, answer.data)
            return
        assert answer.status == READY
        with self.lock:
            self._miscarriages = 0
            link.ready = True
            link.since = time.monotonic()
            self._scheduler.started(link.window)
        self._client.worker_started(link.name)
        with self.lock:
            self._dispatch()

    def _weigh(self, link: Link, window: Window) -> None:
        """Let a worker end that has grown too large."""
        assert self._max_memory is not None
        if resident(link.pid) > self._max_memory and not link.leaving:
            self._retire(link, window)

    def _retire(self, link: Link, window: Window) -> None:
        self._scheduler.retire(window)
        self._idle -= link.idle
        link.idle = False
        link.finish()

    # -- the reactor -----------------------------------------------------------------------------------

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
                self._kills.clear()
                self._changed.notify_all()
            self._client.barren(f"polyexec failed: {error!r}")

    def _run(self) -> None:
        selector = self._selector
        assert selector is not None
        while True:
            with self.lock:
                if self.observed:
                    self._dispatch()
                timeout = self._look()
                self._resting = timeout is None
                if self._stopping and not self.links:
                    break
                flooded = any(len(link.window.entries) >= FLOOD for link in self.links.values())
            if flooded:
                # Answers come faster than it pays to wake for each; they lose nothing by it.
                time.sleep(MOMENT)
            events = selector.select(timeout)
            self._resting = False
            for key, _ in events:
                key.data()

    def _close(self) -> None:
        assert self._selector is not None
        if self._births is not None:
            self._births.close()
        with self.lock:
            self._births = None
            self._selector.close()
            for fd in self._waker:
                os.close(fd)
            self._waker = (-1, -1)

    def _look(self) -> float | None:
        """See to what no event tells; return how many seconds may pass until the next look."""
        timeout: float | None = None
        now = time.monotonic()
        for link in list(self.links.values()):
            if link.out and link not in self._writing:
                self._writing.add(link)
                assert self._selector is not None
                self._selector.register(
                    link.jobs, selectors.EVENT_WRITE, partial(self._write_more, link)
                )
            window = link.window
            if window.entries:
                if self._watch(link, window, now):
                    timeout = MOMENT
                elif not window.blocked and (len(window.entries) > 1 or not link.ready):
                    timeout = min(timeout or TICK, TICK)
            elif self._idle_timeout is not None and not link.leaving and not self._stopping:
                left = link.since + self._idle_timeout - now
                if left <= 0:
                    self._retire(link, window)
                else:
                    timeout = min(timeout or left, left)
        if self._timed or self._kills:
            timeout = min(timeout or TICK, TICK)
        if self._kills:
            timeout = MOMENT
            self._settle_kills()
        if self._stopping:
            self._wind_up()
        return timeout

    def _watch(self, link: Link, window: Window, now: float) -> bool:
        """Hold back a worker that is stalled, or whose job runs out of time; is one held back?"""
        if self._timed:
            begun = link.begun
            job = None if begun is None else window.at(begun)
            if job is not None and job.timeout is not None and job not in self._kills:
                if now - link.begun_at > job.timeout:
                    self._kills[job] = True
        if link.held is not None:
            if now - link.held >= MOMENT:
                begun = link.begun
                self._scheduler.recalled(window, window.first - 1 if begun is None else begun)
                link.held = None
                self._dispatch()
            return True
        slow = not link.ready and self._idle and now - window.progressed_at > PATIENCE
        if (slow and not window.blocked) or (
            self._scheduler.is_stalled(window, now, PATIENCE) and not link.leaving
        ):
            self._hold(link, window, now)
            return True
        return False

    def _hold(self, link: Link, window: Window, now: float) -> None:
        begun = link.begun
        link.hold_back(window.first - 1 if begun is None else begun)
        self._scheduler.recall(window)
        link.held = now

    def _settle_kills(self) -> None:
        now = time.monotonic()
        for job in list(self._kills):
            if job.place is None:  # it has ended, or was recalled, for it had not begun
                del self._kills[job]
                if self._scheduler.withdraw(job):
                    self._outstanding -= 1
                    self._killed.add(job)
                self._changed.notify_all()
                continue
            window, number = job.place
            link: Link = self.links[window.worker]
            if not window.blocked:
                if not window.passing:
                    self._hold(link, window, now)
            elif link.held is None and link.begun == number:
                link.signal(signal.SIGKILL)

    def _wind_up(self) -> None:
        """Let the workers end; at once, if they are to be killed."""
        for link in self.links.values():
            if self._terminated is not None:
                link.signal(self._terminated)
                link.leaving = True
            elif not link.leaving and not self._outstanding:
                link.finish()


def resident(pid: int | None) -> int:
    """Return how many bytes of memory a process holds, 0 where that can't be told."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _ended(exitcode: int | None) -> str:
    if exitcode is None:
        return "how is unknown"
    if exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"exit code {exitcode}"
