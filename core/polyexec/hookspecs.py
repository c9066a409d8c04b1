"""The hooks that a plugin may implement.

A plugin names only the arguments that it wants, so a hook may gain arguments in any release.
One that loses or renames an argument raises `API_VERSION`, after a release that warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec._markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polyexec.context import Context
    from polyexec.errors import WorkerLostError
    from polyexec.executor import Executor
    from polyexec.future import Future

__all__ = [
    "API_VERSION",
    "polyexec_cli_commands",
    "polyexec_context_created",
    "polyexec_create_context",
    "polyexec_executor_started",
    "polyexec_executor_stopped",
    "polyexec_task_finished",
    "polyexec_task_retried",
    "polyexec_task_started",
    "polyexec_task_submitted",
    "polyexec_task_wrapper",
    "polyexec_worker_lost",
    "polyexec_worker_started",
]

API_VERSION = 1


@hookspec(firstresult=True)
def polyexec_create_context(name: str, options: Mapping[str, Any]) -> Context:
    """Called by `get_context`, on the chosen backend alone, to make its context.

    *options* are the keywords given to `get_context`. A plugin that serves several names reads
    *name* to tell them apart.
    """
    raise NotImplementedError


@hookspec
def polyexec_context_created(name: str, context: Context) -> None:
    """Called when `get_context` is about to return *context*."""


@hookspec
def polyexec_executor_started(executor: Executor) -> None:
    """Called once per executor, before its first task."""


@hookspec
def polyexec_executor_stopped(executor: Executor) -> None:
    """Called once per executor that has run a task, when it has shut down and none is left."""


@hookspec
def polyexec_task_submitted(
    executor: Executor, future: Future[Any], fn: Callable[..., Any]
) -> None:
    """Called in the submitter's thread when *executor* has accepted a call of *fn*."""


@hookspec
def polyexec_task_started(executor: Executor, future: Future[Any]) -> None:
    """Called when an attempt at the task began, as soon as the submitting process knows."""


@hookspec
def polyexec_task_finished(executor: Executor, future: Future[Any]) -> None:
    """Called when *future* has a result or an exception, or was cancelled."""


@hookspec
def polyexec_task_retried(executor: Executor, future: Future[Any], error: BaseException) -> None:
    """Called when the task failed with *error* and is about to be run again."""


@hookspec
def polyexec_worker_started(executor: Executor, worker: str) -> None:
    """Called when *worker*, named as in `Future.worker`, is ready for tasks."""


@hookspec
def polyexec_worker_lost(executor: Executor, worker: str, error: WorkerLostError) -> None:
    """Called when *worker* died with tasks or without."""


@hookspec
def polyexec_task_wrapper(
    executor: Executor,
) -> Callable[[Callable[..., Any]], Callable[..., Any]] | None:
    """Called once per executor, before its first task, for a decorator to put around every task.

    The decorator must pickle where the context's tasks do; it is applied in the worker.
    """


@hookspec
def polyexec_cli_commands() -> Sequence[Any]:
    """Called when the command line starts; returns click commands to add to `polyexec`."""
    raise NotImplementedError
