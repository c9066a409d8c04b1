"""Gives each task to one worker, and makes good for workers that die.

A loky pool breaks as a whole: when one of its processes dies, loky kills the others and fails
every task of the pool, begun or not. So each worker is a pool of its own, with a single process,
that is handed one task at a time; what waits, waits here. A death then concerns that task alone,
and a new pool takes the broken one's place.

    put -> waiting -> handed to an idle worker -> outcome                 the task ends
                   ^                           -> death after its claim   the task is lost
                   '----- death before it ------'                         it waits again, in front

A process that dies unclaimed may have died of the task all the same, for want of memory to receive
it, say. So a task that is handed over in vain several times is lost too. A worker that dies before
it has booted takes no task along; when that happens several times in a row, the executor is broken.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from loky.process_executor import BrokenProcessPool

from polyexec import BrokenExecutor, InitializerError, WorkerLostError
from polyexec.serialization import finish_task, loads_exception
from polyexec_loky._exit import come_before_loky
from polyexec_loky._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from polyexec import Executor, Task

_MAX_HANDOVERS = 3
_MAX_STILLBIRTHS = 3


@dataclass
class Parcel:
    """A packed task, and how many workers it was handed to."""

    data: bytes
    handovers: int = 0


class Crew:
    """The workers of one executor, to which it refers weakly, and the tasks that wait for them."""

    def __init__(
        self,
        executor: Executor,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self._executor = weakref.ref(executor)
        self._size = executor._max_workers
        self._initializer, self._initargs = initializer, initargs
        # Re-entrant: the collector may drop the executor, which closes the crew, within any of it.
        self._lock = threading.RLock()
        self._waiting: OrderedDict[Task, Parcel] = OrderedDict()
        self._workers: set[Worker] = set()
        self._booting: set[Worker] = set()
        self._idle: list[Worker] = []
        self._ending: set[Worker] = set()
        self._stillbirths = 0
        self._closed = self._broken = False

    # -- what the executor calls -----------------------------------------------------------------

    def put(self, task: Task, data: bytes) -> None:
        """Queue *task*, and start a worker for it unless there is one to come for each."""
        with self._lock:
            self._waiting[task] = Parcel(data)
        self._serve()
        self._hire()

    def forget(self, task: Task) -> None:
        """Drop *task* if it waits."""
        with self._lock:
            self._waiting.pop(task, None)

    def hire_all(self) -> None:
        """Start all workers."""
        self._hire(at_least=self._size)

    def close(self) -> None:
        """Have the workers end, now that there are no tasks."""
        with self._lock:
            self._closed = True
            workers = tuple(self._workers)
        for worker in workers:
            self._dismiss(worker)

    def kill(self) -> None:
        """Kill the workers, and drop what waits."""
        with self._lock:
            self._broken = True
            self._waiting.clear()
        self.close()

    def join(self) -> None:
        """Return once all workers have ended."""
        with self._lock:
            ending = tuple(self._ending)
        for worker in ending:
            worker.join()
        with self._lock:
            self._ending.difference_update(ending)

    # -- the life of a worker --------------------------------------------------------------------

    def _hire(self, at_least: int = 0) -> None:
        """Start workers until one is to come for each task that waits, and *at_least* so many."""
        while True:
            with self._lock:
                wanted = len(self._waiting) > len(self._booting) or len(self._workers) < at_least
                if not wanted or len(self._workers) >= self._size or self._closed or self._broken:
                    return
                try:
                    worker = Worker(self._initializer, self._initargs)
                    come_before_loky()
                except Exception:
                    if not self._workers:
                        raise
                    return  # with fewer than asked for we can go on, with none we can't
                self._workers.add(worker)
                self._booting.add(worker)
            worker.born.add_done_callback(partial(self._welcome, worker))

    def _welcome(self, worker: Worker, born: Future[tuple[int, bytes | None]]) -> None:
        with self._lock:
            self._booting.discard(worker)
        del worker.born  # or the two would refer to each other, for it keeps this callback
        death = born.exception()
        if death is not None:
            self._mourn_stillborn(worker, death)
            return
        _, failure = born.result()
        if failure is not None:
            self._dismiss(worker)
            self._break(_initializer_error(worker, failure))
            return
        self._stillbirths = 0
        executor = self._executor()
        if executor is not None:
            executor.worker_started(worker.name)
        del executor
        self._release(worker)

    def _release(self, worker: Worker) -> None:
        """Count *worker* among the idle, and give it what waits."""
        with self._lock:
            if worker in self._workers:
                self._idle.append(worker)
        self._serve()

    def _dismiss(self, worker: Worker) -> None:
        """Have *worker* end, and remember it until it has."""
        with self._lock:
            self._workers.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            self._ending = {other for other in self._ending if not other.is_over()} | {worker}
        worker.end(kill=self._broken)

    def _bury(self, worker: Worker, error: WorkerLostError) -> None:
        self._dismiss(worker)
        executor = self._executor()
        if executor is not None and not self._closed:
            executor.worker_lost(worker.name, error)

    def _mourn_stillborn(self, worker: Worker, death: BaseException) -> None:
        error = WorkerLostError(
            f"worker {worker.name!r} (pid {worker.pid}) {worker.fate()} before it was ready, "
            "perhaps in the initializer; its own words are on stderr",
            pid=worker.pid,
            exitcode=worker.exitcode(),
        )
        error.__cause__ = death
        self._bury(worker, error)
        self._stillbirths += 1
        if self._stillbirths >= _MAX_STILLBIRTHS:
            self._break(error)
        else:
            self._hire_again()

    def _hire_again(self) -> None:
        """Replace a worker, on a thread where nobody is there to catch an error."""
        try:
            self._hire()
        except Exception as cause:  # noqa: BLE001 - no memory, no files, or an odd initializer
            error = BrokenExecutor(f"no worker can be started any more: {cause}")
            error.__cause__ = cause
            self._break(error)

    def _break(self, error: BrokenExecutor) -> None:
        with self._lock:
            self._broken = True
            self._waiting.clear()
        executor = self._executor()
        if executor is not None:
            executor.mark_broken(error)

    # -- the life of a task ----------------------------------------------------------------------

    def _serve(self) -> None:
        """Give idle workers what waits."""
        while True:
            with self._lock:
                if not self._idle or not self._waiting:
                    return
                worker = self._idle.pop()
                task, parcel = self._waiting.popitem(last=False)
                begins = parcel.handovers or task.start(worker.name)
                if not begins or task.future.done():
                    self._idle.append(worker)
                    continue
            self._hand_over(worker, task, parcel)

    def _hand_over(self, worker: Worker, task: Task, parcel: Parcel) -> None:
        task.future.worker = worker.name
        parcel.handovers += 1
        try:
            future = worker.submit(parcel.data)
        except BrokenProcessPool as death:
            self._lament(worker, task, parcel, death)
        except RuntimeError as refusal:  # the interpreter exits, and loky with it
            task.fail(refusal)
        else:
            future.add_done_callback(partial(self._conclude, worker, task, parcel))

    def _conclude(self, worker: Worker, task: Task, parcel: Parcel, future: Future[bytes]) -> None:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._lament(worker, task, parcel, error)
            return
        worker.take_claim()
        # First, so that somebody who waits for this task and submits another finds it idle.
        self._release(worker)
        if error is None:
            finish_task(task, future.result())
        else:
            task.fail(error)

    def _lament(self, worker: Worker, task: Task, parcel: Parcel, death: BaseException) -> None:
        """Bury *worker*, and have *task* wait again if it had surely not begun."""
        claimed = worker.take_claim()
        error = _loss(worker, task, claimed=claimed)
        error.__cause__ = death
        self._bury(worker, error)
        if claimed or parcel.handovers >= _MAX_HANDOVERS:
            task.lose(error)
        else:
            with self._lock:
                self._waiting[task] = parcel
                self._waiting.move_to_end(task, last=False)
        self._hire_again()


def _loss(worker: Worker, task: Task, *, claimed: bool) -> WorkerLostError:
    attempts, allowed = task.future.attempts, task.options.retries + 1
    when = "while running" if claimed else "while it was being sent"
    return WorkerLostError(
        f"worker {worker.name!r} (pid {worker.pid}) {worker.fate()} {when} {task.name!r} "
        f"(attempt {attempts} of {allowed})",
        pid=worker.pid,
        exitcode=worker.exitcode(),
        task=task.name,
        attempts=attempts,
    )


def _initializer_error(worker: Worker, failure: bytes) -> InitializerError:
    cause = loads_exception(failure)
    error = InitializerError(
        f"the initializer of {worker.name!r} failed with {cause!r}, so the executor is not usable "
        "any more; mend it and make a new one"
    )
    error.__cause__ = cause
    return error
