"""Tells observers what an executor does; an executor that nobody listens to has none."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from polyexec._current import here

if TYPE_CHECKING:
    from collections.abc import Callable

    import pluggy

    from polyexec.errors import WorkerLostError
    from polyexec.executor import Executor
    from polyexec.task import Task

_logger = logging.getLogger("polyexec")

_EVENTS = (
    "executor_stopped",
    "task_finished",
    "task_retried",
    "task_started",
    "task_submitted",
    "worker_lost",
    "worker_started",
)


class Observers:
    """The hooks of one executor, looked up once, so that a task pays only for those in use."""

    # It does not refer to its executor, which must be collected as soon as it is dropped.

    def __init__(self, hook: pluggy.HookRelay) -> None:
        callers: list[pluggy.HookCaller] = [getattr(hook, f"polyexec_{event}") for event in _EVENTS]
        self._callers = {caller.name: caller for caller in callers if caller.get_hookimpls()}

    @classmethod
    def of(cls, executor: Executor) -> Observers | None:
        """Tell that *executor* has started; return None if nobody listens to what follows."""
        from polyexec._registry import current

        hook = current().hook
        tell(hook.polyexec_executor_started, executor=executor)
        observers = cls(hook)
        return observers if observers._callers else None

    def executor_stopped(self, executor: Executor) -> None:
        """Tell that *executor* has shut down."""
        self._tell("executor_stopped", executor)

    def task_submitted(self, task: Task) -> None:
        """Tell that *task* was accepted."""
        self._tell("task_submitted", task.executor, future=task.future, fn=task.fn)

    def task_started(self, task: Task) -> None:
        """Tell that an attempt at *task* began."""
        self._tell("task_started", task.executor, future=task.future)

    def task_finished(self, task: Task) -> None:
        """Tell that *task* has ended."""
        self._tell("task_finished", task.executor, future=task.future)

    def task_retried(self, task: Task, error: BaseException) -> None:
        """Tell that *task* is run again because of *error*."""
        self._tell("task_retried", task.executor, future=task.future, error=error)

    def worker_started(self, executor: Executor, worker: str) -> None:
        """Tell that *worker* is ready."""
        self._tell("worker_started", executor, worker=worker)

    def worker_lost(self, executor: Executor, worker: str, error: WorkerLostError) -> None:
        """Tell that *worker* died."""
        self._tell("worker_lost", executor, worker=worker, error=error)

    def _tell(self, event: str, executor: Executor, **facts: Any) -> None:
        caller = self._callers.get(f"polyexec_{event}")
        if caller is not None:
            tell(caller, executor=executor, **facts)


def tell(caller: pluggy.HookCaller, **facts: Any) -> None:
    """Call every observer's hook; one that fails is logged, and hurts nobody else."""
    for observer in reversed(caller.get_hookimpls()):
        ask(observer, **facts)


def ask(observer: pluggy.HookImpl, **facts: Any) -> Any:
    """Return what one plugin's hook returns, None if it fails."""
    outer, here.overdraws = here.overdraws, True  # a hook that submits must not wait for room
    try:
        return observer.function(**{name: facts[name] for name in observer.argnames})
    except KeyboardInterrupt:
        raise
    except BaseException:  # a plugin's code: it must hurt neither the task nor the worker
        _logger.warning(
            "plugin %r failed in %s",
            observer.plugin_name,
            getattr(observer.function, "__name__", "a hook"),
            exc_info=True,
        )
        return None
    finally:
        here.overdraws = outer


class WrappedFunction:
    """A function and the decorators to put around it in the worker; pickles if they do."""

    def __init__(
        self,
        fn: Callable[..., Any],
        decorators: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...],
    ) -> None:
        self.fn = fn
        self.decorators = decorators

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._decorated(*args, **kwargs)

    @functools.cached_property
    def _decorated(self) -> Callable[..., Any]:
        fn = self.fn
        for decorate in self.decorators:
            fn = decorate(fn)
        return fn

    def __reduce__(self) -> tuple[Any, ...]:
        return (WrappedFunction, (self.fn, self.decorators))


def task_wrapper(executor: Executor) -> Callable[[Callable[..., Any]], Callable[..., Any]] | None:
    """Ask the plugins, once for *executor*, what to put around its tasks."""
    from polyexec._registry import current

    plugins = reversed(current().hook.polyexec_task_wrapper.get_hookimpls())
    answers = [ask(plugin, executor=executor) for plugin in plugins]
    decorators = tuple(answer for answer in answers if answer is not None)
    return functools.partial(WrappedFunction, decorators=decorators) if decorators else None
