"""The tasks that flow: importable in workers as `soak.chores`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn


def same(number: int) -> int:
    """Return *number*."""
    return number


def note(number: int, path: str) -> int:
    """Write *number* to the file at *path*, in one piece, and return it a moment later."""
    fd = os.open(path, os.O_APPEND | os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, b"%d\n" % number)
    finally:
        os.close(fd)
    time.sleep(number % 8 / 1000)  # else hardly any would be killed in between
    return number


def overwrite(array: Any) -> tuple[int, Any]:
    """Return the sum of *array*, and *array* with each item one larger."""
    total = int(array.sum())
    array += 1
    return total, array


def fail(number: int) -> NoReturn:
    """Raise an error that names *number*."""
    raise LookupError(number)


def hang() -> None:
    """Never return."""
    while True:
        signal.pause()
