"""An observer for polyexec that draws a progress bar for each executor.

It is on where POLYEXEC_PROGRESS is set to something other than 0 and standard error is a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from polyexec import hookimpl
from polyexec_progress._bars import Bars

if TYPE_CHECKING:
    from polyexec import Executor, Future

__all__ = [
    "polyexec_cli_commands",
    "polyexec_executor_stopped",
    "polyexec_task_finished",
    "polyexec_task_submitted",
]

SWITCH = "POLYEXEC_PROGRESS"

_bars = Bars()


def is_on() -> bool:
    """Return whether bars are drawn."""
    wanted = os.environ.get(SWITCH, "0") not in ("", "0")
    return wanted and sys.stderr is not None and sys.stderr.isatty()


@hookimpl
def polyexec_task_submitted(executor: Executor) -> None:
    """Make the executor's bar longer."""
    if is_on():
        _bars.submitted(executor)


@hookimpl
def polyexec_task_finished(executor: Executor, future: Future[Any]) -> None:
    """Advance the executor's bar."""
    if is_on():
        _bars.finished(executor, failed=future.cancelled() or future.exception(0) is not None)


@hookimpl
def polyexec_executor_stopped(executor: Executor) -> None:
    """Leave the executor's bar as it is."""
    _bars.stopped(executor)


@hookimpl
def polyexec_cli_commands() -> list[Any]:
    """Add `polyexec progress`."""
    from polyexec_progress._command import progress

    return [progress]
