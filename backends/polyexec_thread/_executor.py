"""Runs tasks on threads, started on demand.

The threads share a crew and never refer to the executor, so that one which is dropped without
`shutdown` is collected and its threads end. They are daemons: what must be finished before the
interpreter exits, core waits for, and nothing else shall hold it up.
"""

from __future__ import annotations

import concurrent.futures
import heapq
import itertools
import logging
import queue
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from polyexec import Executor, InitializerError
from polyexec.arguments import need_initializer, positive, reject_unknown
from polyexec.interrupts import Uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec import Context, Task

_logger = logging.getLogger("concurrent.futures")
_numbers = itertools.count()
_TICKET, _NO_MORE = True, False
_OPTIONS = (
    "initializer",
    "initargs",
    "max_pending",
    "max_tasks_per_child",
    "propagate",
    "thread_name_prefix",
)


class Inbox:
    """Tasks that wait for a thread: the highest priority first, then in order of arrival.

    Each task comes with a ticket, put after it, so who holds a ticket finds a task in one place or
    another. Most have priority 0, and go through a deque, whose operations are atomic with or
    without a GIL; the others through one heap for those that go first, and one for those that
    go last.
    """

    def __init__(self) -> None:
        self._tickets: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._ready: deque[Task] = deque()
        self._urgent = _Heap()
        self._idle = _Heap()
        self.qsize = self._tickets.qsize

    def put(self, task: Task) -> None:
        """Add *task* behind those of its priority."""
        priority = task.options.priority
        if priority == 0:
            self._ready.append(task)
        else:
            (self._urgent if priority > 0 else self._idle).put(task)
        self._tickets.put(_TICKET)

    def get(self) -> Task | None:
        """Remove and return the next task; blocks for one; None when there will be no more."""
        if not self._tickets.get():
            self._tickets.put(_NO_MORE)  # pass it on to the next thread
            return None
        while True:
            try:
                return self._urgent.get() or self._ready.popleft()
            except IndexError:
                task = self._idle.get()
                if task is not None:
                    return task

    def close(self) -> None:
        """Have every `get` return None once the tasks are gone."""
        self._tickets.put(_NO_MORE)


class _Heap:
    """Tasks by priority."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tasks: list[tuple[int, int, Task]] = []
        self._arrivals = itertools.count()

    def put(self, task: Task) -> None:
        with self._lock:
            entry = (-task.options.priority, next(self._arrivals), task)
            heapq.heappush(self._tasks, entry)

    def get(self) -> Task | None:
        if not self._tasks:
            return None
        with self._lock:
            return heapq.heappop(self._tasks)[-1] if self._tasks else None


class Crew:
    """The threads of one executor, and what they work by."""

    def __init__(
        self,
        executor: ThreadExecutor,
        prefix: str,
        initializer: Callable[[], object] | None,
        max_tasks: int | None,
    ) -> None:
        self.inbox = Inbox()
        self.threads: set[threading.Thread] = set()
        self.lock = threading.RLock()
        self._executor = weakref.ref(executor)
        self._prefix = prefix
        self._names = itertools.count()
        self._initializer = initializer
        self._max_tasks = max_tasks

    def hire(self) -> None:
        """Start one more thread."""
        name = f"{self._prefix}_{next(self._names)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        with self.lock:
            thread.start()
            self.threads.add(thread)

    def join(self) -> None:
        """Return once all threads have ended, and those that took over from one."""
        while True:
            with self.lock:
                others = self.threads - {threading.current_thread()}
            alive = [thread for thread in others if thread.is_alive()]
            if not alive:
                return
            for thread in alive:
                thread.join()

    def _work(self) -> None:
        thread = threading.current_thread()
        while self._prepare(thread.name) and self._serve(thread.name):
            with self.lock:
                try:
                    self.hire()
                except RuntimeError:  # no more threads are to be had: this one starts anew
                    continue
                self.threads.discard(thread)
                return

    def _serve(self, name: str) -> bool:
        """Run tasks; return whether there may be more of them than this thread is to run."""
        for _ in itertools.count() if self._max_tasks is None else range(self._max_tasks):
            task = self.inbox.get()
            if task is None:
                return False
            try:
                task.run(name)
            except BaseException:  # Ctrl-C in a hook, say: the thread is needed for others
                _logger.critical("Exception in worker", exc_info=True)
            del task
        return True

    def _prepare(self, name: str) -> bool:
        executor = self._executor()
        try:
            if self._initializer is not None:
                self._initializer()
        except BaseException as error:  # the user's code; nothing can run without it
            _logger.critical("Exception in initializer:", exc_info=True)
            if executor is not None:
                failure = InitializerError(
                    f"the initializer of {name!r} failed with {error!r}, so the executor is not "
                    "usable any more; mend it and make a new one"
                )
                failure.__cause__ = error
                executor.mark_broken(failure)
            return False
        if executor is not None:
            executor.worker_started(name)
        return True


if TYPE_CHECKING:

    class _Standard:
        """Nothing: our attributes are not of the types that ThreadPoolExecutor's have."""

else:
    _Standard = concurrent.futures.ThreadPoolExecutor


class ThreadExecutor(Executor, _Standard):
    """An executor on threads; a ThreadPoolExecutor to those who check, such as asyncio.

    *thread_name_prefix*: what the threads are called, followed by `_0`, `_1` and so on.
    *max_tasks_per_child*: after so many tasks a thread is replaced, and *initializer* runs anew.
    *propagate*: the context variables that tasks need to see, as for other contexts; here they see
    all of their submitter's.
    """

    needs_callback_thread = False
    adapts_chunks = False

    def __init__(
        self, context: Context, max_workers: int | None = None, *args: Any, **options: Any
    ) -> None:
        positional = ("thread_name_prefix", "initializer", "initargs")
        if len(args) > len(positional):
            raise TypeError(
                f"Executor() of context 'thread' takes {', '.join(positional)} after max_workers, "
                f"not {args!r}"
            )
        options.update(zip(positional, args, strict=False))
        reject_unknown("Executor() of context 'thread'", options, ("max_workers", *_OPTIONS))
        prefix = options.get("thread_name_prefix") or f"ThreadPoolExecutor-{next(_numbers)}"
        max_tasks = options.get("max_tasks_per_child")
        if max_tasks is not None:
            max_tasks = positive("max_tasks_per_child", max_tasks, "leave it out for no limit")
        if options.get("propagate") is not None:
            from polyexec.surroundings import Propagation  # which threads do without

            Propagation.of(options["propagate"])
        initializer = _bound(options.get("initializer"), options.get("initargs", ()))
        super().__init__(context, max_workers, max_pending=options.get("max_pending"))
        self._crew = Crew(self, prefix, initializer, max_tasks)
        self._threads = self._crew.threads
        self._work_queue = self._crew.inbox  # for its qsize(), which people read

    def accept(self, task: Task) -> None:
        """Queue *task*, and start a thread for it unless there is one for each unfinished task."""
        crew = self._crew
        with Uninterrupted():
            crew.inbox.put(task)
            if len(crew.threads) < self._max_workers and self.busy > len(crew.threads):
                self._hire()

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """End the threads."""
        self._crew.inbox.close()
        if wait:
            self._crew.join()

    def start_workers(self) -> None:
        """Start all threads."""
        super().start_workers()
        with Uninterrupted(), self._crew.lock:
            while len(self._crew.threads) < self._max_workers:
                self._crew.hire()

    def _hire(self) -> None:
        with self._crew.lock:
            if len(self._crew.threads) >= self._max_workers:
                return
            try:
                self._crew.hire()
            except RuntimeError:
                if not self._crew.threads:
                    raise  # with fewer threads than asked for we can go on, with none we can't


def _bound(
    initializer: Callable[..., object] | None, initargs: Iterable[Any]
) -> Callable[[], object] | None:
    if initializer is None:
        return None
    need_initializer(initializer, initargs)
    args = tuple(initargs)
    return lambda: initializer(*args)
