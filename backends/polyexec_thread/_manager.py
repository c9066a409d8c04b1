"""multiprocessing's Manager, for threads: shared objects need no server, they are shared.

What a SyncManager makes are proxies of objects in another process. Here they are the objects, with
the proxies' extra methods; methods of lists and dicts are atomic, as the proxies' are.
"""

from __future__ import annotations

from multiprocessing.managers import Namespace
from typing import TYPE_CHECKING, Any

from polyexec_thread._queues import ThreadJoinableQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from polyexec_thread._context import ThreadContext


class ThreadManager:
    """Makes shared objects; they outlive `shutdown`, for they live in this process."""

    def __init__(self, context: ThreadContext) -> None:
        self.Lock = context.Lock
        self.RLock = context.RLock
        self.Semaphore = context.Semaphore
        self.BoundedSemaphore = context.BoundedSemaphore
        self.Condition = context.Condition
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


class SharedList(list[Any]):
    """A list, with what its proxy has besides."""

    def _getvalue(self) -> list[Any]:
        return list(self)


class SharedDict(dict[Any, Any]):
    """A dict, with what its proxy has besides."""

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
