"""Signals by a socket, for programs that must heed them whatever their main thread waits for.

Python's own handlers run between two instructions of the main thread. A signal that comes as that
has released the interpreter's lock, and does not wait yet for what it is about to wait for, wakes
it no more.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["signalled"]

_writing = False  # whether the numbers of this process's signals are written somewhere


@contextmanager
def signalled(*numbers: int) -> Iterator[socket.socket]:
    """Yield a socket that the numbers of these signals come by, a byte for each.

    Only the main thread may call. The signals do nothing else, then or later, until a handler is
    set; but children that are forked meanwhile have what was set for them before.
    """
    global _writing  # noqa: PLW0603 - as there is one such descriptor for the whole process
    came, tells = socket.socketpair()  # Windows has signals written to nothing else
    with came, tells:
        tells.settimeout(0)
        signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        _writing = True
        for number in numbers:
            signal.signal(number, _heeded_elsewhere(signal.getsignal(number)))
        try:
            yield came
        finally:
            _writing = False
            signal.set_wakeup_fd(-1)


def _heeded_elsewhere(previous: Any) -> Callable[[int, FrameType | None], None]:
    owner = os.getpid()

    def handle(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
            signal.raise_signal(number)

    return handle


def _forked() -> None:
    """Have a child's signals written nowhere: they would be taken for its parent's."""
    if _writing:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
