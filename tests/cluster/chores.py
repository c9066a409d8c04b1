"""What tasks do: importable in workers as `cluster.chores`."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any


def note(folder: str, line: str, name: str = "notes") -> None:
    """Add a line to a file, in one piece."""
    fd = os.open(Path(folder) / name, os.O_APPEND | os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def noted(folder: str, number: int, seconds: float = 0.0) -> int:
    """Note *number*, and return it after some time."""
    note(folder, f"{number}")
    time.sleep(seconds)  # what a task does that takes long
    return number


def held(folder: str, number: int) -> tuple[int, str]:
    """Note *number* and where, and return them once there is a file `open` in *folder*."""
    host = socket.gethostname()
    note(folder, f"{number} {host} {os.getpid()}")
    while not (Path(folder) / "open").exists():
        time.sleep(0.02)  # no event tells of a file
    note(folder, f"{number} {host}", "ended")
    return number, host


def where(_: int) -> str:
    """Return the host's name."""
    return socket.gethostname()


def same(value: Any) -> Any:
    """Return *value*."""
    return value


def worked(number: int) -> tuple[int, str, bytes]:
    """Return what depends on *number* alone, after a time that does; some of it is large."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    time.sleep(int(digest[:2], 16) / 5000)  # what a task does that takes long
    size = (1 << 21) if number % 100 == 0 else number % 1000
    return number, digest, bytes([number % 251]) * size


def with_data(number: int, data: bytes) -> tuple[int, str]:
    """Return what depends on large *data*."""
    return number, hashlib.sha256(data).hexdigest()
