"""Counts what strangers bring about, and says so seldom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

#: How many seconds pass between two lines.
_PAUSE: Final = 1.0


class Tally:
    """How often a thing came about; *logger* tells, if not as often as somebody may wish to try.

    It is for one thread; others may read `count`.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.count: int = 0
        self._logger = logger
        self._speaks_at = 0.0

    def add(self, message: str, *arguments: object, times: int = 1) -> None:
        """Count it; *message* has a place for each of *arguments*, and for the count after them."""
        self.count += times
        now = time.monotonic()
        if now >= self._speaks_at:
            self._speaks_at = now + _PAUSE
            self._logger.warning(message, *arguments, self.count)
