"""Whether to show progress, and if not, why."""

from __future__ import annotations

import os
import sys

SWITCH = "POLYEXEC_PROGRESS"


def obstacle() -> str | None:
    """Return why a program started like this one would show no progress, None if it would."""
    return _why_off() or _why_hidden() or _why_elsewhere()


def sentence() -> str:
    """Return what `polyexec progress` says."""
    off, hidden = _why_off(), _why_hidden()
    if off:
        return f"progress bars are {off}"
    but = f", but none would be drawn here: {hidden}" if hidden else ""
    return f"progress bars are on{but}; {SWITCH}=0 switches them off"


def _why_off() -> str | None:
    if os.environ.get(SWITCH, "0") in {"", "0"}:
        return f"off; {SWITCH}=1 switches them on"
    return None


def _why_hidden() -> str | None:
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return "standard error is not a terminal"
    return None


def _why_elsewhere() -> str | None:
    if "polyexec.cli" in sys.modules:
        return "the commands of polyexec show their own progress"
    # Not imported for this: a program that has not imported it is no worker of it.
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        return "this is a worker process"
    return None
