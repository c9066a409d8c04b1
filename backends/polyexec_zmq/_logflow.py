"""What workers log, on its way to a program: no more of it than is handled there soon.

Who hands in more waits, so that the workers' records stay where they are, and logging blocks there.

    node                                         program
    RECORD: bytes so far, the record      ->     handled, counted
    (waits once too many are on the way)  <-     HEARD: bytes so far
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polyexec.waiting import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many bytes may be on their way, and of how many handled ones the node hears at once.
MOST: Final = 1 << 20
SOME: Final = MOST // 32
#: What a record counts besides its own length.
OVERHEAD: Final = 1 << 10


class LogFlow:
    """The records of one executor's workers on one node; *put* has one sent, with its number."""

    def __init__(self, put: Callable[[int, bytes], None]) -> None:
        self._put = put
        self._changed = Condition()
        self._sent = 0
        self._heard = 0
        self._open = False

    def hand_in(self, record: bytes) -> None:
        """Have *record* sent, once there is room; on the thread of the pool's records."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._sent - self._heard < MOST)
            self._sent += len(record) + OVERHEAD
            number = self._sent
        self._put(number, record)

    def heard(self, number: int) -> None:
        """Take note that the program has handled what came before *number*."""
        with self._changed:
            self._heard = max(self._heard, number)
            self._changed.notify_all()

    def forget(self) -> None:
        """Take note that what was on its way may have been lost."""
        with self._changed:
            self._heard = self._sent
            self._changed.notify_all()

    def end(self) -> None:
        """Wait for nobody any more, for the workers are killed."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
