"""Memory that two processes share, without a name: the kernel frees it with its last holder.

A segment whose pages have been touched takes a copy several times faster than a fresh one, so they
are kept for the next. A store bounds how many there are, for each costs descriptors, and how many
bytes it keeps; what goes beyond that is used once.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading

from polyexec.interrupts import Uninterrupted
from polyexec_process._memory import memory

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Any, Final

#: How many segments a store has at most, and how many bytes in those that it keeps.
MOST_SEGMENTS: Final = 16
MOST_BYTES: Final = 192 << 20
_MOST_SHARED: Final = 256

_MEBIBYTE = 1 << 20
#: A kept segment may be this many times as large as what is put into it.
_SLACK = 4
# Else each mapping holds a descriptor of its own.
_UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


def map_private(fd: int) -> mmap.mmap:
    """Map all that *fd* holds: what is written to it, nobody else sees, a forked child neither."""
    return mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, **_UNTRACKED)


def map_readonly(fd: int) -> mmap.mmap:
    """Map all that *fd* holds, for reading alone."""
    return mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, **_UNTRACKED)


class Segment:
    """One piece of shared memory, mapped; *once* if it is not to be kept."""

    fd: int = -1

    def __init__(self, size: int, *, once: bool) -> None:
        self.size: int = size
        self.once: bool = once
        self.fd = memory("polyexec-data")
        try:
            os.ftruncate(self.fd, size)
            self.view: memoryview = memoryview(mmap.mmap(self.fd, size, **_UNTRACKED))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give it up; whoever has mapped it keeps what is in it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
        self.view = memoryview(b"")

    def __del__(self) -> None:
        self.close()


class Store:
    """The segments of one end, of which the other end gets to read some; any thread may call.

    There are no more than *most*.
    """

    def __init__(self, most: int = MOST_SEGMENTS) -> None:
        self._most = most
        # Re-entrant: the collector may drop a parcel while it is held.
        self._lock = threading.RLock()
        self._free: list[Segment] = []
        self._count = 0
        self._bytes = 0
        self._closed = False

    def take(self, size: int) -> Segment | None:
        """Return a segment of *size* bytes or more; None if there are too many, or no memory."""
        with Uninterrupted(), self._lock:
            fitting = [kept for kept in self._free if size <= kept.size <= size * _SLACK]
            if fitting:
                best = min(fitting, key=lambda kept: kept.size)
                self._free.remove(best)
                return best
            wanted = _rounded(size)
            while self._free and (self._count >= self._most or self._bytes + wanted > MOST_BYTES):
                self._forget(self._free.pop(0))
            if self._count >= self._most:
                return None
            once = self._bytes + wanted > MOST_BYTES
            try:
                segment = Segment(wanted, once=once)
            except OSError:  # no descriptor, or no memory; a pipe will do
                return None
            self._count += 1
            self._bytes += 0 if once else wanted
            return segment

    def give(self, segment: Segment) -> None:
        """Take back *segment*, which nobody reads any more."""
        with Uninterrupted(), self._lock:
            if segment.once or self._closed:
                self._forget(segment)
            else:
                self._free.append(segment)

    def drop(self, segment: Segment) -> None:
        """Give up *segment*, which somebody may read still."""
        with Uninterrupted(), self._lock:
            self._forget(segment)

    @property
    def crowded(self) -> bool:
        """Whether much is in use, so that more had better wait."""
        used = self._count - len(self._free)
        return used > self._most // 2 or (used > 1 and self._bytes >= MOST_BYTES // 2)

    def close(self) -> None:
        """Give up what is kept; what is in use goes as it comes back."""
        with Uninterrupted(), self._lock:
            self._closed = True
            while self._free:
                self._forget(self._free.pop())

    def _forget(self, segment: Segment) -> None:
        self._count -= 1
        self._bytes -= 0 if segment.once else segment.size
        segment.close()


def most_shared() -> int:
    """Return how many of an executor's shared objects may have a segment.

    Each costs a descriptor, and another one before Python 3.13.
    """
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_SHARED if soft < 0 else max(min(soft // 16, _MOST_SHARED), MOST_SEGMENTS)


def _rounded(size: int) -> int:
    """Return a size that other needs are likely to share."""
    if size > _MEBIBYTE:
        return -(-size // _MEBIBYTE) * _MEBIBYTE
    return 1 << (size - 1).bit_length()
