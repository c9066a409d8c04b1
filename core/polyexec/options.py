"""Options for a task: a light view of an executor that submits with them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

from polyexec._mapping import MapMixin
from polyexec.arguments import reject_unknown
from polyexec.capabilities import KILL_RUNNING, PRIORITIES, RESOURCES
from polyexec.task import NO_OPTIONS, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Unpack

    from polyexec.context import Context
    from polyexec.executor import Executor
    from polyexec.future import Future
    from polyexec.sharing import Shared

__all__ = ["OptionsView", "TaskOptionsDict"]

P = ParamSpec("P")
T = TypeVar("T")

_NAMES = tuple(field.name for field in dataclasses.fields(TaskOptions))
_NEEDS = {"timeout": KILL_RUNNING, "priority": PRIORITIES, "resources": RESOURCES}


class TaskOptionsDict(TypedDict, total=False):
    """The keywords of `Executor.options`; see `TaskOptions` for their meaning."""

    timeout: float | None
    retries: int
    retry_exceptions: tuple[type[BaseException], ...]
    priority: int
    resources: Mapping[str, float]
    name: str | None


def checked_options(context: Context, base: TaskOptions, given: dict[str, Any]) -> TaskOptions:
    """Return *base* with the *given* options, or say what is wrong with them."""
    reject_unknown("Executor.options()", given, _NAMES)
    for name, capability in _NEEDS.items():
        if given.get(name) and capability not in context.capabilities:
            raise context.lacks(capability, f"options({name}={given[name]!r})")
    _check_values(given)
    options = dataclasses.replace(base, **given)
    if options.retry_exceptions and not options.retries:
        raise ValueError("retry_exceptions needs retries=, how often to run the task again")
    return options


def _check_values(given: dict[str, Any]) -> None:
    timeout, name = given.get("timeout"), given.get("name")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}; None is no limit")
    if timeout is not None and not timeout > 0:
        raise ValueError(
            f"timeout must be greater than 0 seconds, not {timeout!r}; None is no limit"
        )
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    for number in ("retries", "priority"):
        value = given.get(number, 0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{number} must be an integer, not {value!r}")
    if given.get("retries", 0) < 0:
        raise ValueError(f"retries must be 0 or more, not {given['retries']!r}")
    if "retry_exceptions" in given:
        given["retry_exceptions"] = _classes(given["retry_exceptions"])


def _classes(kinds: Any) -> tuple[type[BaseException], ...]:
    listed = (kinds,) if isinstance(kinds, type) else kinds
    if not isinstance(listed, list | tuple) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in listed
    ):
        raise TypeError(f"retry_exceptions must be exception classes, in a tuple, not {kinds!r}")
    return tuple(listed)


class OptionsView(MapMixin, concurrent.futures.Executor):
    """An executor seen through task options: it shares the pool, and its shutdown is the pool's."""

    def __init__(self, executor: Executor, options: TaskOptions) -> None:
        self._executor = executor
        self._options = options

    def __repr__(self) -> str:
        return f"<{self._options} on {self._executor!r}>"

    @property
    def _max_workers(self) -> int:
        return self._executor._max_workers

    def _mapped_by(self) -> Executor:
        return self._executor

    def _chunksize(self, asked: int | None) -> int | None:
        # Options hold for a task: with one item in it, for each item.
        if self._options.retry_exceptions and asked is not None and asked != 1:
            raise ValueError(
                f"retry_exceptions can't be watched for in chunks of {asked!r} items; "
                "leave chunksize out"
            )
        return 1 if asked is None and self._options != NO_OPTIONS else asked

    def options(self, **options: Unpack[TaskOptionsDict]) -> OptionsView:
        """Return a view with these options on top of this one's."""
        merged = checked_options(self._executor.context, self._options, dict(options))
        return OptionsView(self._executor, merged)

    def share(self, obj: T) -> Shared[T]:
        """Do as `Executor.share`."""
        return self._executor.share(obj)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do as `Executor.submit`, with this view's options."""
        return self._executor._submit(fn, args, kwargs, self._options)

    async def asubmit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do as `Executor.asubmit`, with this view's options."""
        return await self._executor._asubmit(fn, args, kwargs, self._options)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.__exit__(kind, error, traceback)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Shut down the executor itself."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)
