"""One executor's pool, of workers that are elsewhere: an engine whose jobs go to a cluster's head.

The program holds every job until it has heard how that ended. So it alone knows what is to be run
again, and a head that has lost its memory is told all that it does not know. An attempt has a
number of its own: what comes late, of one that was given up, is nobody's.

To the head go no more than so many jobs at a time; the others wait here, in the order in which
they are to go. A job that the head has can't be taken back without asking.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from polyexec.interrupts import Uninterrupted
from polyexec.scheduling.job import ASSIGNED, ENDED, QUEUED, WITHDRAWN
from polyexec.scheduling.ready import ReadyJobs
from polyexec.waiting import Condition
from polyexec_zmq import _wire as wire
from polyexec_zmq._delivery import Delivery
from polyexec_zmq._shipping import Acknowledgements, Shipping

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from polyexec import ClusterLostError
    from polyexec.scheduling import Job
    from polyexec_process.submitting import Crew
    from polyexec_zmq._hub import Hub
    from polyexec_zmq._shipping import Sent

#: How many jobs the head has at a time, how many bytes of them, and how many go into a letter.
MOST_JOBS: Final = 4096
MOST_BYTES: Final = 32 << 20
BATCH: Final = 256


class RemotePool:
    """The workers of one executor, as *hub* reaches them; *spec* and *birth* say what they are."""

    def __init__(
        self, hub: Hub, crew: Crew, spec: dict[str, Any], birth: Callable[[], bytes]
    ) -> None:
        self._hub = hub
        self._crew = crew
        self._spec = spec
        self._birth = birth
        self._born = b""
        #: What guards all this, and what those wait on who wait for a change of it.
        self.lock: Condition = Condition()
        self._number: int | None = None
        self._ready = ReadyJobs()
        #: Jobs of who was in the midst of a change, and only left word.
        self._incoming: deque[Job] = deque()
        self._jobs: dict[int, Sent] = {}
        self._bytes = 0
        self._letters: deque[list[Any]] = deque()
        self._shipping = Shipping(hub.outgoing, deque())
        self._acknowledgements = Acknowledgements()
        self._delivery = Delivery(crew, hub.incoming, hub.line.wake)
        self._withdrawing: set[int] = set()
        #: Those of them that nobody waits to hear of.
        self._unattended: set[int] = set()
        #: Those that somebody waits to have killed, and which of them were.
        self._killing: dict[int, Job] = {}
        self._stopped: set[Job] = set()
        self._under_way: set[Job] = set()
        self._closing: int | None = None
        self.closed: bool = False

    # -- the engine --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Take on *job*; any thread may call."""
        if self.lock.is_held:
            self._delivery.submitted(job)
            self._incoming.append(job)
            self._hub.line.wake()
            return
        stopped: list[Job] = []
        try:
            with Uninterrupted(), self.lock:
                if self._closing:
                    job.state = ENDED
                    stopped.append(job)
                    return
                try:
                    self._open()
                except BaseException:
                    stopped += self._take_waiting()  # for nobody else would
                    raise
                self._delivery.submitted(job)
                self._ready.append(job)
        finally:
            self._tell_stopped(stopped)
        self._hub.line.wake()

    def want_worker(self) -> None:
        """Have the workers started."""
        if not self.lock.is_held:  # else a job that comes later does
            with Uninterrupted(), self.lock:
                self._open()
            self._hub.line.wake()

    start_workers = want_worker

    def _open(self) -> None:
        if self._number is None:
            self._hub.check()
            self._born = self._birth()
            self._number = self._hub.add(self)
            self._letters.append(self._opening(again=False))

    def _opening(self, *, again: bool) -> list[Any]:
        # That its workers are to be killed is said first, or what that has stopped begins anew.
        closing = self._closing or None
        spec = wire.to_json({**self._spec, "again": again, "closing": closing})
        return wire.letter(wire.OPEN, 0, self._number or 0, spec, self._born)

    def withdraw(self, job: Job) -> bool:
        """Take back *job*; return False if it may have begun."""
        if self.lock.is_held:
            return False  # it may be on its way, and to ask is to let go of the lock
        with Uninterrupted(), self.lock:
            self._take_in()
            if job in self._under_way:
                return False
            if self._withdrawn_here(job):
                return True
            number = job.place
            sent = self._jobs.get(number)
            if sent is None or sent.begun or self._hub.line.is_current or not self._hub.line.up:
                return False
            self._ask_back([number])
            return job.state == WITHDRAWN

    def _withdrawn_here(self, job: Job) -> bool:
        if job.state == QUEUED and job.place is None:
            job.state = WITHDRAWN
            self._ready.forget_one()
            self._delivery.forget(job)
        return job.state == WITHDRAWN

    def withdraw_all(self) -> None:
        """Take back all that has not begun, so that `withdraw` need not ask for each.

        As many as there are workers are under way, as in a local pool, wherever they are by now.
        """
        if self.lock.is_held:
            return  # as above
        with Uninterrupted(), self.lock:
            self._take_in()
            sent = list(self._jobs.items())
            workers: int = self._spec["expected"]
            self._under_way = {each.job for _, each in sent[:workers]}
            self._spare(workers - len(sent))
            numbers = [number for number, each in sent[workers:] if not each.begun]
            if numbers and self._hub.line.up and not self._hub.line.is_current:
                self._ask_back(numbers)

    def _spare(self, count: int) -> None:
        """Have *count* jobs that have not left yet go on."""
        jobs: list[Job] = []
        while len(jobs) < count and (job := self._ready.first()) is not None:
            self._ready.take()
            jobs.append(job)
        self._ready.put_back(jobs)
        self._under_way.update(jobs)

    def _ask_back(self, numbers: list[int]) -> None:
        jobs = [sent.job for number in numbers if (sent := self._jobs.get(number)) is not None]
        self._withdrawing.update(numbers)
        self._send(wire.WITHDRAW, wire.pack_numbers(numbers))
        try:
            self.lock.wait_for(lambda: not self._withdrawing.intersection(numbers) or self.closed)
        except BaseException:  # Ctrl-C: those who wait for these tasks must hear all the same
            self._unattended.update(self._withdrawing.intersection(numbers))
            for job in jobs:
                if job.state == WITHDRAWN:
                    self._crew.stopped(job)
            raise

    def may_repeat(self, job: Job, reason: int) -> bool:
        """Return whether *job*, which has ended, may be submitted again, and count that."""
        with Uninterrupted(), self.lock:
            return not self._closing and job.spend_retry(reason)

    def kill(self, job: Job) -> bool:
        """Stop *job* if it runs, and return once it is known whether that is what ended it."""
        is_midst = self.lock.is_held
        with Uninterrupted(), self.lock:
            number = job.place
            if number not in self._jobs or self._hub.line.is_current:
                return False
            self._send(wire.KILL, wire.pack_numbers([number]))
            if is_midst:
                return False  # its end is told as that of any other
            self._killing[number] = job
            try:
                self.lock.wait_for(lambda: number not in self._jobs or self.closed)
            finally:
                self._killing.pop(number, None)
                killed = job in self._stopped
                self._stopped.discard(job)
            return killed

    def stop(self) -> None:
        """End the workers once they have done what they have."""
        self._close(0)

    def terminate(self, signum: signal.Signals) -> None:
        """Have all workers killed by *signum*; what they have ends as stopped."""
        self._close(signum)

    def _close(self, signum: int) -> None:
        is_midst = self.lock.is_held
        with Uninterrupted(), self.lock:
            if self._closing is None or (signum and not self._closing):
                self._closing = signum
                if self._number is None:
                    self.closed = True
                    self.lock.notify_all()
                else:
                    self._send(wire.CLOSE, wire.COUNT.pack(signum))
            ends = signum or self._number is None
            waiting = self._take_waiting() if ends and not is_midst else []
        self._tell_stopped(waiting)

    def _tell_stopped(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._delivery.forget(job)
            self._crew.stopped(job)

    def _take_in(self) -> None:
        """Take on the jobs of who only left word; called with the lock held."""
        self._ready.take_in(self._incoming)

    def _take_waiting(self) -> list[Job]:
        """Take away, as ended, all that has not left; called with the lock held."""
        self._take_in()
        waiting = []
        while (job := self._ready.first()) is not None:
            self._ready.take()
            job.state = ENDED
            waiting.append(job)
        return waiting

    def join(self) -> None:
        """Return once all has ended."""
        if self._hub.line.is_current:
            return
        with Uninterrupted(), self.lock:
            self.lock.wait_for(lambda: self.closed)
        self._delivery.in_order.join()

    def processes(self) -> dict[int, Any]:
        """Return nothing: the workers are no processes of this one."""
        return {}

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker."""
        if self._number is None or self.closed:
            return []
        workers: list[dict[str, Any]] = self._hub.ask({"what": "workers", "executor": self._number})
        with Uninterrupted(), self.lock:
            for worker in workers:
                sent = self._jobs.get(worker["task"])
                worker["task"] = None if sent is None else sent.job.name
        return workers

    def abandon(self) -> None:
        """Let go of what is the parent's, in this forked child."""
        self.closed = True

    def _send(self, kind: int, *frames: Any) -> None:
        self._letters.append(wire.letter(kind, 0, self._number or 0, *frames))
        self._hub.line.wake()

    # -- to the head; on the line's thread ---------------------------------------------------------

    def rejoin(self) -> None:
        """Tell a head again what it may not know, or have lost."""
        with self.lock:
            if self._number is None or self.closed:
                return
            self._letters.clear()
            self._shipping.begin_again()
            send = self._hub.line.send
            send(self._opening(again=True))
            numbers = list(self._jobs)
            for start in range(0, len(numbers), BATCH):
                self._send_jobs(numbers[start : start + BATCH])
            for kind, asked in ((wire.WITHDRAW, self._withdrawing), (wire.KILL, self._killing)):
                if asked:
                    send(wire.letter(kind, 0, self._number, wire.pack_numbers(asked)))
            send(wire.letter(wire.RESUMED, 0, self._number))
            if self._closing is not None:
                send(wire.letter(wire.CLOSE, 0, self._number, wire.COUNT.pack(self._closing)))

    def flush(self) -> float | None:
        """Send what there is; return how many seconds may pass until the next time, None: any."""
        wait = self._delivery.in_order.look()
        with self.lock:
            self._take_in()
            stopped = self._take_waiting() if self._closing else []
        self._tell_stopped(stopped)
        if not self._hub.line.up:
            return wait
        send, executor = self._hub.line.send, self._number or 0
        with self.lock:
            while self._letters:
                send(self._letters.popleft())
            for letter in self._shipping.farewells(executor):
                send(letter)
            while self._ready and len(self._jobs) < MOST_JOBS and self._bytes < MOST_BYTES:
                self._send_jobs(self._next_jobs())
        for node, number in self._delivery.in_order.news():
            send(wire.letter(wire.HEARD, node, executor, wire.NUMBER.pack(number)))
        left = self._acknowledgements.flush(executor, send)
        return left if wait is None else wait if left is None else min(wait, left)

    def _next_jobs(self) -> list[int]:
        numbers: list[int] = []
        while len(numbers) < BATCH and (job := self._ready.first()) is not None:
            self._ready.take()
            number = next(self._hub.job_numbers)
            sent = self._jobs[number] = self._shipping.pack(job)
            job.state, job.place = ASSIGNED, number
            self._bytes += len(sent.body)
            numbers.append(number)
            if self._bytes > MOST_BYTES:
                break
        return numbers

    def _send_jobs(self, numbers: list[int]) -> None:
        jobs = {number: self._jobs[number] for number in numbers}
        for letter in self._shipping.letters(self._number or 0, jobs):
            self._hub.line.send(letter)

    # -- from the head; on the line's thread -------------------------------------------------------

    def receive(self, kind: int, peer: int, frames: list[Any]) -> None:
        """Take a letter."""
        takes = _TAKES.get(kind)
        if takes is not None:
            takes(self, peer, frames)

    def _take_answers(self, node: int, frames: list[Any]) -> None:
        self._acknowledgements.note(node, wire.NUMBER.unpack_from(frames[1])[0])
        begun: dict[int, list[Job]] = {}
        answered: list[tuple[Job, int, float, memoryview]] = []
        bodies, at = memoryview(frames[2]), 0
        with self.lock:
            for number, status, micros, worker, length in wire.ANSWER.iter_unpack(
                memoryview(frames[1])[wire.NUMBER.size :]
            ):
                body = bodies[at : at + length]
                at += length
                sent = self._forget(number)
                if sent is None:
                    continue  # it was given up
                if not sent.begun and status != wire.STOPPED:
                    begun.setdefault(worker, []).append(sent.job)
                answered.append((sent.job, status, micros * 1e-6, body))
            if self._withdrawing or self._killing:
                self._note_ends(answered)
        for worker, jobs in begun.items():
            self._delivery.begun(node, worker, jobs)
        for job, status, seconds, body in answered:
            self._delivery.answered(node, job, status, seconds, body)

    def _forget(self, number: int) -> Sent | None:
        sent = self._jobs.pop(number, None)
        if sent is not None:
            self._bytes -= len(sent.body)
            self._shipping.ended(sent)
            sent.job.state, sent.job.place = ENDED, None
        return sent

    def _note_ends(self, answered: list[tuple[Job, int, float, memoryview]]) -> None:
        self._withdrawing.intersection_update(self._jobs)
        stopped = [job for job, status, *_ in answered if status == wire.STOPPED]
        if self._killing:
            self._stopped.update(set(stopped).intersection(self._killing.values()))
            self._forget_killed()
        self.lock.notify_all()

    def _forget_killed(self) -> None:
        for number in [number for number in self._killing if number not in self._jobs]:
            del self._killing[number]

    def _note_started(self, frames: list[Any]) -> None:
        worker, numbers = bytes(frames[1]).decode(), wire.unpack_numbers(frames[2])
        if not worker:
            self._note_unstarted(numbers)
            return
        begun: list[Job] = []
        with self.lock:
            for number in numbers:
                sent = self._jobs.get(number)
                if sent is None:
                    continue
                if sent.begun:
                    self._crew.moved(sent.job, worker)
                else:
                    sent.begun = True
                    begun.append(sent.job)
        if begun:
            self._crew.started(begun, worker)

    def _note_unstarted(self, numbers: tuple[int, ...]) -> None:
        with self.lock:
            back = [sent for number in numbers if (sent := self._jobs.get(number)) is not None]
            back = [sent for sent in back if sent.begun]
            for sent in back:
                sent.begun = False
        self._crew.unstarted([sent.job for sent in back])

    def _note_withdrawn(self, frames: list[Any]) -> None:
        taken, kept = map(wire.unpack_numbers, frames[1:])
        stopped: list[Job] = []
        with self.lock:
            for number in taken:
                sent = self._forget(number)
                if sent is not None:
                    sent.job.state = WITHDRAWN
                    self._delivery.forget(sent.job)
                    if number in self._unattended:
                        stopped.append(sent.job)
            self._withdrawing.difference_update(taken, kept)
            self._unattended.intersection_update(self._withdrawing)
            self._forget_killed()
            self.lock.notify_all()
        for job in stopped:
            self._crew.stopped(job)

    def _note_lost(self, node: int, frames: list[Any]) -> None:
        how, numbers = wire.from_json(frames[1]), wire.unpack_numbers(frames[2])
        with self.lock:
            lost = [sent for number in numbers if (sent := self._forget(number)) is not None]
            self._acknowledgements.forget(node)
            self._delivery.in_order.forget(node)
            self._withdrawing.intersection_update(self._jobs)
            self._forget_killed()
            self.lock.notify_all()
        unbegun = [sent.job for sent in lost if not sent.begun]
        if unbegun:
            self._crew.started(unbegun, how["node"])
        self._delivery.lost(node, how, [sent.job for sent in lost])

    def given_up(self, why: str) -> None:
        """Take note that the head had given up this program, with all that it had of it.

        With another number it is another executor from now on: a node may not have done with the
        workers of this one, and takes what is for them for nobody's.
        """
        with self.lock:
            if self._number is None or self.closed:
                return
            numbers = list(self._jobs)
            self._hub.remove(self._number)
            self._number = self._hub.add(self)
        self._acknowledgements = Acknowledgements()  # nodes count from 1 again
        self._delivery.in_order.forget_all()
        frames = [b"", wire.to_json({"node": "", "host": None, "why": why})]
        self._note_lost(0, [*frames, wire.pack_numbers(numbers)])

    def _note_closed(self) -> None:
        with self.lock:
            self.closed = True
            left = [sent.job for number in list(self._jobs) if (sent := self._forget(number))]
            left += self._take_waiting()
            self._under_way.clear()
            self.lock.notify_all()
        self._delivery.stopped(left)
        self._hub.remove(self._number or 0)

    def cluster_lost(self, error: ClusterLostError) -> None:
        """Fail all that has not ended, for there is no cluster any more."""
        with self.lock:
            self.closed = True
            for sent in self._jobs.values():
                self._shipping.ended(sent)
            self._jobs.clear()
            self._withdrawing.clear()
            self._killing.clear()
            self._under_way.clear()
            self.lock.notify_all()
        self._crew.broken(error)


#: What is done with letters, by their kind.
_TAKES: Final[dict[int, Callable[[RemotePool, int, list[Any]], None]]] = {
    wire.ANSWERS: RemotePool._take_answers,
    wire.RECORD: lambda pool, node, frames: pool._delivery.record(node, frames),
    wire.OUTPUT: lambda pool, _, frames: pool._delivery.output(frames),
    wire.STARTED: lambda pool, _, frames: pool._note_started(frames),
    wire.WITHDRAWN: lambda pool, _, frames: pool._note_withdrawn(frames),
    wire.LOST: RemotePool._note_lost,
    wire.EVENT: lambda pool, node, frames: pool._delivery.event(node, frames),
    # Behind outcomes that wait for records, and would be told by nobody.
    wire.CLOSED: lambda pool, _, __: pool._delivery.in_order.call(pool._note_closed),
}
