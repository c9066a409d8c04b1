"""Who has ended how often, and what has gone wrong."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """Keeps one byte for each task, so that the soak itself does not grow."""

    def __init__(self, notes: Path) -> None:
        #: The file that tasks write to which must never run twice.
        self.notes: Path = notes
        self.kinds: Counter[str] = Counter()
        self.lost: int = 0
        self.retries: int = 0
        self._lock = threading.Lock()
        self._ends = bytearray()
        self._noted = bytearray()
        self._faults: list[str] = []

    def issue(self, kind: str) -> int:
        """Return the number of a new task."""
        with self._lock:
            self.kinds[kind] += 1
            self._ends.append(0)
            self._noted.append(0)
            return len(self._ends) - 1

    def ended(self, number: int) -> None:
        """Take note that the future of *number* called back."""
        with self._lock:
            self._ends[number] = min(self._ends[number] + 1, 255)

    def succeeded_once(self, number: int) -> None:
        """Take note that a task has succeeded which writes to the notes."""
        self._noted[number] = 1

    def count(self, *, lost: int = 0, retries: int = 0) -> None:
        """Count what happens to tasks."""
        with self._lock:
            self.lost += lost
            self.retries += retries

    def fault(self, what: str) -> None:
        """Enter something that must not happen."""
        with self._lock:
            self._faults.append(what)

    @property
    def issued(self) -> int:
        """How many tasks there have been."""
        return len(self._ends)

    def faults(self) -> list[str]:
        """Return all that is wrong, now that everything has ended."""
        wrong = [
            f"task {number} ended {ends} times"
            for number, ends in enumerate(self._ends)
            if ends != 1
        ]
        ran = Counter(map(int, self.notes.read_text().split())) if self.notes.exists() else {}
        wrong += [f"task {n} ran {times} times" for n, times in ran.items() if times > 1]
        wrong += [
            f"task {number} has a result and never ran"
            for number, noted in enumerate(self._noted)
            if noted and number not in ran
        ]
        return self._faults + wrong
