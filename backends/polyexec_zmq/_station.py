"""One executor's workers on a node: a local pool, whose client is a program far away."""

from __future__ import annotations

import pickle
import signal
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polyexec.scheduling import Job
from polyexec.serialization import LARGE
from polyexec_process.engine import LocalPool, Lost, Parcel
from polyexec_zmq import _wire as wire
from polyexec_zmq._gathering import Gathering
from polyexec_zmq._logflow import LogFlow
from polyexec_zmq._outbox import Outbox, StationTask
from polyexec_zmq._remotebirth import RemoteBirth
from polyexec_zmq._units import WorkerUnits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec_zmq._node import Node


class Station:
    """The workers of the executor *number* of the program *client* on *node*."""

    def __init__(
        self, node: Node, client: int, number: int, spec: dict[str, Any], birth: bytes
    ) -> None:
        self._node = node
        self.client: int = client
        self.number: int = number
        self.width: int = spec["width"]
        self._birth = birth
        self._cpus = max(node.cpus // max(self.width, 1), 1)
        self._workers_units = WorkerUnits(spec.get("needs", {}))
        self._set_units(spec.get("units", {}))
        self.jobs: dict[int, Job] = {}
        self._gathering = Gathering(node.exchange.incoming, client)
        self.outbox: Outbox = Outbox(node.line.send, self._letter, node.worker_prefix)
        self._numbers: dict[str, int] = {}
        self._fatal: tuple[int, bytes] | None = None
        self.closing: bool = False
        self._closed = False
        self._log_flow = LogFlow(self._record)
        self.pool: LocalPool = LocalPool(
            max(self.width, 1),
            self,
            partial(node.births, spec["env"], self._cpus),
            self._prepare,
            node.worker_prefix,
            max_tasks=spec["max_tasks"],
            max_memory=spec["max_memory"],
            idle_timeout=spec["idle_timeout"],
            handle_record=self._log_flow.hand_in,
            host=node.host,
        )

    def _prepare(self, name: str) -> bytes:
        address = self._node.output_address
        about = {"client": self.client, "executor": self.number}
        output = None if address is None else (address, about)
        using = [link.name for link in self.pool.links.values() if not link.lingers]
        env = self._workers_units.give(name, using)
        method = self._node.method
        return pickle.dumps(RemoteBirth(name, method, self._cpus, self._birth, env, output))

    def _set_units(self, units: dict[str, list[int]]) -> None:
        self._units = units
        self._workers_units.set(units)

    def output(self, about: dict[str, Any], lines: bytes) -> None:
        """Send on what a worker has written."""
        worker = f"{self._node.name}/{about['worker']}"
        who = wire.to_json({"worker": worker, "error": about["stream"] == "stderr"})
        self._node.line.send(self._letter(wire.OUTPUT, who, lines))

    # -- what the head tells; on the line's thread -------------------------------------------------

    def take(self, kind: int, frames: list[Any]) -> None:
        """Take a letter."""
        takes = _TAKES.get(kind)
        if takes is not None:
            takes(self, frames)

    def resize(self, width: int, units: dict[str, list[int]]) -> None:
        """Have so many workers, and these units for them."""
        self.width = width
        self._set_units(units)
        if not width:
            self.recall(len(self.jobs))
        self.pool.resize(width)
        if width and self.pool.outstanding:
            try:
                self.pool.want_worker()
            except OSError as error:  # no worker can be had
                self.barren(f"none could be started: {error}")

    def learn(self, frames: list[Any]) -> None:
        """Take a function."""
        self._gathering.learn(wire.COUNT.unpack(frames[1])[0], frames[2])

    def accept(self, frames: list[Any]) -> None:
        """Take jobs."""
        entries, bodies = frames[1], frames[2]
        at = 0
        for number, kind, length, _, flags, timeout in wire.JOB.iter_unpack(entries):
            body = bodies[at : at + length]
            at += length
            if number in self.jobs:
                continue
            job = Job(kind, None, StationTask(number))
            if timeout:
                job.timeout = timeout
            self.jobs[number] = job
            self._gathering.gather(kind, flags, body, partial(self._submit, job))

    def _submit(self, job: Job, payload: tuple[Any, ...]) -> None:
        if job.owner.name not in self.jobs:
            return  # it was taken back meanwhile
        job.payload = payload
        try:
            self.pool.submit(job)
        except OSError as error:  # no worker can be had
            self.barren(f"none could be started: {error}")

    def unshare(self, numbers: Iterable[int]) -> None:
        """Drop shared objects."""
        self._gathering.forget(numbers)

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Take back what no worker has."""
        taken: list[int] = []
        kept: list[int] = []
        for number in numbers:
            (taken if self._take_back(number) else kept).append(number)
        self.outbox.put(wire.WITHDRAWN, wire.pack_numbers(taken), wire.pack_numbers(kept))

    def _take_back(self, number: int) -> bool:
        job = self.jobs.get(number)
        if job is None or not (job.payload is None or self.pool.withdraw(job)):
            return False
        self._release(job)
        return True

    def recall(self, count: int) -> None:
        """Give back up to *count* jobs that no worker has, the last to come first."""
        back: list[int] = []
        for number in reversed(list(self.jobs)):
            if len(back) >= count:
                break
            if self._take_back(number):
                back.append(number)
        self.outbox.put(wire.RETURNED, wire.pack_numbers(back))

    def kill(self, numbers: Iterable[int]) -> None:
        """Stop jobs."""
        for number in numbers:
            job = self.jobs.get(number)
            if job is not None and not self._drop(job):
                self.pool.kill_soon(job)

    def _drop(self, job: Job) -> bool:
        """Answer for *job* if no worker has it; return False if one has."""
        task: StationTask = job.owner
        taken = self._take_back(task.name)
        if taken:
            self.outbox.answer(task, wire.STOPPED)
        return taken

    def close(self, signum: int) -> None:
        """End the workers; by *signum*, if that is not 0."""
        if signum:
            for job in list(self.jobs.values()):
                self._drop(job)
            self._log_flow.end()
            self.pool.terminate(signal.Signals(signum))
        else:
            self.pool.stop()
        if not self.closing:
            self.closing = True
            threading.Thread(target=self._close, name="polyexec-closing", daemon=True).start()

    def _close(self) -> None:
        self.pool.join()
        self._log_flow.end()  # if a handler is stuck there
        self.pool.join()
        self._gathering.close()
        self._closed = True
        self._put(wire.CLOSED)

    def inventory(self) -> dict[str, Any]:
        """Return what a head must know that knows nothing of it, or of what was on its way."""
        jobs = list(self.jobs)  # first, for what ends meanwhile is among the answers then
        return {
            "client": self.client,
            "executor": self.number,
            "closing": self.closing,
            "width": self.width,
            "units": self._units,
            "jobs": jobs,
            "answered": self.outbox.answered(),
        }

    def describe(self) -> list[dict[str, Any]]:
        """Return what is known of each worker."""
        return [{**each, "node": self._node.name} for each in self.pool.describe()]

    # -- to the head; on the line's thread ---------------------------------------------------------

    def resend(self) -> None:
        """Send again what is not acknowledged."""
        self._log_flow.forget()
        self.outbox.resend()
        if self._fatal is not None:
            self._node.line.send(self._letter(*self._fatal))

    def resume(self) -> None:
        """Go on with a program that has come back, or a head that has."""
        self.resend()
        self._node.exchange.incoming.resume(self.client)

    @property
    def is_done(self) -> bool:
        """Whether it has no job, and its program has every answer."""
        return not self.jobs and self.outbox.is_empty

    def flush(self, most: int) -> float | None:
        """Send *most* of what there is; return how many seconds may pass until the next time."""
        wait = self.outbox.flush(most)
        if self._closed and not self.outbox:
            self._node.forget(self)
        return wait

    def _letter(self, kind: int, *frames: Any) -> list[Any]:
        return wire.letter(kind, self.client, self.number, *frames)

    # -- what the pool tells; on any thread -------------------------------------------------------

    def _put(self, kind: int, *frames: Any) -> None:
        self.outbox.put(kind, *frames)
        self._node.line.wake()

    def started(self, jobs: list[Job], worker: str) -> None:
        """Take note that *worker* is being sent *jobs*."""
        number = self._numbers.get(worker)
        if number is None:
            number = self._numbers[worker] = int(worker.rpartition("-")[2])
        now = time.monotonic()
        for job in jobs:
            self.outbox.note_worker(job.owner, number, now)
        self._node.line.wake()

    def unstarted(self, jobs: list[Job]) -> None:
        """Take note that *jobs* were sent, but not begun."""
        now = time.monotonic()
        for job in jobs:
            self.outbox.note_worker(job.owner, 0, now)

    def ended(self, jobs: list[Job], answers: list[Any]) -> None:
        """Take jobs' outcomes."""
        for job, (status, seconds, data, buffers) in zip(jobs, answers, strict=True):
            if buffers or len(data) > LARGE:
                pieces = [memoryview(piece) for piece in (data, *buffers)]
                table = self._node.exchange.keep(pieces, self.client)
                self._answer(job, status | wire.BULK_VALUE, table, seconds)
            else:
                self._answer(job, status, bytes(data), seconds)

    def _answer(self, job: Job, status: int, body: bytes = b"", seconds: float = 0.0) -> None:
        # Before it is forgotten: at any time it is among the jobs, or the answers.
        self.outbox.answer(job.owner, status, body, seconds)
        self._release(job)
        self._node.line.wake()

    def _release(self, job: Job) -> None:
        task: StationTask = job.owner
        task.answered = True
        self.jobs.pop(task.name, None)
        if job.payload is not None and isinstance(job.payload[1], Parcel):
            job.payload[1].settle()
        job.payload = (b"", b"", None)

    def lost(self, job: Job, lost: Lost) -> None:
        """Take note that *job* was running on a worker as that died."""
        self._answer(job, wire.DIED, wire.to_json(_told(lost)))

    def timed_out(self, job: Job) -> None:
        """Take note that *job* was stopped, for it ran out of time."""
        self._answer(job, wire.TIMED_OUT)

    def stopped(self, job: Job) -> None:
        """Take note that *job* was stopped, for somebody asked to."""
        self._answer(job, wire.STOPPED)

    def worker_started(self, worker: str) -> None:
        """Take note of a new worker."""
        self._event(what="worker_started", worker=worker)

    def worker_lost(self, lost: Lost, job: Job | None) -> None:
        """Take note that a worker died unasked."""
        self._event(what="worker_lost", lost=_told(lost), job=job is not None)

    def unprepared(self, worker: str, error: bytes) -> None:
        """Take note that an initializer failed."""
        event = self._event(what="unprepared", worker=worker, error=error.hex())
        self._fatal = (wire.EVENT, event)

    def barren(self, why: str) -> None:
        """Take note that there will be no more workers."""
        why = f"{why} (on node {self._node.name!r})"
        self._fatal = (wire.BARREN, wire.to_json({"what": "barren", "why": why}))
        self._put(*self._fatal)

    def _event(self, **event: Any) -> bytes:
        data = wire.to_json(event)
        self._put(wire.EVENT, data)
        return data

    def _record(self, number: int, record: bytes) -> None:
        self._put(wire.RECORD, wire.NUMBER.pack(number), record)


def _told(lost: Lost) -> dict[str, Any]:
    return {**lost._asdict(), "host": socket.gethostname()}


def _count(frames: list[Any]) -> int:
    count: int = wire.COUNT.unpack(frames[1])[0]
    return count


#: What is done with letters, by their kind.
_TAKES: Final[dict[int, Callable[[Station, list[Any]], None]]] = {
    wire.JOBS: Station.accept,
    wire.FUNCTION: Station.learn,
    wire.RESEND: lambda station, _: station.resume(),
    wire.ACK: lambda station, frames: station.outbox.acknowledged(wire.NUMBER.unpack(frames[1])[0]),
    wire.HEARD: lambda station, frames: station._log_flow.heard(wire.NUMBER.unpack(frames[1])[0]),
    wire.WITHDRAW: lambda station, frames: station.withdraw(wire.unpack_numbers(frames[1])),
    wire.KILL: lambda station, frames: station.kill(wire.unpack_numbers(frames[1])),
    wire.UNSHARE: lambda station, frames: station.unshare(wire.unpack_numbers(frames[1])),
    wire.RECALL: lambda station, frames: station.recall(_count(frames)),
    wire.RESIZE: lambda station, frames: station.resize(_count(frames), wire.from_json(frames[2])),
    wire.CLOSE: lambda station, frames: station.close(_count(frames)),
}
