"""What runs in a worker process.

A worker claims each task before it runs it, on a pipe of its own, so that the parent of one that
died knows whether its task had begun. Another pipe is its lifeline: only the parent holds the
other end, which the kernel closes when the parent dies, however it dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyexec.serialization import dumps_exception, run_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

_ORPHANED = 1


@dataclass
class _Worker:
    """This process: its pipes, what its initializer raised, and how tasks take Ctrl-C."""

    lifeline: Connection
    claims: Connection
    failure: bytes | None
    on_interrupt: Any


_this: _Worker


def boot(
    lifeline: Connection,
    claims: Connection,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """Prepare this process, and keep what *initializer* raises for `ready` to tell."""
    global _this  # noqa: PLW0603 - one worker a process
    _die_with_parent(lifeline)
    failure = None
    try:
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:  # noqa: BLE001 - the border to the user's code
        failure = dumps_exception(error)
    # Ctrl-C reaches the whole terminal: an idle worker that it interrupts would die of it.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _this = _Worker(lifeline, claims, failure, on_interrupt)


def ready() -> tuple[int, bytes | None]:
    """Return this process's id, and what its initializer raised, if it did."""
    return os.getpid(), _this.failure


def run(data: bytes) -> bytes:
    """Claim a task and run it, with SIGINT as the initializer or the last task left it."""
    _this.claims.send_bytes(b"")
    try:
        signal.signal(signal.SIGINT, _this.on_interrupt)
        return run_task(data)
    finally:
        _this.on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)


def _die_with_parent(lifeline: Connection) -> None:
    """Have this process killed when *lifeline* ends, be it idle, busy or stuck."""
    if sys.platform == "linux":
        import fcntl

        # The kernel's own signal: a thread would make every os.fork() in a task warn.
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
        if lifeline.poll():
            os._exit(_ORPHANED)
    else:
        threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()


def _watch(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(_ORPHANED)
