"""How a worker waits for its next job: for a moment it keeps looking, if that is about to come.

Where one call follows another, to be put to sleep and woken takes longer than all else that a call
takes. To look in vain takes a processor from others: so it is done only after a short wait, and the
more seldom the more often it was of no use.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final

from polyexec.cpus import allowed_cpus

#: For how many seconds it keeps looking; and how many seconds the wait before took, at most.
_LOOK: Final = 200e-6
_SHORT: Final = 400e-6
#: How many times in a row the pause is doubled, at most, that follows upon a look in vain.
_DOUBLINGS: Final = 6


class Lookout:
    """Waits until there is something to read from *fd*."""

    def __init__(self, fd: int) -> None:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        self._poll = poller.poll
        #: Whether who gives jobs can go on meanwhile.
        self._apart = allowed_cpus() > 1
        self._was_short = False
        #: How many looks in a row were in vain, and how many waits are to pass until the next.
        self._vain = 0
        self._pause = 0

    def wait(self) -> None:
        """Return once there is something, or the other end is closed."""
        began = time.perf_counter()
        if self._was_short and self._apart:
            if self._pause:
                self._pause -= 1
            elif self._look(began + _LOOK):
                self._vain = 0
                return
            else:
                self._vain = min(self._vain + 1, _DOUBLINGS)
                self._pause = 1 << self._vain
        self._poll()
        self._was_short = time.perf_counter() - began < _SHORT

    def _look(self, until: float) -> bool:
        """Return whether something comes in time."""
        poll, clock = self._poll, time.perf_counter
        while clock() < until:
            if poll(0):
                return True
            os.sched_yield()  # to who shares this processor, who may be the one that is waited for
        return False
