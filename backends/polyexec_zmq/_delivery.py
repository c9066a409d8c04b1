"""How outcomes, log records and output come to a program's executor: in the order they came in."""

from __future__ import annotations

import contextlib
import logging
import mmap
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polyexec.scheduling import LOST as NODE_LOST
from polyexec_process.engine import Lost
from polyexec_zmq import _wire as wire
from polyexec_zmq._inorder import InOrder
from polyexec_zmq._output import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec.scheduling import Job
    from polyexec_process.submitting import Crew
    from polyexec_zmq._bulk import Incoming

logger = logging.getLogger("polyexec")

#: From how many bytes on memory is worth asking the system for, in pages of a size of their own.
_LARGE: Final = 4 << 20


class Delivery:
    """Tells *crew* what becomes of jobs; on the line's thread, which *wake* wakes."""

    def __init__(self, crew: Crew, incoming: Incoming, wake: Callable[[], None]) -> None:
        self._crew = crew
        self._incoming = incoming
        self.in_order: InOrder = InOrder(wake)
        self._writing = Writing()
        #: The workers' names, by node and number.
        self._names: dict[tuple[int, int], str] = {}
        #: Jobs that a handler of log records submitted, which may wait for them.
        self._of_handlers: set[Job] = set()

    def submitted(self, job: Job) -> None:
        """Take note of a new job; on any thread."""
        if self.in_order.is_current:
            self._of_handlers.add(job)

    def forget(self, job: Job) -> None:
        """Take note that a job has ended of which nothing will be told here."""
        self._of_handlers.discard(job)

    def begun(self, node: int, worker: int, jobs: list[Job]) -> None:
        """Tell of jobs that had begun, as their answers show."""
        self._crew.started(jobs, self._names.get((node, worker), ""))

    def answered(self, node: int, job: Job, status: int, seconds: float, body: Any) -> None:
        """Tell of an answer, once what it refers to has come."""
        if not status & wire.BULK_VALUE:
            self._tell_in_order(job, status, seconds, body, ())
            return
        status &= ~wire.BULK_VALUE

        def done(pieces: list[memoryview]) -> None:
            self._tell_in_order(job, status, seconds, pieces[0], pieces[1:])

        def lost(why: str) -> None:
            self._crew.lost(job, _lost(why))

        self._incoming.pull(node, body, _room, done, lost)

    def _tell_in_order(self, job: Job, status: int, seconds: float, data: Any, rest: Any) -> None:
        tell = partial(self._tell, job, status, seconds, data, rest)
        if job in self._of_handlers:
            self._of_handlers.discard(job)
            tell()
        else:
            self.in_order.call(tell)

    def _tell(self, job: Job, status: int, seconds: float, data: Any, buffers: Any) -> None:
        if status == wire.STOPPED:
            self._crew.stopped(job)
        elif status == wire.TIMED_OUT:
            self._crew.timed_out(job)
        elif status == wire.DIED:
            self._crew.lost(job, Lost(**wire.from_json(data)))
        else:
            self._crew.ended([job], [(status, seconds, data, buffers)])

    def lost(self, node: int, how: dict[str, Any], jobs: Iterable[Job]) -> None:
        """Tell of jobs that are lost with their node."""
        for job in jobs:
            self.forget(job)
            self.in_order.call(partial(self._crew.lost, job, _lost(how["why"], how["host"])))
        self._incoming.lose(node, how["why"])

    def stopped(self, jobs: Iterable[Job]) -> None:
        """Tell of jobs that nobody has any more."""
        for job in jobs:
            self.forget(job)
            self.in_order.call(partial(self._crew.stopped, job))

    def record(self, node: int, frames: list[Any]) -> None:
        """Have a log record handled."""
        self.in_order.handle(node, wire.NUMBER.unpack(frames[1])[0], frames[2])

    def output(self, frames: list[Any]) -> None:
        """Have written what a worker has."""
        about = wire.from_json(frames[1])
        if self._writing.put(about["worker"], bytes(frames[2]), error=about["error"]):
            self.in_order.put(self._writing.write)

    def event(self, node: int, frames: list[Any]) -> None:
        """Tell what became of a worker."""
        event = wire.from_json(frames[1])
        if event["what"] == "worker_started":
            name = event["worker"]
            self._names[node, int(name.rpartition("-")[2])] = name
        self.in_order.call(partial(self._tell_event, event))

    def _tell_event(self, event: dict[str, Any]) -> None:
        what = event["what"]
        if what == "worker_started":
            self._crew.worker_started(event["worker"])
        elif what == "worker_lost":
            self._crew.worker_lost(Lost(**event["lost"]), event["job"] or None)
        elif what == "unprepared":
            self._crew.unprepared(event["worker"], bytes.fromhex(event["error"]))
        elif what == "barren":
            self._crew.barren(event["why"])
        elif what == "waiting":
            # Handlers are users' code.
            self.in_order.put(partial(logger.warning, "%s", event["why"]))


def _lost(why: str, host: str | None = None) -> Lost:
    return Lost("", None, None, host=host, reason=NODE_LOST, why=why)


def _room(sizes: list[int]) -> list[memoryview]:
    return [memoryview(_memory(size) if size >= _LARGE else bytearray(size)) for size in sizes]


def _memory(size: int) -> mmap.mmap:
    """Return new memory of *size* bytes, none of which is touched yet.

    A bytearray is filled with zeros before anything can be asked for, and costs a page fault for
    every 4 KB; with both, 64 MB took a tenth longer there and back, encrypted.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # this kernel has none
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
