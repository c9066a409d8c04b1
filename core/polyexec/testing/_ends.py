"""Waits for processes that are nobody's here."""

from __future__ import annotations

import os
import time
from pathlib import Path


def has_ended(pid: int, patience: float) -> bool:
    """Return whether the process *pid*, which is not our child, ends before patience does."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True  # the first process of a container may be one that never reaps
        time.sleep(0.01)  # nothing tells of the end of somebody else's child
    return False


def _is_zombie(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:  # it has ended meanwhile, or this system has no such files
        return False
    return state == b"Z"
