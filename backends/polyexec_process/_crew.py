"""The executor's side of the pool: turns tasks into jobs, and answers into outcomes."""

from __future__ import annotations

import concurrent.futures.process
import itertools
import operator
import pickle
import signal
import socket
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from polyexec import InitializerError, TaskTimeoutError, UnpicklableError, WorkerLostError
from polyexec.scheduling import FAILED
from polyexec.serialization import FunctionTable, bound_for, loads, loads_exception
from polyexec.serialization.uses import hold
from polyexec.task import start_all, succeed_all
from polyexec_process._frames import NONE, PLAIN_VALUE, UNREADABLE, VALUE
from polyexec_process._packer import Packer
from polyexec_process._parcels import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec import BrokenExecutor, Task
    from polyexec.serialization.uses import UsesRef
    from polyexec.surroundings import Propagation
    from polyexec_process._answers import Answer
    from polyexec_process._client import Engine, Lost
    from polyexec_process._executor import ProcessExecutor
    from polyexec_process._packer import Call
    from polyexec_process._parcels import Blob


#: How a call without arguments is sent.
NO_ARGUMENTS: Final = b""

#: What stands in an answer that brings a result at once.
_PLAIN: Final = frozenset({NONE, PLAIN_VALUE})
_status = operator.itemgetter(0)

#: Of how many functions the number is kept once they are gone.
MOST_NUMBERS: Final = 4096

#: What a worker is to have of a call: its function, its arguments, what those refer to.
Payload: TypeAlias = "tuple[bytes, Call, list[Blob] | None]"
#: A function, its number, the payload of a call of it without arguments, and what it uses.
Known: TypeAlias = "tuple[weakref.ref[Any], int, Payload, UsesRef | None]"


class Crew:
    """The pool's client: turns tasks into jobs, and answers into outcomes.

    It refers to the executor but weakly; only tasks may keep that alive. So it does to where the
    workers are, for what those inherited may lead to the executor.
    """

    def __init__(
        self, executor: ProcessExecutor, *, breaks: bool, propagation: Propagation | None = None
    ) -> None:
        self._destination = weakref.ref(executor.destination)
        self._executor = weakref.ref(executor)
        self._breaks = breaks
        self._propagation = propagation
        self._table = FunctionTable() if propagation is None else propagation.table()
        #: The number of each function, by digest, and of those that live still, by identity.
        self._numbers: dict[bytes, int] = {}
        self._recent: dict[int, Known] = {}
        self._count = itertools.count(1)
        #: The number of each callable that must be sent with every task, by its type.
        self._kinds: dict[type, int] = {}
        self.packer: Packer = Packer(self._destination)
        self.pool: Engine

    def make_job(self, task: Task) -> None:
        """Give *task* what the pool is to have of it."""
        fn, args, kwargs = task.fn, task.args, task.kwargs
        recent = self._recent.get(id(fn))
        if (
            recent is None
            or recent[0]() is not fn
            or (recent[3] is not None and not hold(recent[3]))
        ):
            recent = self._recall(fn)
        if self._propagation is not None:
            fn = self._propagation.bearer(fn)
            args = (self._propagation.values(copy_context()), *args)
        if recent is not None:
            _, kind, payload, _ = recent
            if args or kwargs:
                payload = (payload[0], *self.packer.arguments(args, kwargs or {}))
        else:
            kind = self._kinds.setdefault(type(task.fn), -1 - len(self._kinds))
            payload = (b"", *self.packer.bound_call(fn, args, kwargs or {}))
        task.kind, task.payload = kind, payload

    def _recall(self, fn: Callable[..., Any]) -> Known | None:
        """Return what is known of *fn*, None if it must be sent with each task."""
        destination = self._destination()
        assert destination is not None  # the task keeps it
        kept = bound_for(destination, self._table.keep, fn)
        if kept is None:
            return None
        digest, function, uses = kept
        assert digest is not None
        kind = self._numbers.get(digest)
        if kind is None:
            while len(self._numbers) >= MOST_NUMBERS:
                self._numbers.pop(next(iter(self._numbers)), None)
            # Two threads that bring it at once may give it two numbers, which does no harm.
            kind = self._numbers[digest] = next(self._count)
        recent, key = self._recent, id(fn)
        payload = (function, NO_ARGUMENTS, None)
        known = (weakref.ref(fn, lambda _: recent.pop(key, None)), kind, payload, uses)
        self._recent[key] = known
        return known

    # -- what the pool tells ---------------------------------------------------------------------

    def started(self, jobs: list[Any], worker: str) -> None:
        start_all(jobs, worker)

    def moved(self, job: Any, worker: str) -> None:
        """Take note that a job which was started is on *worker*, after all."""
        job.future.worker = worker

    def unstarted(self, jobs: list[Any]) -> None:
        for task in jobs:
            task.unstart()

    def ended(self, jobs: list[Any], answers: list[Answer]) -> None:
        if not self.packer.has_parcels and _PLAIN.issuperset(map(_status, answers)):
            _succeed(jobs, answers)
            return
        tasks: list[Task] = []
        plain: list[Answer] = []
        for task, answer in zip(jobs, answers, strict=True):
            if answer[0] in _PLAIN:
                tasks.append(task)
                plain.append(answer)
                if type(task.payload[1]) is Parcel:
                    task.payload[1].settle()
                continue
            _succeed(tasks, plain)
            tasks, plain = [], []
            self._ended(task, answer)
        _succeed(tasks, plain)

    def _ended(self, task: Task, answer: Answer) -> None:
        status, _, data, _ = answer
        if status == VALUE:
            self._arrived(task, answer)
        else:
            failure = loads_exception(bytes(data), task.executor.remote_traceback)
            if status == UNREADABLE and self._breaks:
                self._break(failure)
            self._failed(task, failure)

    def _arrived(self, task: Task, answer: Answer) -> None:
        settle(task)
        destination = self._destination()
        unread = Unread(task.name, answer, None if destination is None else destination.kinds)
        if not self._breaks:
            task.arrive(unread)
            return
        try:
            result = unread()
        except BaseException as error:  # noqa: BLE001 - the user's code
            self._break(error)
            task.end(error)
        else:
            task.succeed(result)

    def _failed(self, task: Task, error: BaseException) -> None:
        if not (task.is_retryable(error) and self._repeated(task, FAILED, error)):
            settle(task)
            task.end(error)

    def _repeated(self, task: Task, reason: int, error: BaseException) -> bool:
        """Have *task* run again, if it may be."""
        if not (self.pool.may_repeat(task, reason) and task.repeat(error)):
            return False
        try:
            self.pool.submit(task)
        except Exception as refusal:  # noqa: BLE001 - no worker can be had, for the user's initargs, say
            refusal.__cause__ = error
            settle(task)
            task.end(refusal)
        return True

    def lost(self, job: Any, lost: Lost) -> None:
        task: Task = job
        attempts, most = task.future.attempts, task.options.retries + 1
        error = WorkerLostError(
            f"{lost} while running {task.name!r} (attempt {attempts} of {most}); "
            "use options(retries=) to have it run again"
            + (f"\n\n{lost.dump}" if lost.dump else ""),
            pid=lost.pid,
            exitcode=lost.exitcode,
            host=lost.host or socket.gethostname(),
            task=task.name,
            attempts=attempts,
            dump=lost.dump,
        )
        if self._breaks:
            self._break(error)
        if not self._repeated(task, lost.reason, error):
            settle(task)
            task.end(error)

    def timed_out(self, job: Any) -> None:
        task: Task = job
        self._failed(
            task,
            TaskTimeoutError(
                f"{task.name!r} ran longer than its timeout of {task.options.timeout:g} seconds "
                "and was stopped; give it more, or do less in it"
            ),
        )

    def stopped(self, job: Any) -> None:
        task: Task = job
        settle(task)
        task.cancel()  # unless somebody has told before, as Ctrl-C kept others from it

    def worker_started(self, worker: str) -> None:
        executor = self._executor()
        if executor is not None:
            executor.worker_started(worker)

    def worker_lost(self, lost: Lost, job: Any) -> None:
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
        if executor is not None:
            cause = loads_exception(error, executor.remote_traceback)
            failure = BrokenInitializerError(
                f"the initializer of {worker!r} failed with {safe_repr(cause)}, so the executor is "
                "not usable any more; mend it and make a new one"
            )
            failure.__cause__ = cause
            executor.mark_broken(failure)
        self.pool.terminate(signal.SIGKILL)

    def barren(self, why: str) -> None:
        executor = self._executor()
        if executor is not None:
            executor.mark_broken(
                concurrent.futures.process.BrokenProcessPool(
                    f"no more workers can be had, for {why}; make a new executor"
                )
            )
        # Only now, for what this ends has not been stopped because somebody asked for that.
        self.pool.terminate(signal.SIGKILL)

    def broken(self, error: BrokenExecutor) -> None:
        """Take note that the engine is lost, with all that it had."""
        executor = self._executor()
        if executor is not None:
            executor.mark_broken(error)

    def _break(self, error: BaseException) -> None:
        executor = self._executor()
        if executor is not None:
            failure = concurrent.futures.process.BrokenProcessPool(
                f"{error}; with on_worker_lost='break' that ends the executor: make a new one"
            )
            failure.__cause__ = error
            executor.mark_broken(failure)
        self.pool.terminate(signal.SIGTERM)


def _succeed(tasks: list[Task], answers: list[Answer]) -> None:
    """End *tasks* with the results in *answers*, of types whose pickles are no code's business."""
    if tasks:
        load = pickle.loads
        succeed_all(tasks, [None if each[0] == NONE else load(each[2]) for each in answers])


class Unread:
    """A result that nobody has asked for yet."""

    __slots__ = ("_answer", "_kinds", "_name")

    def __init__(self, name: str, answer: Answer, kinds: object) -> None:
        self._name = name
        self._answer = answer
        #: The classes that it may refer to, though the executor is gone.
        self._kinds = kinds

    def __call__(self) -> Any:
        """Return it, or raise UnpicklableError."""
        try:
            _, _, data, buffers = self._answer
            return loads(data, buffers)
        except KeyboardInterrupt:
            raise  # the asking thread's
        except BaseException as error:  # the user's code, run while unpickling
            raise UnpicklableError(
                f"the result of {self._name!r} arrived but can't be unpickled here: "
                f"{safe_repr(error)}; return what unpickles in the submitting process"
            ) from error


def safe_repr(error: BaseException) -> str:
    """Return what *error* says of itself, or what kind it is, for its code is the user's."""
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - the user's __repr__
        return object.__repr__(error)


def settle(task: Task) -> None:
    """Let go of what was sent for *task*, which has ended."""
    payload = task.payload
    task.payload = None
    if payload is not None and type(payload[1]) is Parcel:
        payload[1].settle()


class BrokenInitializerError(InitializerError, concurrent.futures.process.BrokenProcessPool):
    """Raised when a worker's initializer failed, which leaves its executor unusable."""
