"""What becomes of unfinished work when the interpreter exits.

Accepted tasks are finished, as in concurrent.futures: `_finish` runs before Python waits for its
threads, drains unread maps, and shuts every live executor down. A Pool's are dropped, as in
multiprocessing. After Ctrl-C has ended the main program nothing is waited for, so that it ends at
once, with one traceback.
"""

from __future__ import annotations

import os
import threading
import weakref

from polyexec.waiting import interrupted

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from polyexec.executor import Executor

_live: weakref.WeakSet[Executor] = weakref.WeakSet()
_lock = threading.RLock()
exiting = False


def finish_at_exit(executor: Executor) -> None:
    """Have *executor*'s tasks finished before the interpreter exits."""
    with _lock:
        _live.add(executor)


def _finish() -> None:
    global exiting  # noqa: PLW0603 - once a process
    dropped = interrupted()
    with _lock:
        live = list(_live)
    executors = [(executor, dropped or executor._ledger.drops_at_exit) for executor in live]
    for executor, drop in executors:
        executor._ledger.settle_maps(cancel=drop, last=True)
    exiting = True
    for executor, drop in executors:
        executor.shutdown(wait=not drop, cancel_futures=drop)


def _forget_parent() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may hold it
    _lock = threading.RLock()
    # The threads that would have run these tasks exist in the parent only.
    for executor in list(_live):
        executor._ledger.abandon()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)

try:
    # As concurrent.futures does; atexit proper runs too late, when threads have been joined.
    threading._register_atexit(_finish)  # type: ignore[attr-defined]  # private, there since 3.9
except RuntimeError:
    exiting = True  # imported while the interpreter exits
