"""Runs handlers of log records, which are users' code, on a thread that no task needs.

The calls run one after another, in the order in which they came. The thread lives only while there
is something to run, and is no daemon, so that interpreter exit waits for it; but not for long if
Ctrl-C has ended the program. Whoever waits for it looks at `stuck`, for a handler may itself wait
for that.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final

from polyexec import _exit
from polyexec._current import here
from polyexec.waiting import Condition, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "Handling"]

#: How many seconds one call may take before nobody waits for it any more.
PATIENCE: Final = 2.0
#: How many seconds are left for what waits, where Ctrl-C has ended the program.
_GRACE: Final = 0.5
#: How often, in seconds, somebody who waits looks whether a call is stuck.
_GLANCE: Final = 0.1


class Handling:
    """Calls that wait, and the thread that runs them."""

    def __init__(self) -> None:
        # Re-entrant: the collector may run code that logs, and so hands in a call.
        self._changed = Condition()
        self._waiting: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._begun_at: float | None = None
        self._ends_at: float | None = None

    def put(self, call: Callable[[], object]) -> None:
        """Have *call* run, after those handed in before."""
        with self._changed:
            self._waiting.append(call)
            if self._thread is not None or self._start():
                return
        while self._waiting:  # the interpreter is on its way out, and starts no more threads
            _call(self._waiting.popleft())

    def _start(self) -> bool:
        # Not a daemon, even if it is a daemon that starts it.
        thread = threading.Thread(target=self._run, name="polyexec-records", daemon=False)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        here.overdraws = True  # a handler that submits must not wait for room
        while True:
            with self._changed:
                self._begun_at = None
                if _exit.exiting and interrupted() and self._is_late():
                    self._waiting.clear()
                if not self._waiting:
                    self._thread = None
                    self._changed.notify_all()
                    return
                call = self._waiting.popleft()
                self._begun_at = time.monotonic()
            _call(call)
            del call

    def _is_late(self) -> bool:
        """Return whether the grace that begins with the first call of this is over."""
        now = time.monotonic()
        self._ends_at = self._ends_at or now + _GRACE
        return now > self._ends_at

    @property
    def is_current(self) -> bool:
        """Whether the caller is within a call."""
        return self._thread is threading.current_thread()

    @property
    def stuck(self) -> bool:
        """Whether a call takes so long that it may never return."""
        begun_at = self._begun_at
        return begun_at is not None and time.monotonic() - begun_at > PATIENCE

    def join(self) -> None:
        """Return once all calls have returned, or one is stuck; at once within a call."""
        # The loop is around the lock: Ctrl-C as one within goes on may leave that held.
        while self._is_others:
            with self._changed:
                if self._is_others:
                    self._changed.wait(_GLANCE)

    @property
    def _is_others(self) -> bool:
        """Whether another thread is within a call, which may return."""
        return self._thread not in (None, threading.current_thread()) and not self.stuck


def _call(call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException:  # noqa: BLE001 - the user's code; those behind it must still run
        # Not by logging, which is what has just failed.
        traceback.print_exc()
