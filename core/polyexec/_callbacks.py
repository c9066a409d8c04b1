"""Runs users' callbacks on a thread that no task needs.

A backend's I/O thread that completes futures must not be held up by a callback that blocks. So one
thread, the leader, runs callbacks one after another. Callbacks may wait for each other, too: where
one has not returned for a while and others wait behind it, the thread that stands by takes the
lead, and the old leader ends when its callback does. The threads live only while there is
something to run, and are no daemons, so that interpreter exit waits for callbacks under way.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from polyexec.waiting import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many seconds a callback may hold up the others.
PATIENCE = 0.05

_logger = logging.getLogger("concurrent.futures")


class _Callbacks:
    """Calls that wait, the thread that runs them, and the one that stands by."""

    def __init__(self) -> None:
        # Re-entrant: a future may be collected, and so cancelled, by a thread that holds it.
        self._changed = Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._leader: threading.Thread | None = None
        self._standby: threading.Thread | None = None
        self._taken = 0

    def put(self, call: Callable[[], None]) -> None:
        """Have *call* run."""
        with self._changed:
            self._waiting.append(call)
            if self._leader is None:
                self._leader = self._start(self._lead)
            elif self._standby is None:
                self._standby = self._start(self._stand_by)
            else:
                return
            if self._leader is not None:
                return
        self._run_all()  # the interpreter is on its way out, and starts no more threads

    def _start(self, target: Callable[[], None]) -> threading.Thread | None:
        # Not a daemon, even if it is a daemon that starts it.
        thread = threading.Thread(target=target, name="polyexec-callbacks", daemon=False)
        try:
            thread.start()
        except RuntimeError:
            return None
        return thread

    def _lead(self) -> None:
        while True:
            with self._changed:
                if self._leader is not threading.current_thread():
                    return
                if not self._waiting:
                    self._leader = None
                    self._changed.notify_all()
                    return
                call = self._waiting.popleft()
                self._taken += 1
                if self._waiting and self._standby is None:
                    self._standby = self._start(self._stand_by)
            _run(call)

    def _stand_by(self) -> None:
        with self._changed:
            while self._waiting and self._leader is not None:
                taken = self._taken
                self._changed.wait(PATIENCE)
                if taken == self._taken and self._waiting:
                    self._leader = threading.current_thread()
                    break
            self._standby = None
        self._lead()

    def _run_all(self) -> None:
        while self._waiting:
            _run(self._waiting.popleft())


def _run(call: Callable[[], None]) -> None:
    try:
        call()
    except BaseException:  # the user's code; those behind it must still run
        _logger.critical("a callback ended its thread", exc_info=True)


_callbacks = _Callbacks()


def run_callbacks(call: Callable[[], None]) -> None:
    """Run *call* soon, after those handed in before."""
    _callbacks.put(call)


def _forget_parent() -> None:
    global _callbacks  # noqa: PLW0603 - the parent's threads do not exist here
    _callbacks = _Callbacks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
