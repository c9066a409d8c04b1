"""Runs users' callbacks on a thread that no task needs.

A backend's I/O thread that completes futures must not be held up by a callback that blocks. The
thread lives only while there is something to run, and is no daemon, so that interpreter exit
waits for callbacks under way.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("concurrent.futures")
# Re-entrant: a future may be collected, and so cancelled, by a thread that holds this very lock.
_lock = threading.RLock()
_waiting: deque[Callable[[], None]] = deque()
_running = False


def run_callbacks(call: Callable[[], None]) -> None:
    """Run *call* soon, after those handed in before."""
    global _running  # noqa: PLW0603 - one thread a process
    with _lock:
        _waiting.append(call)
        if _running:
            return
        _running = True
    thread = threading.Thread(target=_work, name="polyexec-callbacks")
    try:
        thread.start()
    except RuntimeError:  # the interpreter is on its way out and starts no more threads
        _work()


def _work() -> None:
    global _running  # noqa: PLW0603 - one thread a process
    while True:
        with _lock:
            if not _waiting:
                _running = False
                return
            call = _waiting.popleft()
        try:
            call()
        except BaseException:  # the user's code; those behind it must still run
            _logger.critical("a callback ended its thread", exc_info=True)


def _forget_parent() -> None:
    global _lock, _running
    _lock, _running = threading.RLock(), False
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
