"""How a worker waits for its next job, and the reactor for answers: first it keeps looking.

Where one call follows another, to be put to sleep and woken takes longer than all else that a call
takes. To look in vain takes a processor from others: so it is done for a moment only, only after a
short wait, and the more seldom the more often it was of no use.
"""

from __future__ import annotations

import os
import time

from polyexec.cpus import allowed_cpus

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

#: For how many seconds it keeps looking; and how many seconds the wait before took, at most.
_LOOK: Final = 200e-6
_SHORT: Final = 400e-6
#: How many times in a row the pause is doubled, at most, that follows upon a look in vain.
_DOUBLINGS: Final = 6


class Lookout:
    """Waits until there is something to do.

    *poll* returns what there is, if only an empty list: at once with 0, without an argument as soon
    as there is something.
    """

    def __init__(self, poll: Callable[..., list[Any]]) -> None:
        self._poll = poll
        #: Whether who is waited for can go on meanwhile.
        self._apart = allowed_cpus() > 1
        self._was_short = False
        #: How many looks in a row were in vain, and how many waits are to pass until the next.
        self._vain = 0
        self._pause = 0

    def wait(self) -> list[Any]:
        """Return what there is, once there is something."""
        began = time.perf_counter()
        if self._was_short and self._apart:
            if self._pause:
                self._pause -= 1
            elif found := self._look(began + _LOOK):
                self._vain = 0
                return found
            else:
                self._vain = min(self._vain + 1, _DOUBLINGS)
                self._pause = 1 << self._vain
        found = self._poll()
        self._was_short = time.perf_counter() - began < _SHORT
        return found

    def _look(self, until: float) -> list[Any]:
        """Return what there is, nothing if it does not come in time."""
        poll, clock = self._poll, time.perf_counter
        while clock() < until:
            if found := poll(0):
                return found
            os.sched_yield()  # to who shares this processor, who may be the one that is waited for
        return []
