"""The process contexts: multiprocessing's own objects, with our Executor, Pool and Process."""

from __future__ import annotations

import multiprocessing.context
import multiprocessing.process
from typing import TYPE_CHECKING, Any

from polyexec import Context, capabilities, get_context
from polyexec_process import _process
from polyexec_process._births import load_what_workers_need
from polyexec_process._executor import ProcessExecutor

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


class ProcessContext(Context):
    """What the three have in common; the names that multiprocessing's contexts must not take."""

    capabilities = frozenset(
        {
            capabilities.INITIALIZER,
            capabilities.ISOLATION,
            capabilities.KILL_RUNNING,
            capabilities.MANAGER,
            capabilities.MAX_TASKS_PER_CHILD,
            capabilities.MEMORY_LIMIT,
            capabilities.PRIORITIES,
            capabilities.PROCESS,
            capabilities.PROPAGATE,
            capabilities.QUEUES,
            capabilities.SHARED_MEMORY,
            capabilities.SURROUNDINGS,
            capabilities.SYNCHRONIZE,
        }
    )

    #: What a fork server imports before it forks.
    preload: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.preload = []

    def __reduce__(self) -> tuple[Any, ...]:
        return (get_context, (self.name,))

    def Executor(self, max_workers: int | None = None, **options: Any) -> ProcessExecutor:
        """Return an executor on processes; options as for `ProcessExecutor`."""
        return ProcessExecutor(self, max_workers, **options)

    def current_process(self) -> BaseProcess:
        """Return the process that the caller runs in."""
        return multiprocessing.process.current_process()

    def parent_process(self) -> BaseProcess | None:
        """Return the process that started the current one, None in the main one."""
        return multiprocessing.process.parent_process()

    def active_children(self) -> list[BaseProcess]:
        """Return the live processes that the current one started."""
        return multiprocessing.process.active_children()

    def set_forkserver_preload(self, module_names: list[str]) -> None:
        """Set what fork servers import before they fork, for executors made from now on."""
        if not isinstance(module_names, list) or not all(
            isinstance(name, str) for name in module_names
        ):
            raise TypeError(f"module_names must be a list of strings, not {module_names!r}")
        import multiprocessing.forkserver

        multiprocessing.forkserver.set_forkserver_preload(module_names)
        self.preload = list(module_names)


if TYPE_CHECKING:
    # What multiprocessing's contexts have besides is Any in Context.
    class _Fork(ProcessContext):
        """Nothing."""

    class _Spawn(ProcessContext):
        """Nothing."""

    class _ForkServer(ProcessContext):
        """Nothing."""

else:
    #: What must not come from multiprocessing's contexts.
    _OURS = (
        "Pool",
        "allow_connection_pickling",
        "cpu_count",
        "freeze_support",
        "get_context",
        "get_logger",
        "get_start_method",
        "log_to_stderr",
        "set_start_method",
    )

    def _standard(kind: type) -> type:
        """Return ProcessContext with the objects of multiprocessing's context *kind* in it."""
        names = {name: getattr(Context, name) for name in _OURS}
        names |= {name: value for name, value in vars(ProcessContext).items() if name[:2] != "__"}
        return type(kind.__name__, (kind, ProcessContext), names)

    _Fork = _standard(multiprocessing.context.ForkContext)
    _Spawn = _standard(multiprocessing.context.SpawnContext)
    _ForkServer = _standard(multiprocessing.context.ForkServerContext)


class ForkContext(_Fork):
    """Children are forked."""

    name = "fork"
    Process = _process.ForkProcess

    def __init__(self) -> None:
        super().__init__()
        load_what_workers_need()  # later on a first result would wait for that


class SpawnContext(_Spawn):
    """Children are fresh interpreters."""

    name = "spawn"
    Process = _process.SpawnProcess


class ForkServerContext(_ForkServer):
    """Children are forked by a server that has one thread."""

    name = "forkserver"
    Process = _process.ForkServerProcess
