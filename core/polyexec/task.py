"""A Task: what an Executor hands to its backend, and how the backend reports its outcome."""

from __future__ import annotations

import time
from contextvars import copy_context
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

from polyexec._current import here
from polyexec._names import name_of
from polyexec._tracebacks import from_users_code
from polyexec.future import UNTRIED, Future
from polyexec.scheduling.job import ENDED, FAILED, LOST, NO_RETRIES, Job

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from polyexec.errors import WorkerLostError
    from polyexec.executor import Executor

__all__ = ["NO_OPTIONS", "Task", "TaskOptions", "start_all", "succeed_all"]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What `Executor.options` sets for the tasks submitted through it.

    *timeout*: seconds that one attempt may run, from its true start. *retries*: how often the
    task is run again after its worker was lost and, counted separately, after it raised one of
    *retry_exceptions*. *priority*: higher goes first. *resources*: what the worker must have.
    *name*: what the task is called in errors and hooks; the function's qualified name if None.
    """

    timeout: float | None = None
    retries: int = 0
    retry_exceptions: tuple[type[BaseException], ...] = ()
    priority: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None


#: Those of tasks that were submitted without any.
NO_OPTIONS = TaskOptions()


class _NoKeywords(dict[str, Any]):
    """The keywords of all calls without any: a dictionary for each would cost memory and time."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a task's keywords are not to be changed; wrap its function instead")

    if not TYPE_CHECKING:  # it is what those are to do
        __setitem__ = __ior__ = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()


NO_KEYWORDS: Mapping[str, Any] = _NoKeywords()


def _nothing() -> None:
    """Stand in for the function of a task that has ended."""


class Task(Job):
    """One accepted call, and the future that stands for its outcome.

    A backend that runs tasks in this process calls `run`, and is done. One that runs them
    elsewhere calls `start` when it learns that the task began, then one of `succeed`, `fail` and
    `lose`; `polyexec.serialization` turns the task into bytes and the outcome back. Each returns
    whether it counted: a task that was cancelled or has ended takes no second outcome.

    It is a Job as well, for backends that have a scheduler: to make another object of each would
    take a tenth of the time that a tiny task takes.
    """

    __slots__ = (
        "args",
        "context",
        "executor",
        "fn",
        "future",
        "kwargs",
        "options",
    )

    def __init__(
        self,
        executor: Executor,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions = NO_OPTIONS,
    ) -> None:
        self.executor: Executor = executor
        self.fn: Callable[..., Any] = fn
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs or NO_KEYWORDS
        self.options: TaskOptions = options
        # As Job does, but for what is set once it is queued.
        self.payload: Any = None
        self.priority: int = options.priority
        self.timeout: float | None = options.timeout
        self.retries: tuple[int, int, int] = NO_RETRIES
        if options.retries:
            self.retries = (options.retries, options.retries, options.retries)
        self.state: int = ENDED
        self.place: Any = None
        if executor.keeps_context:
            self.context: contextvars.Context = copy_context()
        name = options.name or (fn.__qualname__ if type(fn) is FunctionType else name_of(fn))
        self.future: Future[Any] = Future(self, name, time.time())

    @property
    def name(self) -> str:
        """The name given by `options(name=)`, else the function's qualified name."""
        return self.future.name or name_of(self.fn)

    def run(self, worker: str | None = None) -> None:
        """Run the task here and now, in its submitter's context variables; never raises."""
        outer, here.executor = here.executor, self.executor
        try:
            if not self.start(worker):
                here.executor = outer
                return
            if not hasattr(self, "context"):
                result = self.fn(*self.args, **self.kwargs)
            else:
                result = self.context.run(self.fn, *self.args, **self.kwargs)
        except BaseException as error:  # noqa: BLE001 - the border to the user's task
            here.executor = outer
            self.fail(error)
        else:
            here.executor = outer
            self.succeed(result)
            del result  # it may hold errors: those of a map's items
        # The frame of an error's traceback must not keep the task alive in a cycle.
        self = None  # type: ignore[assignment]  # noqa: PLW0642

    def start(self, worker: str | None = None) -> bool:
        """Mark the task as running on *worker*; return False if it was cancelled."""
        future = self.future
        if not future.set_running_or_notify_cancel():
            return False
        future._attempt = (worker, time.time(), future.attempts + 1)
        observers = self.executor._ledger.observers
        if observers is not None:
            observers.task_started(self)
        return True

    def unstart(self) -> None:
        """Take back a `start`: the task was handed to a worker, but that never began it."""
        future = self.future
        with future._lock:
            if future._state == "RUNNING":
                future._state = "PENDING"
                attempts = future.attempts - 1
                future._attempt = (None, None, attempts) if attempts else UNTRIED

    def succeed(self, result: Any) -> bool:
        """End the task with *result*."""
        return self.future._end(result, None)

    def arrive(self, load: Callable[[], Any]) -> bool:
        """End the task with what *load* returns, or raises.

        It is called in the thread that first asks for the outcome: unpickling runs users' code,
        which must not hold up a thread that other tasks need.
        """
        return self.future._end(None, None, load)

    def fail(self, error: BaseException) -> bool:
        """End the task with *error*, or run it again if its options ask for that."""
        if self.is_retryable(error) and self.spend_retry(FAILED):
            return self._retry(error)
        return self.end(error)

    def lose(self, error: WorkerLostError) -> bool:
        """End the task with *error*, for its worker is lost, or run it again if asked to."""
        if self.spend_retry(LOST):
            return self._retry(error)
        return self.end(error)

    def is_retryable(self, error: BaseException) -> bool:
        """Return whether *error* is one of those after which the task is to be run again."""
        return isinstance(error, self.options.retry_exceptions)

    def end(self, error: BaseException) -> bool:
        """End the task with *error*, for good; for backends that count retries themselves."""
        return self.future._end(None, error)

    def repeat(self, error: BaseException) -> bool:
        """Take note that the backend is about to run the task again, because of *error*.

        Returns False if the task has ended meanwhile, so that it must not.
        """
        future = self.future
        with future._lock:
            if future.done():
                return False
            future._state = "PENDING"
        observers = self.executor._ledger.observers
        if observers is not None:
            observers.task_retried(self, error)
        return True

    def cancel(self) -> bool:
        """End the task as cancelled, though it ran, for it was stopped; it is not run again."""
        return self.future._end_cancelled("PENDING", "RUNNING")

    def forget(self) -> None:
        """Drop the call, for the task has ended, though a queue may hold it for a while yet."""
        self.fn, self.args, self.kwargs = _nothing, (), NO_KEYWORDS

    def _retry(self, error: BaseException) -> bool:
        if not self.repeat(error):
            return False
        try:
            self.executor.accept(self)
        except BaseException as refusal:  # noqa: BLE001 - the backend's word, or the user's reducer
            refusal.__cause__ = error
            return self.end(from_users_code(refusal))
        return True


def start_all(tasks: list[Task], worker: str) -> None:
    """Do as `Task.start` for each of *tasks*, all of one executor, at the cost of few."""
    if tasks[0].executor._ledger.observers is not None:
        for task in tasks:
            task.start(worker)
        return
    first = (worker, time.time(), 1)
    others: list[Task] = []
    for task in tasks:
        future = task.future
        # See `future`: no calls here.
        if future._company is None and future._state == "PENDING" and future._attempt is UNTRIED:
            future._state = "RUNNING"
            future._attempt = first
        else:
            others.append(task)
    for task in others:
        task.start(worker)


def succeed_all(tasks: list[Task], results: list[Any]) -> None:
    """Do as `Task.succeed` for each of *tasks*, all of one executor, at the cost of few.

    They keep their arguments, which go with them: who calls is to let go of them.
    """
    ledger = tasks[0].executor._ledger
    if ledger.wants_ends:
        for task, result in zip(tasks, results, strict=True):
            task.succeed(result)
            task.payload = None
        return
    now = time.time()
    leave = ledger.unfinished.discard
    # Whoever waits is woken when the others are done: he would only be in the way, and wait again.
    others: list[tuple[Task, Any]] = []
    late: list[Future[Any]] = []
    for task, result in zip(tasks, results, strict=True):
        future = task.future
        if future._company is None and future._state == "RUNNING":  # so nobody waits; no calls
            future._result = result
            future.finished_at = now
            future._state = "FINISHED"
            if future._company is None:
                future._task = None
                leave(task)
            else:
                late.append(future)
        else:
            others.append((task, result))
    for future in late:
        future._end_late()
    for task, result in others:
        task.succeed(result)
    if ledger.refusing:
        ledger._see_to_the_end()
