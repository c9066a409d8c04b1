"""Runs tasks in processes, each in one worker at a time, on the local pool."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import multiprocessing.process
import os
import pickle
import signal
import socket
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from polyexec import Executor, InitializerError, TaskTimeoutError, UnpicklableError, WorkerLostError
from polyexec.arguments import need_callable, positive, reject_unknown
from polyexec.context import usable_cpus
from polyexec.scheduling import Job
from polyexec.serialization import FunctionTable, dumps, loads, loads_exception
from polyexec_process._birth import Birth
from polyexec_process._births import Births
from polyexec_process._frames import NONE, UNREADABLE, VALUE
from polyexec_process._inherit import dumps_for_heir
from polyexec_process._pool import LocalPool, Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polyexec import Task
    from polyexec_process._context import ProcessContext
    from polyexec_process._link import Answer

_OPTIONS = (
    "env",
    "idle_timeout",
    "initargs",
    "initializer",
    "max_memory_per_child",
    "max_pending",
    "max_tasks_per_child",
    "on_worker_lost",
)


class _Crew:
    """The pool's client: turns tasks into jobs, and answers into outcomes.

    It refers to the executor but weakly; only tasks may keep that alive.
    """

    def __init__(self, executor: ProcessExecutor, *, breaks: bool) -> None:
        self._executor = weakref.ref(executor)
        self._breaks = breaks
        self._table = FunctionTable()
        self._numbers: dict[bytes, int] = {}
        self._functions: list[bytes] = [b""]
        #: The number of each callable that must be sent with every task, by its type.
        self._kinds: dict[type, int] = {}
        self.pool: LocalPool

    def job(self, task: Task) -> Job:
        """Return *task* as a job."""
        encoded = self._table.encode(task.fn)
        digest = encoded.digest
        options = task.options
        if digest is None:
            kind = self._kinds.setdefault(type(task.fn), -1 - len(self._kinds))
            payload = dumps((task.fn, task.args, task.kwargs))
        else:
            known = self._numbers.get(digest)
            kind = self._number(digest, encoded.data) if known is None else known
            payload = dumps((task.args, task.kwargs))
        return Job(kind, payload, task, options.priority, options.timeout)

    def _number(self, digest: bytes, data: bytes) -> int:
        # Two threads may both come here with one function; two numbers for it do no harm.
        self._functions.append(data)
        number = self._numbers[digest] = len(self._functions) - 1
        return number

    # -- what the pool tells ---------------------------------------------------------------------

    def functions(self, number: int) -> bytes:
        return self._functions[number]

    def started(self, jobs: list[Job], worker: str) -> None:
        for job in jobs:
            job.owner.start(worker)

    def unstarted(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.owner.unstart()

    def ended(self, job: Job, answer: Answer) -> None:
        task = _released(job)
        status, _, data = answer
        if status == NONE:
            task.succeed(None)
        elif status == VALUE:
            try:
                result = loads(data)
            except BaseException as error:  # noqa: BLE001 - the user's code, run while unpickling
                failure = UnpicklableError(
                    f"the result of {task.name!r} arrived but can't be unpickled here: {error}; "
                    "return what unpickles in the submitting process"
                )
                failure.__cause__ = error
                if self._breaks:
                    self._break(failure)
                task.fail(failure)
            else:
                task.succeed(result)
        else:
            error = loads_exception(data, task.executor.remote_traceback)
            if status == UNREADABLE and self._breaks:
                self._break(error)
            task.fail(error)

    def lost(self, job: Job, lost: Lost) -> None:
        task = _released(job)
        attempts = task.future.attempts
        error = WorkerLostError(
            f"{_fate(lost)} while running {task.name!r} (attempt {attempts} of "
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
        task = _released(job)
        task.fail(
            TaskTimeoutError(
                f"{task.name!r} ran longer than its timeout of {task.options.timeout:g} seconds "
                "and was stopped; give it more, or do less in it"
            )
        )

    def stopped(self, job: Job) -> None:
        _released(job).cancel()

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
            f"{_fate(lost)} {doing}", pid=lost.pid, exitcode=lost.exitcode, dump=lost.dump
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
        failure = _BrokenByInitializer(
            f"the initializer of {worker!r} failed with {cause!r}, so the executor is not usable "
            "any more; mend it and make a new one"
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


def _released(job: Job) -> Task:
    """Return the task of *job*, which has ended: its future must not keep the executor alive."""
    task: Task = job.owner
    job.owner, job.payload = None, b""
    return task


class _BrokenByInitializer(InitializerError, concurrent.futures.process.BrokenProcessPool):
    """Raised when a worker's initializer failed, which leaves its executor unusable."""


def _fate(lost: Lost) -> str:
    who = f"worker {lost.worker!r} (pid {lost.pid})"
    if lost.exitcode is None:
        return f"{who} was lost"
    if lost.exitcode >= 0:
        return f"{who} exited with code {lost.exitcode}"
    try:
        name = signal.Signals(-lost.exitcode).name
    except ValueError:
        name = f"signal {-lost.exitcode}"
    return f"{who} was killed by {name}"


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
    ends. *env*: environment variables of the workers, set before they import anything.
    *on_worker_lost*: "replace" it, or "break" the executor as ProcessPoolExecutor does.
    """

    context: ProcessContext

    def __init__(
        self, context: ProcessContext, max_workers: int | None = None, **options: Any
    ) -> None:
        reject_unknown(f"Executor() of context {context.name!r}", options, _OPTIONS)
        initializer, initargs = options.get("initializer"), options.get("initargs", ())
        if initializer is not None:
            need_callable("initializer", initializer)
        if not isinstance(initargs, list | tuple):
            raise TypeError(f"initargs must be a tuple of arguments, not {initargs!r}")
        lost = options.get("on_worker_lost", "replace")
        if lost not in ("replace", "break"):
            raise ValueError(f"on_worker_lost must be 'replace' or 'break', not {lost!r}")
        limits = {
            name: None
            if options.get(name) is None
            else positive(name, options[name], "leave it out for no limit")
            for name in ("max_tasks_per_child", "max_memory_per_child")
        }
        super().__init__(context, max_workers, max_pending=options.get("max_pending"))
        self.remote_traceback = _remote_traceback
        self._crew = _Crew(self, breaks=lost == "break")
        self._pool = self._crew.pool = LocalPool(
            self._max_workers,
            self._crew,
            _births(context, initializer, tuple(initargs), _checked_env(options), self._max_workers),
            _prepare(context, initializer, tuple(initargs)),
            f"{type(context).__name__.removesuffix('Context')}Process",
            all_at_once=context.name == "fork",
            max_tasks=limits["max_tasks_per_child"],
            max_memory=limits["max_memory_per_child"],
            idle_timeout=_seconds("idle_timeout", options.get("idle_timeout")),
        )
        _pools.add(self._pool)

    def accept(self, task: Task) -> None:
        """Send *task* to a worker that is free, or queue it."""
        try:
            job = self._crew.job(task)
        except BaseException:
            self._pool.want_worker()  # as for a task whose arguments can be sent
            raise
        self._pool.observed = self.observed
        task.future.job = job  # type: ignore[attr-defined]  # found again by `withdraw`
        self._pool.submit(job)

    def withdraw(self, task: Task) -> bool:
        """Take back *task*, unless a worker has it."""
        job: Job | None = getattr(task.future, "job", None)
        if job is None or not self._pool.withdraw(job):
            return False
        _released(job)
        return True

    def cancel_running(self, task: Task) -> bool:
        """Kill the worker that runs *task*; return whether that is what ended it."""
        job: Job | None = getattr(task.future, "job", None)
        return job is not None and self._pool.kill(job)

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """End the workers."""
        self._pool.stop()
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

    def kill_workers(self) -> None:
        """Shut down without waiting, and kill the workers; what ran ends as cancelled."""
        self.shutdown(wait=False, cancel_futures=True)
        self._pool.terminate(signal.SIGKILL)

    def workers(self) -> list[dict[str, Any]]:
        """Return, for each worker, its name, pid, state, task, tasks done and memory in bytes."""
        return self._pool.describe()

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers by pid, which people read; waits for those that are being started."""
        return self._pool.processes()

    @property
    def _executor_manager_thread(self) -> threading.Thread | None:
        return self._pool.thread

    @property
    def _call_queue(self) -> Any:
        """Something that has ended once the workers have."""
        return self._pool


_pools: weakref.WeakSet[LocalPool] = weakref.WeakSet()


def _abandon_pools() -> None:
    for pool in list(_pools):
        pool.abandon()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_pools)


def _remote_traceback(text: str) -> BaseException:
    return concurrent.futures.process._RemoteTraceback(f'\n"""\n{text}"""')  # type: ignore[attr-defined]  # what people look for


def _births(
    context: ProcessContext,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    env: Mapping[str, str],
    workers: int,
) -> Callable[[], Births]:
    bound = None if initializer is None else lambda: initializer(*initargs)
    threads = max(usable_cpus() // workers, 1)
    return lambda: Births(context.name, bound, env, context.preload, threads)


def _prepare(
    context: ProcessContext, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> Callable[[str], bytes]:
    """Return what makes the first message for a worker of a given name."""
    method, forked = context.name, context.name == "fork"

    def prepare(name: str) -> bytes:
        current = multiprocessing.process.current_process()
        return pickle.dumps(
            Birth(
                name,
                method,
                os.getpid(),
                current.name,
                bytes(current.authkey),
                None if forked or initializer is None else dumps_for_heir((initializer, initargs)),
                argv=[] if forked else list(sys.argv),
                directory=None if forked else os.getcwd(),
            )
        )

    return prepare


def _checked_env(options: Mapping[str, Any]) -> dict[str, str]:
    env = dict(options.get("env") or {})
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env must map strings to strings, not {name!r} to {value!r}")
    return env


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}; None is no limit")
    if value <= 0:
        raise ValueError(f"{name} must be greater than 0 seconds, not {value!r}; None is no limit")
    return float(value)
