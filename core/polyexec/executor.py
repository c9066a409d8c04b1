"""The Executor interface: what every backend offers, and the two methods that it must write."""

from __future__ import annotations

import abc
import concurrent.futures
import sys
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from polyexec import _exit
from polyexec._current import here
from polyexec._ledger import Ledger
from polyexec._mapping import MapMixin
from polyexec._observers import Observers, task_wrapper
from polyexec._tracebacks import from_users_code
from polyexec.arguments import need_callable, positive
from polyexec.capabilities import KILL_RUNNING
from polyexec.errors import RemoteTraceback
from polyexec.interrupts import Uninterrupted
from polyexec.options import OptionsView, TaskOptionsDict, checked_options
from polyexec.sharing import Shared
from polyexec.task import NO_OPTIONS, Task, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Unpack

    from polyexec.context import Context
    from polyexec.errors import BrokenExecutor, WorkerLostError
    from polyexec.future import Future

__all__ = ["Executor"]

P = ParamSpec("P")
T = TypeVar("T")


class Executor(MapMixin, concurrent.futures.Executor, abc.ABC):
    """Runs tasks on the workers of one context.

    A backend writes `accept` and `stop`; all else has a default here. The rules between the two:

    * `accept(task)` is called for each task, from any thread, by several at once, and, for a task
      that is run again, from the thread that reported its loss. It must not wait for the task.
    * Whatever happens to a task, one of `task.succeed`, `task.fail`, `task.lose` is called, or
      `task.run`, which calls them. An exception that leaves `accept` fails that task alone.
    * `stop(wait)` is called when no accepted task is left, so it has workers to end and no work.
      It may be called twice, first without and then with *wait*.
    * Only tasks may keep the executor alive: what its workers hold must not refer to it, or one
      that is dropped without `shutdown` is never collected.
    * What surrounds a task goes along. In this process `task.run` sees to it; to others
      `polyexec.surroundings` carries logging, warning filters, and the context variables that the
      option `propagate` of a backend's executors names.
    """

    #: Whether futures are completed on a thread that other tasks need, so that users' callbacks
    #: must run elsewhere. A backend whose workers complete their own task's future says False.
    needs_callback_thread: bool = True

    #: Whether `map` may put several items into one task. A backend that hands objects over
    #: within the process gains nothing by it, and items that wait for each other could not.
    adapts_chunks: bool = True

    #: Whether a task keeps its submitter's context variables, in which `Task.run` runs it. A
    #: backend that never calls that says False, and saves their copies.
    keeps_context: bool = True

    #: How many seconds of work `map` puts into one task, then: many times what a task costs, and
    #: no more, for the items of one task can't be shared out when some take longer than expected.
    chunk_seconds: float = 0.01

    #: What makes the root of a failed task's causes from its traceback, where that is text.
    remote_traceback: Callable[[str], BaseException] = RemoteTraceback

    def __init__(
        self, context: Context, max_workers: int | None = None, *, max_pending: int | None = None
    ) -> None:
        """Prepare for tasks of *context*; *max_pending* bounds accepted ones that have not ended.

        `submit` blocks while there are *max_pending* of them, except in a task or callback of this
        executor and on the thread of a running event loop, which must not block: use `asubmit`.
        """
        if max_workers is not None:
            max_workers = positive("max_workers", max_workers, "leave it out for the default")
        if max_pending is not None:
            max_pending = positive("max_pending", max_pending, "leave it out for no bound")
        self.context = context
        self._max_workers: int = max_workers or context.default_workers()
        self._ledger = Ledger(self, max_pending)

    # -- what a backend writes ---------------------------------------------------------------

    @abc.abstractmethod
    def accept(self, task: Task) -> None:
        """Take on *task* and see to it that it ends; must not wait for it."""

    @abc.abstractmethod
    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the one thing that there is to say
        """End the workers, for there are no more tasks; if *wait*, return once they have ended."""

    def start_workers(self) -> None:
        """Start all workers now, if the backend can; without this they may start on demand."""
        self._begin()

    def withdraw(self, task: Task) -> bool:  # noqa: ARG002 - for those who override it
        """Take back *task*, which is being cancelled; return False if it may have begun."""
        return True

    def cancel_running(self, task: Task) -> bool:
        """Stop *task*, which runs, and return True; it is ended as cancelled then."""
        raise self.context.lacks(KILL_RUNNING, f"cancel(running=True) of {task.name!r}")

    def terminate_workers(self) -> None:
        """Shut down without waiting, and terminate the workers; what ran ends as cancelled."""
        raise self.context.lacks(KILL_RUNNING, "terminate_workers()")

    def end_workers(self) -> None:
        """Do as `terminate_workers`, for a Pool; but workers that are idle may end in order.

        What their tasks have put in a queue, and its thread has still to write, is not lost then.
        """
        self.terminate_workers()

    def kill_workers(self) -> None:
        """Shut down without waiting, and kill the workers; what ran ends as cancelled."""
        raise self.context.lacks(KILL_RUNNING, "kill_workers()")

    # -- what a backend may tell ----------------------------------------------------------------

    def worker_started(self, worker: str) -> None:
        """Tell the observers that *worker* is ready."""
        if self._ledger.observers is not None:
            self._ledger.observers.worker_started(self, worker)

    def worker_lost(self, worker: str, error: WorkerLostError) -> None:
        """Tell the observers that *worker* died; each of its tasks is told by `Task.lose`."""
        if self._ledger.observers is not None:
            self._ledger.observers.worker_lost(self, worker, error)

    @property
    def crowded(self) -> bool:
        """Whether arguments of waiting tasks take so much memory that `map` had better wait."""
        return False

    @property
    def observed(self) -> bool:
        """Whether plugins' hooks are called for each task, by `Task.start` among others."""
        return self._ledger.observers is not None

    @property
    def busy(self) -> int:
        """How many workers the accepted tasks, and the callbacks of ended ones, could use."""
        return len(self._ledger.unfinished) + len(self._ledger.settling)

    def mark_broken(self, error: BrokenExecutor) -> None:
        """Fail every unfinished task, and refuse new ones, with a copy of *error* each."""
        for task in self._ledger.fail(error):
            task.future._end(None, self._ledger.copy_of_failure())

    # -- what users call ---------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)` and return the future of its outcome."""
        if not callable(fn):
            need_callable("submit()", fn)
        return self._launch(fn, args, kwargs, NO_OPTIONS)

    async def asubmit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do as `submit`, and where `max_pending` blocks that, wait without blocking the loop."""
        return await self._asubmit(fn, args, kwargs, NO_OPTIONS)

    def options(self, **options: Unpack[TaskOptionsDict]) -> OptionsView:
        """Return a light view of this executor that submits with these `TaskOptions`."""
        return OptionsView(self, checked_options(self.context, NO_OPTIONS, dict(options)))

    def share(self, obj: T) -> Shared[T]:
        """Return a handle for tasks' arguments: each worker gets *obj* once, not with each task.

        The workers must not change it. Raises UnpicklableError where they are other processes and
        *obj* can't be sent there.
        """
        return Shared(obj)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Refuse new tasks and, if *wait*, return once the accepted ones have ended.

        With *cancel_futures*, those that have not started are cancelled.
        """
        self._ledger.settle_maps(cancel=cancel_futures)
        self._ledger.end_left_over()
        unfinished = self._ledger.shut_down()
        for task in unfinished if cancel_futures else ():
            task.future.cancel()
        if wait and here.executor is self:
            raise RuntimeError(
                "shutdown(wait=True) within a task or callback of the same executor would wait for "
                "itself; the executor takes no more tasks, use wait=False here"
            )
        if self._ledger.drained(wait=wait):
            self._end_workers(wait=wait)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Ctrl-C must end the program now, not when the running tasks have ended; a coroutine that
        # is cancelled, by Ctrl-C or else, must not block its loop until then.
        interrupted = kind is not None and issubclass(kind, _interruptions())
        if interrupted:
            self._ledger.drops_at_exit = True  # though the program may catch it, and go on
        self.shutdown(wait=not interrupted, cancel_futures=interrupted)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._max_workers} workers on {self.context.name!r}>"

    def __del__(self) -> None:
        ledger = self.__dict__.get("_ledger")
        # One that was never begun has nothing to end, and may not be complete.
        if ledger is not None and ledger.begun and not ledger.shut:
            self.shutdown(wait=False)

    # -- what libraries look at ----------------------------------------------------------------

    @property
    def _broken(self) -> str | bool:
        return str(self._ledger.failure) if self._ledger.failure is not None else False

    @property
    def _shutdown(self) -> bool:
        return self._ledger.shut

    # -- how it is done ----------------------------------------------------------------------------

    def _mapped_by(self) -> Executor:
        return self

    def _submit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
    ) -> Future[T]:
        need_callable("submit()", fn)
        return self._launch(fn, args, kwargs, options)

    def _enter(self) -> None:
        """Take a place in the room; blocks until there is one, where that is allowed."""
        ledger = self._ledger
        assert ledger.room is not None
        if ledger.refuses():
            raise ledger.refusal()
        if here.executor is self or here.overdraws or _loop_runs_here():
            ledger.room.overdraw()
        else:
            ledger.room.acquire()

    async def _asubmit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
    ) -> Future[T]:
        need_callable("asubmit()", fn)
        ledger = self._ledger
        if ledger.room is not None:
            if ledger.refuses():
                raise ledger.refusal()
            await ledger.room.acquire_async()
        return self._launch(fn, args, kwargs, options, placed=True)

    def _launch(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
        *,
        placed: bool = False,
    ) -> Future[T]:
        """Accept one task; *placed* if a place in the room was taken for it."""
        ledger = self._ledger
        task = Task(self, fn, args, kwargs, options)
        future: Future[T] = task.future
        admitted = False
        try:
            if ledger.room is not None and not placed:
                with Uninterrupted():
                    self._enter()
                    placed = True
                future.submitted_at = time.time()
            if not ledger.begun:
                self._begin()
            ledger.unfinished.add(task)
            if ledger.refusing or _exit.exiting:
                ledger.reject_late()
            admitted = True
            if ledger.observers is not None:
                ledger.observers.task_submitted(task)
            if ledger.wrap is not None:
                task.fn = ledger.wrap(fn)
            self.accept(task)
        except BaseException as error:
            # What `accept` raises is this task's outcome; Ctrl-C, wherever it struck, is not.
            try:
                with Uninterrupted():
                    if admitted:
                        future._end(None, from_users_code(error))
                    else:
                        ledger.turn_away(task, placed=placed)
            except RecursionError:  # there is no room for that, either: who shuts down sees to it
                ledger.left_over.append(task)
                raise
            if not admitted or isinstance(error, KeyboardInterrupt):
                raise
            try:
                return future
            finally:
                del task, future  # the error leads to this frame
        return future

    def _begin(self) -> None:
        """Make ready for the first task, or the first worker."""
        ledger = self._ledger
        with ledger.lock:
            if not ledger.begun and not ledger.beginning:  # else a hook submits, within this
                ledger.beginning = True
                try:
                    _exit.finish_at_exit(self)
                    ledger.observers = Observers.of(self)
                    ledger.wrap = task_wrapper(self)
                    ledger.begun = True
                finally:
                    ledger.beginning = False

    def _task_ended(self, task: Task) -> None:
        """Forget *task*, whose future has ended and whose callbacks have run."""
        ledger = self._ledger
        try:
            if ledger.observers is not None:
                ledger.observers.task_finished(task)
        finally:
            ledger.ended(task)

    def _end_workers(self, *, wait: bool) -> None:
        ledger = self._ledger
        if ledger.abandoned:
            return
        self.stop(wait)
        with ledger.lock:
            first, ledger.stopped = not ledger.stopped, True
        if first and ledger.observers is not None:
            ledger.observers.executor_stopped(self)


def _loop_runs_here() -> bool:
    # It takes long to import, and most never need it; another thread may just be about to.
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return running is not None and running() is not None


def _interruptions() -> tuple[type[BaseException], ...]:
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", None)
    return (KeyboardInterrupt,) if cancelled is None else (KeyboardInterrupt, cancelled)
