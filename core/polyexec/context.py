"""The Context interface: `multiprocessing`'s context API, and an Executor."""

from __future__ import annotations

import abc
import os
from typing import TYPE_CHECKING, Any, NoReturn

from polyexec import capabilities as can
from polyexec.cpus import usable_cpus
from polyexec.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from logging import Logger
    from types import TracebackType

    from polyexec.executor import Executor
    from polyexec.pool import Pool

__all__ = ["Context"]


class _NoProcess:
    """Stands in for the class that a context without processes lacks."""

    def __get__(self, context: Context | None, owner: type[Context]) -> Any:
        if context is None:
            return self
        raise context.lacks(can.PROCESS, "Process")


class Context(abc.ABC):
    """One engine, seen through the API of `multiprocessing.get_context`.

    A backend sets `name` and `capabilities` and writes `Executor`. The rest of the API is derived
    from that here, or raises NotSupportedError, which names the missing capability and the
    installed contexts that have it; a backend overrides what it can do, and lists the capability.
    """

    #: The name that `get_context` knows it by.
    name: str

    #: What it can do: names from `polyexec.capabilities`.
    capabilities: frozenset[str] = frozenset()

    @abc.abstractmethod
    def Executor(self, max_workers: int | None = None, **options: Any) -> Executor:
        """Return a new executor on *max_workers* workers, `default_workers` if None."""

    def close(self) -> None:  # noqa: B027 - most have nothing to release
        """Release what the context holds; its executors must have been shut down."""

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def lacks(self, capability: str, wanted: str) -> NotSupportedError:
        """Return the error to raise where *wanted* needs a *capability* that this context lacks."""
        from polyexec._registry import current

        having = current().having(capability, besides=self.name)
        cure = f"use one that has: {', '.join(having)}" if having else "no installed context has it"
        return NotSupportedError(
            f"context {self.name!r} can't do {wanted}: it lacks the capability {capability!r} "
            f"({can.MEANINGS.get(capability, 'defined by its backend')}); {cure}",
            capability=capability,
            alternatives=having,
        )

    def _needs(self, capability: str, wanted: str) -> NoReturn:
        raise self.lacks(capability, wanted)

    # -- derived from the Executor ---------------------------------------------------------------

    def default_workers(self) -> int:
        """Return how many workers an executor has if not told: the CPUs that we may use."""
        return usable_cpus()

    def cpu_count(self) -> int:
        """Return the number of CPUs of the machine."""
        count = os.cpu_count()
        if count is None:
            raise NotImplementedError("cannot determine number of cpus")
        return count

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        """Return a `multiprocessing.pool.Pool` whose workers are an executor's."""
        from polyexec.pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self)

    def get_context(self, method: str | None = None) -> Context:
        """Return this context, or a new one of that name."""
        if method is None:
            return self
        from polyexec._default import get_context

        return get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str:  # noqa: ARG002, FBT001, FBT002 - multiprocessing's signature
        """Return this context's name."""
        return self.name

    def set_start_method(self, method: str, force: bool = False) -> NoReturn:  # noqa: ARG002, FBT001, FBT002 - multiprocessing's signature
        """Raise ValueError: only `polyexec.set_start_method` chooses a default."""
        raise ValueError("cannot set start method of concrete context")

    def get_logger(self) -> Logger:
        """Return multiprocessing's logger."""
        import multiprocessing.util

        return multiprocessing.util.get_logger()

    def log_to_stderr(self, level: int | str | None = None) -> Logger:
        """Have multiprocessing's logger write to stderr."""
        import multiprocessing.util

        return multiprocessing.util.log_to_stderr(level)

    def freeze_support(self) -> None:  # noqa: B027 - most have nothing to do
        """Do what a frozen Windows executable needs: nothing here."""

    def allow_connection_pickling(self) -> None:  # noqa: B027 - most have nothing to do
        """Do nothing: connections pickle wherever they can be sent."""

    # -- what takes a capability -----------------------------------------------------------------

    #: The class of this context's processes.
    Process: Any = _NoProcess()

    def current_process(self) -> Any:
        """Return the process that the caller runs in."""
        self._needs(can.PROCESS, "current_process()")

    def parent_process(self) -> Any:
        """Return the process that started the current one, None in the main one."""
        self._needs(can.PROCESS, "parent_process()")

    def active_children(self) -> list[Any]:
        """Return the live processes that the current one started."""
        self._needs(can.PROCESS, "active_children()")

    def set_executable(self, executable: str) -> None:  # noqa: ARG002 - for those who override it
        """Set the Python that children run."""
        self._needs(can.PROCESS, "set_executable()")

    def set_forkserver_preload(self, module_names: list[str]) -> None:  # noqa: ARG002 - for those who override it
        """Set what a fork server imports before it forks."""
        self._needs(can.PROCESS, "set_forkserver_preload()")

    def Queue(self, maxsize: int = 0) -> Any:  # noqa: ARG002 - for those who override it
        """Return a queue; *maxsize* items at most, no limit if 0."""
        self._needs(can.QUEUES, "Queue")

    def SimpleQueue(self) -> Any:
        """Return a queue with nothing but put, get and empty."""
        self._needs(can.QUEUES, "SimpleQueue")

    def JoinableQueue(self, maxsize: int = 0) -> Any:  # noqa: ARG002 - for those who override it
        """Return a queue with task_done and join."""
        self._needs(can.QUEUES, "JoinableQueue")

    def Pipe(self, duplex: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - multiprocessing's signature
        """Return the two ends of a pipe; (receiver, sender) unless *duplex*."""
        self._needs(can.QUEUES, "Pipe")

    def Lock(self) -> Any:
        """Return a lock."""
        self._needs(can.SYNCHRONIZE, "Lock")

    def RLock(self) -> Any:
        """Return a lock that its holder may take again."""
        self._needs(can.SYNCHRONIZE, "RLock")

    def Semaphore(self, value: int = 1) -> Any:  # noqa: ARG002 - for those who override it
        """Return a semaphore."""
        self._needs(can.SYNCHRONIZE, "Semaphore")

    def BoundedSemaphore(self, value: int = 1) -> Any:  # noqa: ARG002 - for those who override it
        """Return a semaphore that can't be released above *value*."""
        self._needs(can.SYNCHRONIZE, "BoundedSemaphore")

    def Condition(self, lock: Any = None) -> Any:  # noqa: ARG002 - for those who override it
        """Return a condition variable on *lock*, on an RLock of its own if None."""
        self._needs(can.SYNCHRONIZE, "Condition")

    def Event(self) -> Any:
        """Return an event."""
        self._needs(can.SYNCHRONIZE, "Event")

    def Barrier(
        self,
        parties: int,  # noqa: ARG002 - for those who override it
        action: Callable[[], object] | None = None,  # noqa: ARG002 - for those who override it
        timeout: float | None = None,  # noqa: ARG002 - for those who override it
    ) -> Any:
        """Return a barrier for *parties*."""
        self._needs(can.SYNCHRONIZE, "Barrier")

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:  # noqa: ARG002 - for those who override it
        """Return a shared ctypes object."""
        self._needs(can.SHARED_MEMORY, "RawValue")

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:  # noqa: ARG002 - for those who override it
        """Return a shared ctypes array."""
        self._needs(can.SHARED_MEMORY, "RawArray")

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:  # noqa: ARG002 - for those who override it
        """Return a shared ctypes object with a lock around it."""
        self._needs(can.SHARED_MEMORY, "Value")

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:  # noqa: ARG002 - for those who override it
        """Return a shared ctypes array with a lock around it."""
        self._needs(can.SHARED_MEMORY, "Array")

    def Manager(self) -> Any:
        """Return a started manager of shared objects."""
        self._needs(can.MANAGER, "Manager")
