"""Finishes accepted tasks at interpreter exit, before loky refuses to run any more.

core finishes the tasks of live executors in an exit function that it registered when polyexec was
imported. loky registers its own, after which its pools take nothing, when its first pool starts;
the last registered runs first. So ours is registered after loky's, and does core's work early.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexec_loky._executor import LokyExecutor

_live: weakref.WeakSet[LokyExecutor] = weakref.WeakSet()
_registered = False


def finish_before_loky(executor: LokyExecutor) -> None:
    """See to *executor*'s tasks at exit; called once a pool of loky's has started."""
    global _registered  # noqa: PLW0603 - once a process
    if not _registered:
        _registered = True
        # As loky and concurrent.futures do; atexit proper runs when threads have been joined.
        threading._register_atexit(_finish)  # type: ignore[attr-defined]  # private, since 3.9
    if executor not in _live:
        _live.add(executor)


def _finish() -> None:
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for executor in list(_live):
        if interrupted or executor._ledger.drops_at_exit:
            executor.drop_tasks()
        else:
            executor.shutdown(wait=True)
