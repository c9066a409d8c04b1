"""Finishes accepted tasks at interpreter exit, before loky refuses to run any more.

core finishes the tasks of live executors in an exit function that it registered when polyexec was
imported. loky registers its own, after which its pools take nothing, each time it starts a pool;
the last registered runs first. So ours is registered after loky's each time, and does core's work
early; it may run several times, of which the first counts.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexec_loky._executor import LokyExecutor

_live: weakref.WeakSet[LokyExecutor] = weakref.WeakSet()


def finish_at_exit(executor: LokyExecutor, /) -> None:
    """Have *executor*'s tasks finished before the interpreter exits."""
    _live.add(executor)


def come_before_loky() -> None:
    """Have that done before loky's own exit function, which a new pool has just registered."""
    # As loky and concurrent.futures do; atexit proper runs when threads have been joined.
    threading._register_atexit(_finish)  # type: ignore[attr-defined]  # private, since 3.9


def _finish() -> None:
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for executor in list(_live):
        if interrupted or executor._ledger.drops_at_exit:
            executor.drop_tasks()
        else:
            executor.shutdown(wait=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_live.clear)
