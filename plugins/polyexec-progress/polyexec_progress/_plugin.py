"""The hooks: one object where progress is off, another where it is on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from polyexec import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyexec import Executor, Future
    from polyexec_progress._display import Display


class CommandPlugin:
    """Adds the command, and observes nothing."""

    @hookimpl
    def polyexec_cli_commands(self) -> Sequence[Any]:
        """Add `polyexec progress`."""
        from polyexec_progress._command import progress_command

        return [progress_command]


class ProgressPlugin(CommandPlugin):
    """Passes on to a display what executors do, in the process that made it and no other."""

    def __init__(self, display: Display | None = None) -> None:
        self._display = display
        self._pid = os.getpid()

    @hookimpl
    def polyexec_executor_started(self, executor: Executor) -> None:
        """Add a line for *executor*."""
        if os.getpid() != self._pid:
            return  # a forked child, which would write over its parent's lines
        if self._display is None:
            from polyexec_progress._display import Display

            self._display = Display()
        self._display.add(id(executor), executor.context.name)

    @hookimpl
    def polyexec_task_submitted(self, executor: Executor) -> None:
        """Count one more task."""
        if self._display is not None and os.getpid() == self._pid:
            self._display.submitted(id(executor))

    @hookimpl
    def polyexec_task_finished(self, executor: Executor, future: Future[Any]) -> None:
        """Count one more that has ended, well or not."""
        if self._display is not None and os.getpid() == self._pid:
            failed = future.cancelled() or future.exception() is not None
            self._display.finished(id(executor), failed=failed)

    @hookimpl
    def polyexec_executor_stopped(self, executor: Executor) -> None:
        """Take *executor*'s line away."""
        if self._display is not None and os.getpid() == self._pid:
            self._display.remove(id(executor))
