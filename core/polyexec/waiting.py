"""Waits that Ctrl-C ends, for core and backends.

A signal that arrives in the moment between CPython's last look at signals and the system call that
blocks is not seen until something else wakes the main thread: an unlucky Ctrl-C does nothing. So
the main thread waits in slices; others, which no signal concerns, wait in one piece.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from polyexec.interrupts import strike

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["interrupted", "wait_in_slices"]

T = TypeVar("T")

#: How many seconds the main thread waits at a stretch.
SLICE = 0.5


def wait_in_slices(wait: Callable[[float | None], T], timeout: float | None = None) -> T:
    """Return what `wait(timeout)` returns once it is true, or *timeout* seconds have passed.

    *wait* must look at what it waits for before it blocks, as `Condition.wait_for` and `Event.wait`
    do: a bare `Condition.wait` may be woken just as its slice ends, and would wait again.
    """
    if threading.current_thread() is not threading.main_thread():
        return wait(timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        strike()
        left = SLICE if deadline is None else max(deadline - time.monotonic(), 0)
        outcome = wait(min(left, SLICE))
        if outcome or left <= 0:
            return outcome


def interrupted() -> bool:
    """Return whether Ctrl-C has ended the main program, or something that Ctrl-C brought about."""
    error: BaseException | None = getattr(sys, "last_value", None)
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
