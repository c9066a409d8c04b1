"""Decides which worker runs which task, and when; a state machine without I/O, clock or thread.

Events go in (submitted, worker ready, answered, stalled, lost), decisions come out (send these
jobs to that worker, hold it back, run these again). Whoever drives it does what they say.
"""

from polyexec.scheduling.job import CRASHED, FAILED, LOST, Job
from polyexec.scheduling.scheduler import Scheduler
from polyexec.scheduling.window import SiteWindow, Window

__all__ = ["CRASHED", "FAILED", "LOST", "Job", "Scheduler", "SiteWindow", "Window"]
