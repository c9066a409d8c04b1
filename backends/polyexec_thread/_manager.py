"""multiprocessing's Manager, for threads: shared objects need no server, they are shared.

What a SyncManager makes are proxies of objects in another process. Here they are the objects, with
the proxies' extra methods; methods of lists and dicts are atomic, as the proxies' are.
"""

from __future__ import annotations

from multiprocessing.managers import Namespace
from typing import TYPE_CHECKING, Any

from polyexec_thread._queues import ThreadJoinableQueue
from polyexec_thread._sync import (
    ThreadBoundedSemaphore,
    ThreadCondition,
    ThreadLock,
    ThreadRLock,
    ThreadSemaphore,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from polyexec_thread._context import ThreadContext


class ThreadManager:
    """Makes shared objects; they outlive `shutdown`, for they live in this process."""

    def __init__(self, context: ThreadContext) -> None:
        self.Lock = SharedLock
        self.RLock = SharedRLock
        self.Semaphore = SharedSemaphore
        self.BoundedSemaphore = SharedBoundedSemaphore
        self.Condition = SharedCondition
        self.Event = context.Event
        self.Barrier = context.Barrier
        self.Pool = context.Pool

    def start(
        self, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()
    ) -> None:
        """Run *initializer*; there is no process to start."""
        if initializer is not None:
            initializer(*initargs)

    def shutdown(self) -> None:
        """Do nothing: there is no process to end."""

    def join(self, timeout: float | None = None) -> None:
        """Do nothing: there is no process to wait for."""

    def __enter__(self) -> ThreadManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def list(self, *args: Any) -> SharedList:
        """Return a shared list."""
        return SharedList(*args)

    def dict(self, *args: Any, **kwds: Any) -> SharedDict:
        """Return a shared dict."""
        return SharedDict(*args, **kwds)

    def Namespace(self, **attributes: Any) -> Namespace:
        """Return a shared object with attributes."""
        return Namespace(**attributes)

    def Value(self, typecode: Any, value: Any, lock: bool = True) -> SharedValue:  # noqa: ARG002, FBT001, FBT002 - multiprocessing's signature
        """Return a shared value."""
        return SharedValue(typecode, value)

    def Array(self, typecode: str, sequence: Iterable[Any], lock: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - multiprocessing's signature
        """Return a shared array."""
        import array

        return array.array(typecode, sequence)

    def Queue(self, maxsize: int = 0) -> SharedQueue:
        """Return a shared queue."""
        return SharedQueue(maxsize)

    JoinableQueue = Queue


class _Acquired:
    """Has `acquire` with the signature of threading's locks, which a manager's are."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 - threading's signature
        """Take it; blocks, for *timeout* seconds at most, if *blocking*."""
        return super().acquire(blocking, timeout)  # type: ignore[misc,no-any-return]  # of those below


class SharedLock(_Acquired, ThreadLock):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A lock."""


class SharedRLock(_Acquired, ThreadRLock):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A lock that its holder may take again."""


class SharedSemaphore(_Acquired, ThreadSemaphore):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A semaphore."""


class SharedBoundedSemaphore(_Acquired, ThreadBoundedSemaphore):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A semaphore that can't be released above its value."""


class SharedCondition(ThreadCondition):
    """A condition variable."""

    def __init__(self, lock: Any = None) -> None:
        super().__init__(SharedRLock() if lock is None else lock)


class SharedList(list[Any]):
    """A list, with what its proxy has besides."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def _getvalue(self) -> list[Any]:
        return list(self)


class SharedDict(dict[Any, Any]):
    """A dict, with what its proxy has besides; its views are lists, as the proxy's are."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def keys(self) -> list[Any]:  # type: ignore[override]
        """Return the keys of this moment."""
        return list(super().keys())

    def values(self) -> list[Any]:  # type: ignore[override]
        """Return the values of this moment."""
        return list(super().values())

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """Return the items of this moment."""
        return list(super().items())

    def _getvalue(self) -> dict[Any, Any]:
        return dict(self)


class SharedValue:
    """A value, with what its proxy has."""

    def __init__(self, typecode: Any, value: Any) -> None:
        self.typecode = typecode
        self.value = value

    def get(self) -> Any:
        """Return the value."""
        return self.value

    def set(self, value: Any) -> None:
        """Set the value."""
        self.value = value

    def __repr__(self) -> str:
        return f"Value({self.typecode!r}, {self.value!r})"


class SharedQueue(ThreadJoinableQueue):
    """A queue that nobody closes, as a manager's is `queue.Queue`."""

    def close(self) -> None:
        """Do nothing."""

    def join_thread(self) -> None:
        """Do nothing."""
