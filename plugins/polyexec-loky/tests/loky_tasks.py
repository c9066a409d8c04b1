"""What the tests run in workers."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

initialized_with = 0


def meet(begun: Path, go: Path) -> str:
    """Tell that this began, and return what is written to *go*."""
    begun.write_text("begun")
    return go.read_text()


def die() -> None:
    """Kill this worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path) -> str:
    """Kill the first worker that runs this."""
    if mark.exists():
        return "alive"
    mark.touch()
    os._exit(3)


def die_halfway_through_the_answer() -> bytes:
    """Write half of a message of the result, then end this worker."""

    def send_half(connection: Connection, data: Any, _write: object = None) -> None:
        os.write(connection.fileno(), bytes(data)[: len(data) // 2])
        os._exit(4)

    Connection._send = send_half  # type: ignore[attr-defined]  # in this worker only
    return bytes(1 << 20)


class KillsWhenUnpickled:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os._exit, (5,))


def die_of_every_task() -> None:
    """Make this worker end when a task reaches it, before that is claimed."""
    import polyexec_loky._remote

    polyexec_loky._remote.run = lambda data: os._exit(6)  # noqa: ARG005 - the true one's name


def initialize(value: int) -> None:
    """Set what `initialized` returns."""
    global initialized_with  # noqa: PLW0603 - what initializers do
    initialized_with = value


def initialized() -> int:
    """Return what `initialize` set in this worker."""
    return initialized_with


def fail(message: str) -> None:
    """Raise ValueError."""
    raise ValueError(message)
