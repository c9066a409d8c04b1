"""One thread that waits for descriptors, and calls who wants to be told of them."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Reactor:
    """The thread's parts; what it does, in which order, is its owner's affair."""

    def __init__(self) -> None:
        self._selector: selectors.BaseSelector | None = None
        self.thread: threading.Thread | None = None
        #: Whether the thread sleeps until something happens.
        self.resting: bool = False
        self._waker = (-1, -1)

    def open(self) -> None:
        """Make ready to watch descriptors."""
        # Another thread may fork in between: each is known as soon as it is there.
        self._selector = selectors.DefaultSelector()
        self._waker = os.pipe()
        for fd in self._waker:
            os.set_blocking(fd, False)
        self.watch(self._waker[0], READ, self._awake)

    @property
    def selector(self) -> selectors.BaseSelector:
        """What waits; there is one once this is open."""
        assert self._selector is not None
        return self._selector

    def start(self, run: Callable[[], None]) -> None:
        """Have the thread call *run*."""
        self.thread = threading.Thread(target=run, name="polyexec-reactor", daemon=True)
        self.thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller is this thread."""
        return threading.current_thread() is self.thread

    def watch(self, fd: int, events: int, call: Callable[[], None]) -> None:
        """Have *call* called when there are *events* on *fd*."""
        self.selector.register(fd, events, call)

    def forget(self, fd: int) -> None:
        """Watch *fd* no more, if it was watched."""
        with contextlib.suppress(KeyError):
            self.selector.unregister(fd)

    def wake(self) -> None:
        """End the thread's wait; any thread may call."""
        if self._waker[1] >= 0 and not self.is_current:
            with contextlib.suppress(BlockingIOError):  # it has not read the last one yet
                os.write(self._waker[1], b"!")

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._waker[0], 4096)

    def wait(self, timeout: float | None) -> None:
        """Wait for events, *timeout* seconds at most, and have them seen to."""
        events = self.selector.select(timeout)
        self.resting = False
        for key, _ in events:
            key.data()

    def join(self) -> None:
        """Return once the thread has ended, unless this is it."""
        if self.thread is not None and not self.is_current:
            self.thread.join()

    def close(self) -> None:
        """Close what it holds."""
        waker, self._waker = self._waker, (-1, -1)
        selector, self._selector = self._selector, None
        if selector is not None:
            selector.close()
        for fd in waker:
            if fd >= 0:
                os.close(fd)
