"""The Executor interface: what every backend offers, and the two methods that it must write."""

from __future__ import annotations

import abc
import asyncio
import concurrent.futures
import copy
import threading
import weakref
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from polyexec import _exit
from polyexec._current import here
from polyexec._mapping import MapMixin
from polyexec._observers import Observers, task_wrapper
from polyexec._room import Room
from polyexec.arguments import need_callable, positive
from polyexec.capabilities import KILL_RUNNING
from polyexec.errors import BrokenExecutor, ExecutorShutdownError
from polyexec.options import OptionsView, TaskOptionsDict, checked_options
from polyexec.task import NO_OPTIONS, Task, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Unpack

    from polyexec._map import MapIterator
    from polyexec.context import Context
    from polyexec.errors import WorkerLostError
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
    """

    #: Whether futures are completed on a thread that other tasks need, so that users' callbacks
    #: must run elsewhere. A backend whose workers complete their own task's future says False.
    needs_callback_thread: bool = True

    #: Whether `map` may put several items into one task. A backend that hands objects over
    #: within the process gains nothing by it, and items that wait for each other could not.
    adapts_chunks: bool = True

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
        # Re-entrant: the collector may drop an unread map, which submits, within any of these.
        self._lock = threading.RLock()
        self._all_ended = threading.Condition(self._lock)
        self._unfinished: set[Task] = set()
        self._settling: set[Task] = set()
        self._maps: weakref.WeakSet[MapIterator[Any]] = weakref.WeakSet()
        self._room = Room(max_pending) if max_pending else None
        self._observers: Observers | None = None
        self._wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
        self._broken: str | bool = False
        self._failure: BrokenExecutor | None = None
        self._waiting = 0
        self._drops_at_exit = self._abandoned = False
        self._started = self._stopped = False
        self._shutdown = self._refusing = False

    # -- what a backend writes ---------------------------------------------------------------

    @abc.abstractmethod
    def accept(self, task: Task) -> None:
        """Take on *task* and see to it that it ends; must not wait for it."""

    @abc.abstractmethod
    def stop(self, wait: bool) -> None:  # noqa: FBT001 - always passed by name
        """End the workers, for there are no more tasks; if *wait*, return once they have ended."""

    def start_workers(self) -> None:
        """Start all workers now, if the backend can; without this they may start on demand."""
        self._start()

    def withdraw(self, task: Task) -> bool:  # noqa: ARG002 - for those who override it
        """Take back *task*, which is being cancelled; return False if it may have begun."""
        return True

    def cancel_running(self, task: Task) -> bool:
        """Stop *task*, which runs; return whether it ended as cancelled."""
        raise self.context.lacks(KILL_RUNNING, f"cancel(running=True) of {task.name!r}")

    def terminate_workers(self) -> None:
        """Stop all running tasks by terminating the workers, and shut down."""
        raise self.context.lacks(KILL_RUNNING, "terminate_workers()")

    def kill_workers(self) -> None:
        """Stop all running tasks by killing the workers, and shut down."""
        raise self.context.lacks(KILL_RUNNING, "kill_workers()")

    # -- what a backend may tell ----------------------------------------------------------------

    def worker_started(self, worker: str) -> None:
        """Tell the observers that *worker* is ready."""
        if self._observers is not None:
            self._observers.worker_started(self, worker)

    def worker_lost(self, worker: str, error: WorkerLostError) -> None:
        """Tell the observers that *worker* died; each of its tasks is told by `Task.lose`."""
        if self._observers is not None:
            self._observers.worker_lost(self, worker, error)

    @property
    def busy(self) -> int:
        """How many workers the accepted tasks, and the callbacks of ended ones, could use."""
        return len(self._unfinished) + len(self._settling)

    def mark_broken(self, error: BrokenExecutor) -> None:
        """Fail every unfinished task, and refuse new ones, with a copy of *error* each."""
        with self._lock:
            self._failure, self._broken, self._refusing = error, str(error), True
            unfinished = tuple(self._unfinished)
        for task in unfinished:
            task.future._end(None, self._copy_of_failure())

    # -- what users call ---------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)` and return the future of its outcome."""
        return self._submit(fn, args, kwargs, NO_OPTIONS)

    async def asubmit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do as `submit`, and where `max_pending` blocks that, wait without blocking the loop."""
        return await self._asubmit(fn, args, kwargs, NO_OPTIONS)

    def options(self, **options: Unpack[TaskOptionsDict]) -> OptionsView:
        """Return a light view of this executor that submits with these `TaskOptions`."""
        return OptionsView(self, checked_options(self.context, NO_OPTIONS, dict(options)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Refuse new tasks and, if *wait*, return once the accepted ones have ended.

        With *cancel_futures*, those that have not started are cancelled.
        """
        self._settle_maps(cancel=cancel_futures)
        with self._lock:
            self._shutdown = self._refusing = True
            pending = tuple(self._unfinished) if cancel_futures else ()
        for task in pending:
            task.future.cancel()
        if wait and here.executor is self:
            raise RuntimeError(
                "shutdown(wait=True) within a task or callback of the same executor would wait for "
                "itself; the executor takes no more tasks, use wait=False here"
            )
        if self._drained(wait=wait):
            self._stop(wait=wait)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Ctrl-C must end the program now, not when the running tasks have ended.
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.shutdown(wait=not interrupted, cancel_futures=interrupted)

    def __del__(self) -> None:
        if not self.__dict__.get("_shutdown", True):
            self.shutdown(wait=False)

    # -- how it is done ----------------------------------------------------------------------------

    @property
    def _pool(self) -> Executor:
        return self

    def _submit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
    ) -> Future[T]:
        if not callable(fn):
            need_callable("submit()", fn)
        if self._room is not None:
            self._take_place(self._room)
        return self._launch(fn, args, kwargs, options)

    async def _asubmit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
    ) -> Future[T]:
        need_callable("asubmit()", fn)
        if self._room is not None:
            if self._refusing:
                raise self._refusal()
            await self._room.acquire_async()
        return self._launch(fn, args, kwargs, options)

    def _take_place(self, room: Room) -> None:
        if self._refusing:
            raise self._refusal()
        if here.executor is self or here.overdraws or _loop_runs_here():
            room.overdraw()
        else:
            room.acquire()

    def _launch(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
    ) -> Future[T]:
        """Accept one task; a place in the room, where there is one, was taken for it."""
        task = Task(self, fn, args, kwargs, options)
        future: Future[T] = task.future
        admitted = False
        try:
            self._admit(task)
            admitted = True
            if self._observers is not None:
                self._observers.task_submitted(task)
            if self._wrap is not None:
                task.fn = self._wrap(fn)
            self.accept(task)
        except BaseException as error:
            # What `accept` raises is this task's outcome; Ctrl-C, wherever it struck, goes on.
            if admitted:
                future._end(None, error)
            else:
                self._turn_away(task)
            if not admitted or not isinstance(error, Exception):
                raise
        return future

    # Neither accepting nor ending a task takes the executor's lock. It is enough that both change
    # a set and then read `_refusing`, while `shutdown` sets `_refusing` and then reads the sets: a
    # set's operations exclude each other, by the GIL or by the set's own lock, so either the
    # submitter or worker sees the flag, or `shutdown` sees what it did to the set.

    def _admit(self, task: Task) -> None:
        """Count *task* among the unfinished, or raise because it comes too late."""
        if not self._started:
            self._start()
        self._unfinished.add(task)
        if self._refusing or _exit.exiting:
            raise self._refusal()

    def _turn_away(self, task: Task) -> None:
        self._unfinished.discard(task)
        if self._room is not None:
            self._room.release()
        self._check_end()

    def _refusal(self) -> Exception:
        if self._failure is not None:
            return self._copy_of_failure()
        if _exit.exiting:
            return RuntimeError("cannot schedule new futures after interpreter shutdown")
        return ExecutorShutdownError(
            "cannot schedule new futures after shutdown; make a new executor for them"
        )

    def _start(self) -> None:
        """Make ready for the first task, or the first worker."""
        with self._lock:
            if not self._started:
                _exit.finish_at_exit(self)
                self._observers = Observers.of(self)
                self._wrap = task_wrapper(self)
                self._started = True

    def _leave(self, task: Task, *, settling: bool) -> None:
        """Forget *task*, whose future has its final state, but for its callbacks if *settling*."""
        if settling or self._observers is not None:
            self._settling.add(task)
        self._unfinished.discard(task)

    def _task_ended(self, task: Task) -> None:
        """Forget *task*, whose future has ended and whose callbacks have run."""
        try:
            if self._observers is not None:
                self._observers.task_finished(task)
        finally:
            self._settling.discard(task)
            if self._room is not None:
                self._room.release()
            if self._refusing:
                self._check_end()

    def _check_end(self) -> None:
        """Tell those who wait for the last task, or do their work if nobody does."""
        with self._lock:
            drained = self._shutdown and not self._unfinished and not self._settling
            if drained:
                self._all_ended.notify_all()
            unattended = drained and not self._waiting
        if unattended:
            self._stop(wait=False)

    def _drained(self, *, wait: bool) -> bool:
        """Return whether no task is left, which with *wait* is only a matter of time."""
        with self._lock:
            self._waiting += wait
            try:
                while wait and (self._unfinished or self._settling):
                    self._all_ended.wait()
            finally:
                self._waiting -= wait
            return not self._unfinished and not self._settling

    def _stop(self, *, wait: bool) -> None:
        if self._abandoned:
            return
        self.stop(wait)
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first and self._observers is not None:
            self._observers.executor_stopped(self)

    def _add_map(self, results: MapIterator[Any]) -> None:
        with self._lock:
            self._maps.add(results)

    def _settle_maps(self, *, cancel: bool) -> None:
        """Submit what live maps have not pulled yet, or cancel it."""
        with self._lock:
            maps = list(self._maps)
        for results in maps:
            results.cancel() if cancel else results.drain()

    def _abandon(self) -> None:
        """Make this copy of a parent's executor unusable in a forked child, and its waits end."""
        self._lock = threading.RLock()  # another thread of the parent may hold the old one
        self._all_ended = threading.Condition(self._lock)
        self._failure = BrokenExecutor(
            "this executor was made before os.fork() and its workers belong to the parent; "
            "make a new one in the child"
        )
        self._broken, self._refusing = str(self._failure), True
        self._shutdown = self._abandoned = True
        self._room = None
        self._maps = weakref.WeakSet()
        for task in tuple(self._unfinished):
            task.future._abandon(self._copy_of_failure())
        self._unfinished.clear()
        self._settling.clear()

    def _copy_of_failure(self) -> BrokenExecutor:
        # One shared instance would gather the traceback of everybody who raises it.
        failure = copy.copy(self._failure)
        assert failure is not None
        failure.__cause__ = self._failure.__cause__ if self._failure else None
        return failure


def _loop_runs_here() -> bool:
    return asyncio._get_running_loop() is not None
