"""Runs tasks in processes, each in one worker at a time, on the local pool."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import multiprocessing.process
import os
import pickle
import signal
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from polyexec import Executor
from polyexec.arguments import reject_unknown
from polyexec.cpus import allowed_cpus, usable_cpus
from polyexec.serialization import Destination, Inheritance
from polyexec.surroundings import Surroundings
from polyexec_process._birth import Birth
from polyexec_process._births import Births
from polyexec_process._crew import Crew, settle
from polyexec_process._inherit import dumps_for_heir
from polyexec_process._nursery import current_directory
from polyexec_process._pool import LocalPool
from polyexec_process._settings import Settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from polyexec import Context, Task
    from polyexec.sharing import Shared
    from polyexec_process._client import Engine
    from polyexec_process._context import ProcessContext

T = TypeVar("T")

#: How many seconds idle workers have to end in order, where others are stopped.
_GRACE: Final = 1.0

if TYPE_CHECKING:

    class _Standard:
        """Nothing: our attributes are not of the types that ProcessPoolExecutor's have."""

else:
    _Standard = concurrent.futures.ProcessPoolExecutor


class ProcessExecutor(Executor, _Standard):
    """An executor on processes; a ProcessPoolExecutor to those who check.

    *initializer*, *initargs*: called in each worker before its first task. *max_tasks_per_child*:
    how many tasks a worker runs before it is replaced; *max_memory_per_child*: how many bytes of
    memory it may hold after a task. *idle_timeout*: after how many seconds without work a worker
    ends. What one of these ends waits for its threads, child processes and exit hooks, as at
    `shutdown`; but after a second another takes its place, and after ten it is killed. *env*:
    environment variables of the workers, set before they import anything of their own.
    *on_worker_lost*: "replace" it, or "break" the executor as ProcessPoolExecutor does.
    *propagate*: the context variables, each a variable of a module, whose values tasks see as they
    were where they were submitted.
    """

    chunk_seconds = 0.001
    keeps_context = False
    #: Whether the workers are on this machine.
    is_local: bool = True

    #: The names of its options.
    takes: tuple[str, ...] = (
        "env",
        "idle_timeout",
        "initargs",
        "initializer",
        "max_memory_per_child",
        "max_pending",
        "max_tasks_per_child",
        "on_worker_lost",
        "propagate",
    )

    def __init__(self, context: Context, max_workers: int | None = None, **options: Any) -> None:
        reject_unknown(f"Executor() of context {context.name!r}", options, self.takes)
        settings = Settings.of(options)
        super().__init__(context, max_workers, max_pending=options.get("max_pending"))
        self.remote_traceback = _remote_traceback
        self.destination: Destination = Destination(is_local=self.is_local)
        self._crew = Crew(self, breaks=settings.breaks, propagation=settings.propagation)
        self._pool = self._crew.pool = self._open_pool(settings)
        self._is_told = False
        self._inherits = context.name == "fork"

    def _open_pool(self, settings: Settings) -> Engine:
        """Return what runs the jobs."""
        context: Any = self.context
        share = 1
        if self._max_workers < allowed_cpus():  # else no file need be read for it
            share = max(usable_cpus() // self._max_workers, 1)
        return LocalPool(
            self._max_workers,
            self._crew,
            _births(context, settings, share, weakref.ref(self.destination)),
            _prepare(context, settings, share),
            f"{type(context).__name__.removesuffix('Context')}Process",
            all_at_once=context.name == "fork",
            max_tasks=settings.max_tasks,
            max_memory=settings.max_memory,
            idle_timeout=settings.idle_timeout,
        )

    def accept(self, task: Task) -> None:
        """Send *task* to a worker that is free, or queue it."""
        pool = self._pool
        if not self._is_told and self._inherits:
            pool.want_worker()  # first, for what that one inherits is not sent
        try:
            self._crew.make_job(task)
        except BaseException:
            pool.want_worker()  # as for a task whose arguments can be sent
            raise
        if not self._is_told:
            self._is_told = True
            pool.observed = self.observed  # which is known by the first task
        pool.submit(task)

    def withdraw(self, task: Task) -> bool:
        """Take back *task*, unless a worker has it."""
        if task.payload is None or not self._pool.withdraw(task):
            return False
        settle(task)
        return True

    def cancel_running(self, task: Task) -> bool:
        """Kill the worker that runs *task*; return whether that is what ended it."""
        return task.payload is not None and self._pool.kill(task)

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """End the workers."""
        self._pool.stop()
        self._crew.packer.close()
        self.destination.forget()
        if wait:
            self._pool.join()

    def start_workers(self) -> None:
        """Start all workers."""
        super().start_workers()
        self._pool.start_workers()

    def terminate_workers(self) -> None:
        """Shut down without waiting, and terminate the workers; what ran ends as cancelled."""
        self.shutdown(wait=False, cancel_futures=True)
        self._pool.terminate(signal.SIGTERM)

    def end_workers(self) -> None:
        """Do as `terminate_workers`, for a Pool; but idle workers have a second to end in order."""
        self.shutdown(wait=False, cancel_futures=True)
        self._pool.terminate(signal.SIGTERM, _GRACE)

    def kill_workers(self) -> None:
        """Shut down without waiting, and kill the workers; what ran ends as cancelled."""
        self.shutdown(wait=False, cancel_futures=True)
        self._pool.terminate(signal.SIGKILL)

    def share(self, obj: T) -> Shared[T]:
        """Return a handle for tasks' arguments: each worker gets *obj* once, not with each task.

        It is pickled now, and its large buffers are read-only in the workers, which all see the
        same memory. Raises UnpicklableError if it can't be sent.
        """
        return self._crew.packer.share(obj)

    def workers(self) -> list[dict[str, Any]]:
        """Return, for each worker, its name, pid, state, task, tasks done and memory in bytes."""
        return self._pool.describe()

    @property
    def crowded(self) -> bool:
        """Whether tasks with large arguments wait."""
        return self._crew.packer.crowded

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers by pid, which people read; waits for those that are being started."""
        return self._pool.processes()

    @property
    def _executor_manager_thread(self) -> threading.Thread | None:
        pool: Any = self._pool
        thread: threading.Thread | None = pool.reactor.thread
        return thread

    @property
    def _call_queue(self) -> Any:
        """Something that has ended once the workers have."""
        return self._pool


def _remote_traceback(text: str) -> BaseException:
    module: Any = concurrent.futures.process
    root: BaseException = module._RemoteTraceback(f'\n"""\n{text}"""')
    return root


def _births(
    context: ProcessContext, settings: Settings, share: int, known: weakref.ref[Destination]
) -> Callable[[threading.Thread | None], Births]:
    bound = settings.initialize if settings.initializer is not None else None

    def start(waiting: threading.Thread | None) -> Births:
        destination = known()
        if context.name == "fork" and destination is not None:
            destination.inheritance = Inheritance()
        return Births(context.name, bound, settings.env, context.preload, share, waiting=waiting)

    return start


def _prepare(context: ProcessContext, settings: Settings, share: int) -> Callable[[str], bytes]:
    """Return what makes the first message for a worker of a given name."""
    method = context.name

    def prepare(name: str) -> bytes:
        return pickle.dumps(birth(settings, name, method, share))

    return prepare


def birth(settings: Settings, name: str, method: str, cpus: int) -> Birth:
    """Return what a worker is told first."""
    forked = method == "fork"
    bound = None if settings.initializer is None else (settings.initializer, settings.initargs)
    current = multiprocessing.process.current_process()
    return Birth(
        name,
        method,
        os.getpid(),
        current.name,
        bytes(current.authkey),
        cpus,
        Surroundings.capture(inherited=forked),
        None if forked or bound is None else dumps_for_heir(bound),
        argv=() if forked else tuple(sys.argv),
        directory=None if forked else current_directory(),
    )
