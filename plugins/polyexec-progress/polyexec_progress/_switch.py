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
    off = _why_off()
    if off:
        return off
    hidden = _why_hidden()
    return f"on, but nothing would be shown: {hidden}" if hidden else "on"


def _why_off() -> str | None:
    if os.environ.get(SWITCH, "0") in {"", "0"}:
        return f"off; switch it on with {SWITCH}=1"
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
