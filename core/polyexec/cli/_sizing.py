"""How many items make a chunk."""

from __future__ import annotations

TINY = 0.001  # seconds an item takes on average, up to which chunks grow
TARGET = 0.01  # seconds a chunk should take: a hundred times what a task costs, and not felt
LARGEST = 1024  # items


class ChunkSizer:
    """Grows chunks from one item on while measured items are tiny; a *fixed* size stays as it is."""

    def __init__(self, fixed: int | None = None) -> None:
        self.size = fixed or 1
        self._adapts = fixed is None

    def measured(self, items: int, seconds: float) -> None:
        """Take in that a chunk of *items* took *seconds*."""
        if not self._adapts:
            return
        mean = seconds / items
        if mean >= TINY:
            self.size = 1
        elif items >= self.size // 2:  # a smaller one, cut short by the input, would say little
            self.size = max(1, min(2 * self.size, LARGEST, int(TARGET / max(mean, 1e-9))))

    def lost(self) -> None:
        """Take in that a chunk was lost as a whole: from now on, no item takes others along."""
        if self._adapts:
            self._adapts = False
            self.size = 1
