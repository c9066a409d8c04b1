"""Reading from a pipe without a new large buffer for each little message."""

from __future__ import annotations

import mmap
import os

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Final

#: How many bytes a read asks for at least.
READ: Final = 1 << 18
_MOST: Final = 1 << 24


class ReadBuffer:
    """Memory to read into, for one thread.

    `os.read` allocates as much as it asks for, which at this size is a mapping of its own: that
    would cost more than all else that a little message does. This is a mapping, too, of which only
    that takes memory, and the time to get it, which has been read into.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._memory)

    def read(self, fd: int, wanted: int) -> bytes:
        """Return what there is to read from *fd*, empty at its end; *wanted* bytes are expected."""
        if wanted > READ:
            return os.read(fd, min(wanted, _MOST))
        count = os.readv(fd, (self._memory,))
        return bytes(self._view[:count])
