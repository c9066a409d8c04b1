"""The lines on the terminal, one for each executor that has started and not stopped."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import progress
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Line:
    """What one executor's line shows."""

    place: progress.TaskID
    submitted: int = 0
    finished: int = 0
    failed: int = 0


class Display:
    """Shows lines while there are any; executors are known by number, so as to keep none alive."""

    def __init__(self, make: Callable[[], progress.Progress] | None = None) -> None:
        self._make = make or terminal_progress
        self._shown: progress.Progress | None = None
        self._lines: dict[int, Line] = {}
        # Re-entrant: an executor may be collected, and so removed, while it is held.
        self._lock = threading.RLock()

    def add(self, executor: int, name: str) -> None:
        """Show a line for *executor* under *name*."""
        with self._lock:
            if self._shown is None:
                self._shown = self._make()
                self._shown.start()
                # So that a program that has to end abruptly leaves no hidden cursor.
                self._shown.console.show_cursor()
            self._lines[executor] = Line(self._shown.add_task(name, total=0, failures=""))

    def submitted(self, executor: int) -> None:
        """Count a task of *executor*."""
        with self._lock:
            line = self._lines.get(executor)
            if line is not None and self._shown is not None:
                line.submitted += 1
                self._shown.update(line.place, total=line.submitted)

    def finished(self, executor: int, *, failed: bool) -> None:
        """Count a task of *executor* that has ended."""
        with self._lock:
            line = self._lines.get(executor)
            if line is not None and self._shown is not None:
                line.finished += 1
                line.failed += failed
                failures = f"{line.failed} failed" if line.failed else ""
                self._shown.update(line.place, completed=line.finished, failures=failures)

    def remove(self, executor: int) -> None:
        """Take *executor*'s line away, and leave the terminal as it was if it was the last."""
        with self._lock:
            line = self._lines.pop(executor, None)
            if line is None or self._shown is None:
                return
            if self._lines:
                self._shown.remove_task(line.place)
            else:
                self._shown.stop()
                self._shown = None


def terminal_progress(console: Console | None = None) -> progress.Progress:
    """Make the columns, on standard error."""
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[failures]}"),
        progress.TimeElapsedColumn(),
        console=console or Console(stderr=True),
        redirect_stdout=sys.stdout is not None
        and sys.stdout.isatty(),  # else it is piped, as it is
        transient=True,
    )
