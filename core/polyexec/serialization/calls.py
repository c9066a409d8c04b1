"""A whole task to bytes, its run in a worker, and its outcome back."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from polyexec.errors import RemoteTraceback, UnpicklableError
from polyexec.serialization.exceptions import dumps_exception, loads_exception
from polyexec.serialization.functions import FunctionTable
from polyexec.serialization.payloads import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec.task import Task

__all__ = ["dumps_task", "finish_task", "run_task"]

_functions = FunctionTable()


def dumps_task(task: Task) -> bytes:
    """Return *task*'s call as bytes for `run_task`; raises UnpicklableError."""
    fn = _functions.encode(task.fn).data
    return pickle.dumps((fn, dumps((task.args, dict(task.kwargs)))))


def run_task(data: bytes) -> bytes:
    """Run a call that `dumps_task` packed, in the worker, and return its outcome as bytes."""
    try:
        fn, arguments = pickle.loads(data)
        args, kwargs = loads(arguments)
        result = loads(fn)(*args, **kwargs)
        return pickle.dumps((True, dumps(result)))
    except BaseException as error:  # noqa: BLE001 - the border to the user's task
        return pickle.dumps((False, dumps_exception(error)))


def finish_task(
    task: Task,
    outcome: bytes,
    remote_traceback: Callable[[str], BaseException] = RemoteTraceback,
) -> bool:
    """End *task* with the *outcome* that `run_task` returned; return whether it counted."""
    succeeded, data = pickle.loads(outcome)
    if not succeeded:
        return task.fail(loads_exception(data, remote_traceback))
    try:
        result = loads(data)
    except BaseException as error:  # noqa: BLE001 - the user's code, run while unpickling
        failure = UnpicklableError(
            f"the result of {task.name!r} arrived but can't be unpickled here: {error}; "
            "return what unpickles in the submitting process"
        )
        failure.__cause__ = error
        return task.fail(failure)
    return task.succeed(result)
