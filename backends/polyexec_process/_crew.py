"""The executor's side of the pool: turns tasks into jobs, and answers into outcomes."""

from __future__ import annotations

import concurrent.futures.process
import itertools
import signal
import socket
import weakref
from typing import TYPE_CHECKING

from polyexec import InitializerError, TaskTimeoutError, UnpicklableError, WorkerLostError
from polyexec.scheduling import Job
from polyexec.serialization import FunctionTable, dumps, loads, loads_exception
from polyexec_process._frames import NONE, UNREADABLE, VALUE
from polyexec_process._link import FUNCTION_BYTES

if TYPE_CHECKING:
    from polyexec import Task
    from polyexec.surroundings import Propagation
    from polyexec_process._client import Lost
    from polyexec_process._executor import ProcessExecutor
    from polyexec_process._link import Answer
    from polyexec_process._pool import LocalPool


NO_ARGUMENTS = dumps(((), {}))


class Crew:
    """The pool's client: turns tasks into jobs, and answers into outcomes.

    It refers to the executor but weakly; only tasks may keep that alive.
    """

    def __init__(
        self, executor: ProcessExecutor, *, breaks: bool, propagation: Propagation | None = None
    ) -> None:
        self._executor = weakref.ref(executor)
        self._breaks = breaks
        self._propagation = propagation
        self._table = FunctionTable() if propagation is None else propagation.table()
        #: The number of each function that was sent lately, and how many bytes those have.
        self._numbers: dict[bytes, tuple[int, int]] = {}
        self._bytes = 0
        self._count = itertools.count(1)
        #: The number of each callable that must be sent with every task, by its type.
        self._kinds: dict[type, int] = {}
        self.pool: LocalPool

    def job(self, task: Task) -> Job:
        """Return *task* as a job."""
        encoded = self._table.encode(task.fn)
        digest = encoded.digest
        options = task.options
        fn, args, kwargs = task.fn, task.args, task.kwargs
        if self._propagation is not None:
            fn = self._propagation.bearer(fn)
            args = (self._propagation.values(task.context), *args)
        if digest is None:
            kind = self._kinds.setdefault(type(task.fn), -1 - len(self._kinds))
            payload = dumps((fn, args, kwargs))
        else:
            known = self._numbers.get(digest)
            kind = known[0] if known is not None else self._number(digest, len(encoded.data))
            payload = dumps((args, kwargs)) if args or kwargs else NO_ARGUMENTS
        return Job(kind, (encoded.data, payload), task, options.priority, options.timeout)

    def _number(self, digest: bytes, size: int) -> int:
        # A function that was forgotten, or that two threads bring at once, has two numbers, and is
        # sent twice: that does no harm.
        number = next(self._count)
        self._numbers[digest] = (number, size)
        self._bytes += size
        while self._bytes > FUNCTION_BYTES and len(self._numbers) > 1:
            self._bytes -= self._numbers.pop(next(iter(self._numbers)))[1]
        return number

    # -- what the pool tells ---------------------------------------------------------------------

    def started(self, jobs: list[Job], worker: str) -> None:
        for job in jobs:
            job.owner.start(worker)

    def unstarted(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.owner.unstart()

    def ended(self, job: Job, answer: Answer) -> None:
        task = released(job)
        status, _, data = answer
        if status == NONE:
            task.succeed(None)
        elif status == VALUE:
            try:
                result = loads(data)
            except BaseException as error:  # noqa: BLE001 - the user's code, run while unpickling
                unreadable = UnpicklableError(
                    f"the result of {task.name!r} arrived but can't be unpickled here: "
                    f"{safe_repr(error)}; return what unpickles in the submitting process"
                )
                unreadable.__cause__ = error
                if self._breaks:
                    self._break(unreadable)
                task.fail(unreadable)
            else:
                task.succeed(result)
        else:
            failure = loads_exception(data, task.executor.remote_traceback)
            if status == UNREADABLE and self._breaks:
                self._break(failure)
            task.fail(failure)

    def lost(self, job: Job, lost: Lost) -> None:
        task = released(job)
        attempts = task.future.attempts
        error = WorkerLostError(
            f"{lost} while running {task.name!r} (attempt {attempts} of "
            f"{task.options.retries + 1}); use options(retries=) to have it run again"
            + (f"\n\n{lost.dump}" if lost.dump else ""),
            pid=lost.pid,
            exitcode=lost.exitcode,
            host=socket.gethostname(),
            task=task.name,
            attempts=attempts,
            dump=lost.dump,
        )
        if self._breaks:
            self._break(error)
        task.lose(error)

    def timed_out(self, job: Job) -> None:
        task = released(job)
        task.fail(
            TaskTimeoutError(
                f"{task.name!r} ran longer than its timeout of {task.options.timeout:g} seconds "
                "and was stopped; give it more, or do less in it"
            )
        )

    def stopped(self, job: Job) -> None:
        released(job).cancel()

    def worker_started(self, worker: str) -> None:
        executor = self._executor()
        if executor is not None:
            executor.worker_started(worker)

    def worker_lost(self, lost: Lost, job: Job | None) -> None:
        executor = self._executor()
        if executor is None:
            return
        doing = "while it was idle" if job is None else "while running a task"
        error = WorkerLostError(
            f"{lost} {doing}", pid=lost.pid, exitcode=lost.exitcode, dump=lost.dump
        )
        executor.worker_lost(lost.worker, error)
        if self._breaks:
            self._break(error)

    def unprepared(self, worker: str, error: bytes) -> None:
        executor = self._executor()
        self.pool.terminate(signal.SIGKILL)
        if executor is None:
            return
        cause = loads_exception(error, executor.remote_traceback)
        failure = BrokenInitializerError(
            f"the initializer of {worker!r} failed with {safe_repr(cause)}, so the executor is not "
            "usable any more; mend it and make a new one"
        )
        failure.__cause__ = cause
        executor.mark_broken(failure)

    def barren(self, why: str) -> None:
        executor = self._executor()
        self.pool.terminate(signal.SIGKILL)
        if executor is not None:
            executor.mark_broken(
                concurrent.futures.process.BrokenProcessPool(
                    f"no more workers can be had, for {why}; make a new executor"
                )
            )

    def _break(self, error: BaseException) -> None:
        executor = self._executor()
        self.pool.terminate(signal.SIGTERM)
        if executor is not None:
            failure = concurrent.futures.process.BrokenProcessPool(
                f"{error}; with on_worker_lost='break' that ends the executor: make a new one"
            )
            failure.__cause__ = error
            executor.mark_broken(failure)


def safe_repr(error: BaseException) -> str:
    """Return what *error* says of itself, or what kind it is, for its code is the user's."""
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - the user's __repr__
        return object.__repr__(error)


def released(job: Job) -> Task:
    """Return the task of *job*, which has ended: its future must not keep the executor alive."""
    task: Task = job.owner
    job.owner = job.payload = None
    return task


class BrokenInitializerError(InitializerError, concurrent.futures.process.BrokenProcessPool):
    """Raised when a worker's initializer failed, which leaves its executor unusable."""
