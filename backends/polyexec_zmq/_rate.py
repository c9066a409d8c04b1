"""How much is done per second."""

from __future__ import annotations

from collections import deque
from typing import Final

#: Over how many seconds it is averaged, and how often it is looked at.
_SPAN: Final = 5.0
_STEP: Final = 1.0


class Rate:
    """Averages over the last seconds how fast a total grows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, total: int) -> None:
        """Take note of the *total*; cheap, and may be called at any time."""
        seen = self._seen
        if not seen or now - seen[-1][0] >= _STEP:
            seen.append((now, total))
            while now - seen[0][0] > _SPAN:
                seen.popleft()

    @property
    def per_second(self) -> float:
        """How much has been added per second, as of late."""
        if len(self._seen) < 2:  # noqa: PLR2004 - two make a difference
            return 0.0
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return round((last - first) / (ended - began), 1)
