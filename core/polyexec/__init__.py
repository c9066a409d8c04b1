"""One parallel API, any engine.

`get_context(name)` returns what `multiprocessing.get_context` returns, and an `Executor` besides,
on whatever engine goes by that name. The module itself has multiprocessing's names, bound to the
default context, so `import polyexec as multiprocessing` works.
"""

from __future__ import annotations

import importlib

from polyexec._lazy import on_first_use
from polyexec._version import __version__

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from multiprocessing import (
        Array,
        AuthenticationError,
        Barrier,
        BoundedSemaphore,
        BufferTooShort,
        Condition,
        Event,
        JoinableQueue,
        Lock,
        Manager,
        Pipe,
        Pool,
        ProcessError,
        Queue,
        RawArray,
        RawValue,
        RLock,
        Semaphore,
        SimpleQueue,
        TimeoutError,  # noqa: A004 - multiprocessing's name
        Value,
        active_children,
        allow_connection_pickling,
        cpu_count,
        current_process,
        freeze_support,
        get_logger,
        log_to_stderr,
        parent_process,
        set_executable,
        set_forkserver_preload,
    )
    from typing import Any

    from polyexec import capabilities
    from polyexec._default import (
        available_contexts,
        get_all_start_methods,
        get_context,
        get_start_method,
        set_start_method,
    )
    from polyexec._markers import hookimpl
    from polyexec.context import Context
    from polyexec.errors import (
        BackendLoadError,
        BackendNotFoundError,
        BrokenExecutor,
        CancelledError,
        ClusterError,
        ClusterLostError,
        DuplicateBackendError,
        ExecutorShutdownError,
        IncompatibleBackendError,
        InitializerError,
        InvalidStateError,
        JoinRefusedError,
        NotSupportedError,
        PolyexecError,
        PolyexecWarning,
        RemoteError,
        RemoteTraceback,
        TaskTimeoutError,
        UnpicklableError,
        WorkerLostError,
    )
    from polyexec.executor import Executor
    from polyexec.future import Future
    from polyexec.process import Process
    from polyexec.sharing import Shared
    from polyexec.task import Task, TaskOptions

__all__ = [
    "Array",
    "AuthenticationError",
    "BackendLoadError",
    "BackendNotFoundError",
    "Barrier",
    "BoundedSemaphore",
    "BrokenExecutor",
    "BufferTooShort",
    "CancelledError",
    "ClusterError",
    "ClusterLostError",
    "Condition",
    "Context",
    "DuplicateBackendError",
    "Event",
    "Executor",
    "ExecutorShutdownError",
    "Future",
    "IncompatibleBackendError",
    "InitializerError",
    "InvalidStateError",
    "JoinRefusedError",
    "JoinableQueue",
    "Lock",
    "Manager",
    "NotSupportedError",
    "Pipe",
    "PolyexecError",
    "PolyexecWarning",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "RemoteError",
    "RemoteTraceback",
    "Semaphore",
    "Shared",
    "SimpleQueue",
    "Task",
    "TaskOptions",
    "TaskTimeoutError",
    "TimeoutError",
    "UnpicklableError",
    "Value",
    "WorkerLostError",
    "__version__",
    "active_children",
    "allow_connection_pickling",
    "available_contexts",
    "capabilities",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "hookimpl",
    "log_to_stderr",
    "parent_process",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

#: Where names are resolved on first use: what a worker needs of this package is little, and
#: `import polyexec` must stay cheap.
_HOMES = {
    "polyexec._default": (
        "available_contexts",
        "get_all_start_methods",
        "get_context",
        "get_start_method",
        "set_start_method",
    ),
    "polyexec._markers": ("hookimpl",),
    "polyexec.context": ("Context",),
    "polyexec.errors": (
        "BackendLoadError",
        "BackendNotFoundError",
        "BrokenExecutor",
        "CancelledError",
        "ClusterError",
        "ClusterLostError",
        "DuplicateBackendError",
        "ExecutorShutdownError",
        "IncompatibleBackendError",
        "InitializerError",
        "InvalidStateError",
        "JoinRefusedError",
        "NotSupportedError",
        "PolyexecError",
        "PolyexecWarning",
        "RemoteError",
        "RemoteTraceback",
        "TaskTimeoutError",
        "UnpicklableError",
        "WorkerLostError",
    ),
    "polyexec.executor": ("Executor",),
    "polyexec.future": ("Future",),
    "polyexec.process": ("Process",),
    "polyexec.sharing": ("Shared",),
    "polyexec.task": ("Task", "TaskOptions"),
    "multiprocessing": ("AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"),
}
_find = on_first_use(__name__, _HOMES)
#: What multiprocessing has, too, bound to the default context.
_LATE = frozenset(__all__).difference(*_HOMES.values())
_SUBMODULES = frozenset(
    {
        "capabilities",
        "connection",
        "managers",
        "pool",
        "process",
        "queues",
        "shared_memory",
        "sharedctypes",
    }
)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LATE:
        return _find(name)
    value = importlib.import_module("polyexec._default").late(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
