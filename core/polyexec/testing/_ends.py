"""Waits for processes that are nobody's here."""

from __future__ import annotations

import os
import time


def has_ended(pid: int, patience: float) -> bool:
    """Return whether the process *pid*, which is not our child, ends before patience does."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)  # nothing tells of the end of somebody else's child
    return False
