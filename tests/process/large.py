"""Tasks on large data."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from polyexec.sharing import Shared

#: What tasks of one worker have kept.
kept: list[Any] = []


def echo(value: Any) -> Any:
    """Return *value*."""
    return value


def filled(value: int, size: int) -> Any:
    """Return an array of *size* bytes."""
    return np.full(size, value, dtype=np.uint8)


def overwrite(array: Any, value: int) -> int:
    """Change *array*, and return the sum of what it held."""
    total = int(array.sum(dtype=np.int64))
    array[:] = value
    return total


def keep(array: Any) -> int:
    """Keep *array* beyond the task."""
    kept.append(array)
    return len(kept)


def kept_values() -> list[tuple[int, int]]:
    """Return the smallest and the largest of each array that was kept."""
    return [(int(array.min()), int(array.max())) for array in kept]


def die_with(array: Any) -> None:
    """Die while *array* is in use."""
    array[:1] = 0
    os.kill(os.getpid(), signal.SIGKILL)


def overwrite_and_die_once(array: Any, path: str) -> int:
    """Change *array* and die, but at the second attempt return the sum of what it held."""
    total = int(array.sum(dtype=np.int64))
    if not os.path.exists(path):  # noqa: PTH110 - shorter
        with open(path, "w"):  # noqa: PTH123 - shorter
            array[:] = 0
            os.kill(os.getpid(), signal.SIGKILL)
    return total


def shared_facts(handles: list[Shared[Any]], _: int) -> tuple[int, int, bool]:
    """Return the process, the first value of the shared array, and whether it may be changed."""
    array = handles[0].value
    return os.getpid(), int(array[0]), bool(array.flags.writeable)


def size_of(data: bytes | str, _: int) -> int:
    """Return how large *data* is."""
    return len(data)


class Holder:
    """Has a method, and much to carry along."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0

    def size(self) -> tuple[int, int]:
        """Return how much that is, and how often it was counted."""
        return len(self.data), self.count


def memory_of(handle: Shared[Any]) -> tuple[int, set[str]]:
    """Look at a shared array, and return this process, and the inodes of the segments it has."""
    assert handle.value.size
    return os.getpid(), {line.split()[4] for line in _mapped()}


def segments() -> int:
    """Return how many shared memory segments this process has mapped."""
    return len(_mapped())


def _mapped() -> list[str]:
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - shorter
        return [line for line in maps if "polyexec-data" in line]


def incremented(array: Any) -> Any:
    """Return *array*, changed in place."""
    array += 1
    return array
