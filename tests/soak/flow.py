"""Threads that keep tasks flowing, and one that opens and closes executors meanwhile."""

from __future__ import annotations

import random
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from soak.chores import same
from soak.kinds import KINDS, PATIENCE, Kind, Stopped, caller, checked

if TYPE_CHECKING:
    from polyexec import Context, Executor, Future
    from soak.ledger import Ledger

#: How many tasks of one thread may wait at a time.
WINDOW = 300


class Submitter(threading.Thread):
    """Submits tasks to *executor* until *stop* is set; then waits for the last of them."""

    def __init__(self, executor: Executor, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__()
        self._executor = executor
        self._ledger = ledger
        self._stop_event = stop

    def run(self) -> None:
        """Go on and on."""
        try:
            self._flow()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the report has it
            self._ledger.fault(f"{self.name} ended by {error!r}")

    def _flow(self) -> None:
        waiting: deque[tuple[Kind, Future[Any], int]] = deque()
        shares = [kind.share for kind in KINDS]
        while not self._stop_event.is_set():
            for kind in random.choices(KINDS, shares, k=WINDOW // 3):
                number = self._ledger.issue(kind.name)
                future = kind.submit(self._executor, number, self._ledger)
                future.add_done_callback(caller(self._ledger, number))
                waiting.append((kind, future, number))
            self._settle(waiting, down_to=WINDOW)
        # Those that run until they are stopped first: where nobody kills workers any more, they
        # might keep all of them from a task that lost its own, and is waited for before.
        first = sorted(waiting, key=lambda each: not isinstance(each[0], Stopped))
        self._settle(deque(first), down_to=0)

    def _settle(self, waiting: deque[tuple[Kind, Future[Any], int]], down_to: int) -> None:
        while len(waiting) > down_to:
            checked(*waiting.popleft(), self._ledger)


class Churner(threading.Thread):
    """Opens an executor, uses it and closes it, until *stop* is set."""

    def __init__(self, context: Context, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__()
        self._context = context
        self._ledger = ledger
        self._stop_event = stop
        self.times: int = 0

    def run(self) -> None:
        """Go on and on."""
        wanted = list(range(100))
        while not self._stop_event.wait(0.5):
            with self._context.Executor(1) as executor:
                if list(executor.map(same, wanted, timeout=PATIENCE)) != wanted:
                    self._ledger.fault("a map brought something else")
            self.times += 1
