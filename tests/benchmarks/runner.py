"""Runs one measurement in a process of its own, and ends whatever it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import accounting

if TYPE_CHECKING:
    from benchmarks.model import Row, Values, Variant

HERE = Path(__file__).parent
#: How the reason begins for which a measurement was given up.
LATE = "took more than"
#: How many seconds a pool may take to end, once the measurement is made.
_GRACE = 5.0
_DEVELOPERS = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONDEVMODE", "POLYEXEC_CONTEXT"}


def run(row: Row, variant: Variant, *, quick: bool) -> Values:
    """Measure *variant* once; what goes wrong is in the result, under "failed" or "lacks"."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        output, errors = Path(folder, "values"), Path(folder, "errors")
        command = [sys.executable, str(HERE / row.program), row.name, variant.label]
        command += [str(int(quick)), str(output), str(time.monotonic_ns())]
        others = set(accounting.descendants(os.getpid()))
        with errors.open("wb") as log:
            process = subprocess.Popen(
                command, env=_environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            _await(process, output, row.limit[quick])
        finally:
            status = _end(process)
            _end_orphans(others)
        if output.exists():
            values: Values = json.loads(output.read_text(encoding="utf-8"))
            return values
        if status == -signal.SIGKILL:
            return {"failed": f"{LATE} {row.limit[quick]:.0f} s"}
        said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return {"failed": said[-1] if said else f"ended with status {status}"}


def _await(process: subprocess.Popen[bytes], output: Path, limit: float) -> None:
    """Return when *process* has ended, or its time has."""
    deadline, grace = time.monotonic() + limit, None
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        if grace is None and output.exists():
            grace = deadline = time.monotonic() + _GRACE


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill *process*, if it is still there, and what it started; return its status."""
    if process.poll() is None:
        for pid in [process.pid, *accounting.descendants(process.pid)]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    status = process.wait()
    with contextlib.suppress(OSError):  # what stayed in its session, if anything did
        os.killpg(process.pid, signal.SIGKILL)
    return status


def _end_orphans(others: set[int]) -> None:
    """End what has left its session and outlived its parent: it is a child of ours by now.

    *others* are descendants of this process that were there before.
    """
    orphans = [pid for pid in accounting.descendants(os.getpid()) if pid not in others]
    for pid in orphans:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for pid in orphans:
        with contextlib.suppress(ChildProcessError):  # a child of an orphan's, until that is gone
            os.waitpid(pid, 0)


def _environment() -> dict[str, str]:
    # With compiled modules, as everywhere but in a developer's own settings.
    inherited = {key: value for key, value in os.environ.items() if key not in _DEVELOPERS}
    return inherited | {"PYTHONPATH": str(HERE.parent), "PYTHONSAFEPATH": "1"}
