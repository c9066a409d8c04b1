"""Public-API equivalents of five helpers of _test_multiprocessing that lean on stdlib internals.

No test is changed: these are the suite's own utilities, and they are replaced for every provider,
the control included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpsuite import get_ctx

if TYPE_CHECKING:
    from collections.abc import Callable


def replace_in(namespace: dict[str, Any]) -> None:
    """Replace the helpers in the executed test module's *namespace*."""
    namespace["_DummyList"] = DummyList
    namespace["close_queue"] = close_queue
    namespace["TestSyncManagerTypes"].manager_class = StartableManager
    condition, mixin = namespace["_TestCondition"], namespace["ManagerMixin"]
    condition.check_invariant = _public_invariant(condition.check_invariant)
    mixin.setUpClass = classmethod(_manager_set_up(mixin.setUpClass.__func__))


class DummyList:
    """Counts appends across processes for the Barrier tests; CPython's is in raw shared memory."""

    def __init__(self) -> None:
        self._length = get_ctx().Value("i", 0)

    def append(self, _item: object) -> None:
        """Count one append."""
        with self._length.get_lock():
            self._length.value += 1

    def __len__(self) -> int:
        with self._length.get_lock():
            return int(self._length.value)


def close_queue(queue: Any) -> None:
    """Close any queue that has a feeder (CPython's: only a multiprocessing.queues.Queue)."""
    if hasattr(queue, "join_thread"):
        queue.close()
        queue.join_thread()


def _public_invariant(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def check_invariant(self: Any, condition: Any) -> None:
        if hasattr(condition, "_sleeping_count"):  # private to the stdlib's Condition
            original(self, condition)

    return check_invariant


class _Delegate:
    """Passes on to a manager whatever it does not define itself."""

    def __init__(self, manager: Any = None) -> None:
        self._manager = manager

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self._manager, attribute)


class StartableManager(_Delegate):
    """Makes ``ctx.Manager()`` a class to instantiate and start, as TestSyncManagerTypes does."""

    def start(self) -> None:
        """Ask the context for a manager."""
        self._manager = get_ctx().Manager()


class _DebuggableManager(_Delegate):
    """Adds the private debugging calls that ManagerMixin's tear-down makes."""

    def _number_of_objects(self) -> int:
        return 0

    def join(self, timeout: float | None = None) -> None:
        """Wait for the manager's process, if it has one."""
        if hasattr(self._manager, "join"):
            self._manager.join(timeout)


def _manager_set_up(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def set_up_class(cls: Any) -> None:
        original(cls)
        if not hasattr(cls.manager, "_number_of_objects"):
            cls.manager = _DebuggableManager(cls.manager)

    return set_up_class
