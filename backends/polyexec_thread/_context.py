"""The thread context: the whole of multiprocessing's context API on threads."""

from __future__ import annotations

import os
import threading
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from polyexec import Context, capabilities
from polyexec_thread import _process, _queues, _sync
from polyexec_thread._executor import ThreadExecutor
from polyexec_thread._pipe import ThreadConnection, thread_pipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from polyexec_thread._manager import ThreadManager


if TYPE_CHECKING:

    class _Standard:
        """Nothing: our methods don't return the classes that BaseContext's do."""

else:
    _Standard = BaseContext


class ThreadContext(Context, _Standard):
    """Everything on threads of this process; what is passed around is never pickled."""

    name = "thread"
    _name = "thread"
    capabilities = frozenset(
        {
            capabilities.BY_REFERENCE,
            capabilities.CONTEXTVARS,
            capabilities.INITIALIZER,
            capabilities.MANAGER,
            capabilities.MAX_TASKS_PER_CHILD,
            capabilities.PRIORITIES,
            capabilities.PROCESS,
            capabilities.PROPAGATE,
            capabilities.QUEUES,
            capabilities.SHARED_MEMORY,
            capabilities.SURROUNDINGS,
            capabilities.SYNCHRONIZE,
        }
    )

    Process = _process.ThreadProcess

    RawValue: Any = BaseContext.RawValue
    RawArray: Any = BaseContext.RawArray
    Value: Any = BaseContext.Value
    Array: Any = BaseContext.Array

    def Executor(
        self, max_workers: int | None = None, *args: Any, **options: Any
    ) -> ThreadExecutor:
        """Return an executor on threads; options as for `ThreadExecutor`, max_pending besides."""
        return ThreadExecutor(self, max_workers, *args, **options)

    def default_workers(self) -> int:
        """Return as many workers as ThreadPoolExecutor has: tasks on threads mostly wait."""
        count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
        return min(32, (count() or 1) + 4)

    def current_process(self) -> BaseProcess:
        """Return the process that the calling thread runs, the main one if it is none's."""
        return _process.current_process()

    def parent_process(self) -> BaseProcess | None:
        """Return the process that started the current one, None in the main one."""
        return _process.parent_process()

    def active_children(self) -> list[BaseProcess]:
        """Return the live processes that the current one started."""
        return _process.active_children()

    def set_executable(self, executable: str) -> None:
        """Do nothing: threads run in this Python."""

    def set_forkserver_preload(self, module_names: list[str]) -> None:
        """Do nothing: threads find imported what this process has imported."""

    def Lock(self) -> _sync.ThreadLock:
        """Return a lock."""
        return _sync.ThreadLock()

    def RLock(self) -> _sync.ThreadRLock:
        """Return a lock that its holder may take again."""
        return _sync.ThreadRLock()

    def Semaphore(self, value: int = 1) -> _sync.ThreadSemaphore:
        """Return a semaphore."""
        return _sync.ThreadSemaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> _sync.ThreadBoundedSemaphore:
        """Return a semaphore that can't be released above *value*."""
        return _sync.ThreadBoundedSemaphore(value)

    def Condition(self, lock: Any = None) -> _sync.ThreadCondition:
        """Return a condition variable on *lock*, on an RLock of its own if None."""
        return _sync.ThreadCondition(lock)

    def Event(self) -> _sync.ThreadEvent:
        """Return an event."""
        return _sync.ThreadEvent()

    def Barrier(
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
    ) -> threading.Barrier:
        """Return a barrier for *parties*."""
        return threading.Barrier(parties, action, timeout)

    def Queue(self, maxsize: int = 0) -> _queues.ThreadQueue:
        """Return a queue; *maxsize* items at most, no limit if 0."""
        return _queues.ThreadQueue(maxsize)

    def JoinableQueue(self, maxsize: int = 0) -> _queues.ThreadJoinableQueue:
        """Return a queue with task_done and join."""
        return _queues.ThreadJoinableQueue(maxsize)

    def SimpleQueue(self) -> _queues.ThreadSimpleQueue:
        """Return a queue with nothing but put, get and empty."""
        return _queues.ThreadSimpleQueue()

    def Pipe(self, duplex: bool = True) -> tuple[ThreadConnection, ThreadConnection]:  # noqa: FBT001, FBT002 - multiprocessing's signature
        """Return the two ends of a pipe; (receiver, sender) unless *duplex*."""
        return thread_pipe(duplex=duplex)

    def Manager(self) -> ThreadManager:
        """Return a manager, whose objects are shared because everything is."""
        from polyexec_thread._manager import ThreadManager

        return ThreadManager(self)
