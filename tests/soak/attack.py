"""A thread that kills workers."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyexec_process._executor import ProcessExecutor

#: One in so many is stopped first, and killed a moment later.
STOPS = 8
#: For how many seconds at most.
MOMENT = 0.2


class Killer(threading.Thread):
    """Kills a random worker of *executors* every *interval* seconds on average, until *stop*."""

    def __init__(
        self, executors: list[ProcessExecutor], interval: float, mark: bytes, stop: threading.Event
    ) -> None:
        super().__init__()
        self._executors = executors
        self._interval = interval
        self._mark = mark
        self._stop_event = stop
        self._known: dict[int, set[str]] = {}
        self.kills: int = 0
        self.stops: int = 0

    def run(self) -> None:
        """Go on and on."""
        while not self._stop_event.wait(random.uniform(0, 2 * self._interval)):
            index = random.randrange(len(self._executors))
            workers = self._executors[index].workers()
            worker = random.choice(workers) if workers else None
            if worker is not None and self._may_die(index, worker, workers):
                self._kill(worker["pid"])

    def _may_die(self, index: int, worker: dict[str, Any], workers: list[dict[str, Any]]) -> bool:
        """Spare those that are being started, but the first after one that got ready.

        An executor gives up when several in a row die as they start.
        """
        if worker["state"] != "starting":
            return True
        known = self._known.get(index, set())
        ready = {each["name"] for each in workers if each["state"] != "starting"}
        if known and not ready - known:
            return False
        self._known[index] = {each["name"] for each in workers}
        return True

    def _kill(self, pid: int | None) -> None:
        if pid is None:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # The number may be another process's by now, but not once we hold a descriptor of it.
            if self._mark in Path(f"/proc/{pid}/environ").read_bytes():
                self._signal(fd)
        except OSError:  # it has ended
            return
        finally:
            os.close(fd)

    def _signal(self, fd: int) -> None:
        if random.randrange(STOPS) == 0:
            signal.pidfd_send_signal(fd, signal.SIGSTOP)
            self.stops += 1
            self._stop_event.wait(random.uniform(0, MOMENT))
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        self.kills += 1
