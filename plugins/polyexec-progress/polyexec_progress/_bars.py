"""The bars: one for each executor that has tasks, all in one display."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.progress import TaskID

    from polyexec import Executor


class Bars:
    """Counts of submitted, finished and failed tasks by executor, and their display.

    Hooks are called on several threads at once, and an executor may be collected at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._display: Progress | None = None
        self._bars: weakref.WeakKeyDictionary[Executor, TaskID] = weakref.WeakKeyDictionary()
        self._totals: dict[TaskID, int] = {}
        self._failures: dict[TaskID, int] = {}

    def submitted(self, executor: Executor) -> None:
        """Make the bar of *executor* one task longer, drawing it if it is new."""
        with self._lock:
            display, bar = self._bar_of(executor)
            self._totals[bar] += 1
            display.update(bar, total=self._totals[bar])

    def finished(self, executor: Executor, *, failed: bool) -> None:
        """Advance the bar of *executor* by one task."""
        with self._lock:
            display, bar = self._bar_of(executor)
            self._failures[bar] += failed
            failures = self._failures[bar]
            display.update(bar, advance=1, failed=f"{failures} failed" if failures else "")

    def stopped(self, executor: Executor) -> None:
        """Draw the bar of *executor* no more; with the last one the display ends."""
        with self._lock:
            self._bars.pop(executor, None)
            if not self._bars and self._display is not None:
                self._display.stop()
                self._display = None

    def _bar_of(self, executor: Executor) -> tuple[Progress, TaskID]:
        if self._display is None:
            self._display = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("[red]{task.fields[failed]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._display.start()
        bar = self._bars.get(executor)
        if bar is None:
            bar = self._display.add_task(executor.context.name, total=0, failed="")
            self._bars[executor] = bar
            self._totals[bar] = self._failures[bar] = 0
        return self._display, bar
