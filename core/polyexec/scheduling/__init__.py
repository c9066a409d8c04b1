"""Decides which worker runs which task, and when; a state machine without I/O, clock or thread.

Events go in (submitted, worker ready, answered, stalled, lost), decisions come out (send these
jobs to that worker, hold it back, run these again). Whoever drives it does what they say.
"""

from __future__ import annotations

from polyexec._lazy import on_first_use

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec.scheduling.job import CRASHED, FAILED, LOST, Job
    from polyexec.scheduling.scheduler import Scheduler
    from polyexec.scheduling.window import SiteWindow, Window

__all__ = ["CRASHED", "FAILED", "LOST", "Job", "Scheduler", "SiteWindow", "Window"]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "polyexec.scheduling.job": ("CRASHED", "FAILED", "LOST", "Job"),
        "polyexec.scheduling.scheduler": ("Scheduler",),
        "polyexec.scheduling.window": ("SiteWindow", "Window"),
    },
)
