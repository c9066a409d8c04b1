"""How many items make a chunk."""

from __future__ import annotations

TINY = 0.001  # seconds an item takes on average, up to which chunks grow
TARGET = 0.01  # seconds a chunk should take: far more than a task costs, yet not felt
LARGEST = 1024  # items
FADING = 0.9  # what a measurement still counts after the next one


class ChunkSizer:
    """Grows chunks from one item on while measured items are tiny; a *fixed* size stays.

    The mean runs over many chunks, since one on a thread may have done nothing but wait for its
    turn. It forgets them all when a chunk ran out of time: its items are of another kind.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.size = fixed or 1
        self._adapts = fixed is None
        self._seconds = 0.0
        self._items = 0.0

    def measured(self, items: int, seconds: float, *, cut: bool = False) -> None:
        """Take in that *items* took *seconds*, and whether their chunk was *cut* short then."""
        fading = 0 if cut else FADING
        self._seconds = fading * self._seconds + seconds
        self._items = fading * self._items + items
        if self._adapts:
            mean = max(self._seconds / self._items, TARGET / LARGEST)
            self.size = min(2 * self.size, int(TARGET / mean)) if mean < TINY else 1

    def lost(self) -> None:
        """Take in that a chunk was lost as a whole: from now on, no item takes others along."""
        if self._adapts:
            self._adapts = False
            self.size = 1
