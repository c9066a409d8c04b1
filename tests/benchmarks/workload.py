"""What the workers run; light to import, for that is measured, too."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Array elements (of eight bytes) in a page of memory.
PAGE = 512


def nothing() -> None:
    """Do nothing."""


def same(value: Any) -> Any:
    """Return *value*."""
    return value


def nap(seconds: float) -> int:
    """Sleep, so that the other worker gets something as well; return the process."""
    time.sleep(seconds)
    return os.getpid()


def lasting(seconds: float) -> float:
    """Sleep, and return how long it really took."""
    began = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - began


def busy(number: int) -> int:
    """Use one millisecond of processor time."""
    end = time.thread_time_ns() + 1_000_000
    while time.thread_time_ns() < end:
        pass
    return number


def wait_for(path: str) -> None:
    """Return when there is a file of that name."""
    while not os.path.exists(path):  # noqa: PTH110 - pathlib is not light
        time.sleep(0.01)


def size(data: bytes, number: int) -> int:
    """Return a number that depends on both."""
    return len(data) + number


def closure(data: bytes) -> Callable[[int], int]:
    """Return a function that no import finds, with *data* in it."""
    return lambda number: len(data) + number


def touch(array: Any) -> float:
    """Read each page of *array*."""
    return float(array[::PAGE].sum())


def filled(length: int) -> Any:
    """Return a new array of that many numbers."""
    import numpy as np

    return np.ones(length)
