"""Waits that Ctrl-C ends, for core and backends.

A signal that arrives in the moment between CPython's last look at signals and the system call that
blocks is not seen until something else wakes the main thread: an unlucky Ctrl-C does nothing. So
the main thread waits in slices; others, which no signal concerns, wait in one piece.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wait_in_slices"]

T = TypeVar("T")

#: How many seconds the main thread waits at a stretch.
SLICE = 0.5


def wait_in_slices(wait: Callable[[float | None], T], timeout: float | None = None) -> T:
    """Return what `wait(timeout)` returns once it is true, or *timeout* seconds have passed."""
    if threading.current_thread() is not threading.main_thread():
        return wait(timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = SLICE if deadline is None else max(deadline - time.monotonic(), 0)
        outcome = wait(min(left, SLICE))
        if outcome or left <= 0:
            return outcome
