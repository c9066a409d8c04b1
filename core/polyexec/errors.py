"""The errors polyexec raises on its own behalf: one class per way to fail."""

from __future__ import annotations

import concurrent.futures
import pickle
import sys
from concurrent.futures import BrokenExecutor, CancelledError, InvalidStateError

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
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
]


class PolyexecError(Exception):
    """Base of every error that polyexec raises on its own behalf."""


class PolyexecWarning(UserWarning):
    """Issued when polyexec goes on without something, such as a broken plugin."""


class BackendNotFoundError(PolyexecError, LookupError, ValueError):
    """Raised when no installed distribution offers a context of that name."""


class BackendLoadError(PolyexecError, ImportError):
    """Raised when the backend is installed, but can't be imported or makes no Context."""


class DuplicateBackendError(PolyexecError, LookupError):
    """Raised when two distributions claim the same context name."""


class IncompatibleBackendError(PolyexecError, RuntimeError):
    """Raised when the backend speaks another version of the plugin API."""


class NotSupportedError(PolyexecError, NotImplementedError):
    """Raised when a context lacks the capability that a call needs.

    *capability* is the missing one's name, *alternatives* are the installed contexts that have it.
    """

    def __init__(
        self, message: str, *, capability: str = "", alternatives: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.capability: str = capability
        self.alternatives: tuple[str, ...] = tuple(alternatives)


class ExecutorShutdownError(PolyexecError, RuntimeError):
    """Raised when a task is submitted to an executor, or an interpreter, that has shut down."""


class InitializerError(PolyexecError, BrokenExecutor):
    """Raised when a worker's initializer failed, which leaves its executor unusable."""


if sys.version_info >= (3, 11):

    class _Timeout(TimeoutError):  # noqa: N818 - a base, raised by nobody
        """Both of the standard library's timeout errors, which are one from 3.11 on."""

else:

    class _Timeout(concurrent.futures.TimeoutError, TimeoutError):  # noqa: N818 - the same
        """Both of the standard library's timeout errors."""


class TaskTimeoutError(PolyexecError, _Timeout):
    """Raised when a task ran longer than its `timeout` option and was stopped."""


class WorkerLostError(PolyexecError, BrokenExecutor):
    """Raised when the worker that ran a task died.

    All but the message may be unknown: *pid*, *exitcode* (negative: the signal), *host*, the
    *task*'s name, the *attempts* made, and *dump*, the worker's last faulthandler dump.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        host: str | None = None,
        task: str | None = None,
        attempts: int | None = None,
        dump: str | None = None,
    ) -> None:
        super().__init__(message)
        self.pid: int | None = pid
        self.exitcode: int | None = exitcode
        self.host: str | None = host
        self.task: str | None = task
        self.attempts: int | None = attempts
        self.dump: str | None = dump

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, self.__dict__)


class ClusterError(PolyexecError, ConnectionError):
    """Raised when a cluster can't be reached, or started."""


class JoinRefusedError(ClusterError):
    """Raised when a cluster's head does not let this program or node in."""


class ClusterLostError(ClusterError, BrokenExecutor):
    """Raised when a cluster was lost with a task that it had accepted."""


class UnpicklableError(PolyexecError, pickle.PicklingError, TypeError):
    """Raised when an argument, a result or an exception can't travel between processes."""


class RemoteError(PolyexecError, RuntimeError):
    """Raised in place of a task's exception that can't travel: its type's name and its text."""


class RemoteTraceback(Exception):  # noqa: N818 - multiprocessing's name
    """The traceback of an exception where it was raised, as text; the root of its causes."""

    def __init__(self, tb: str) -> None:
        super().__init__(tb)
        self.tb: str = tb

    def __str__(self) -> str:
        return f'\n"""\n{self.tb}"""'
