"""One thread that waits for descriptors, and calls who wants to be told of them."""

from __future__ import annotations

import contextlib
import selectors
import socket
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
        self._waker: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Make ready to watch descriptors."""
        # Another thread may fork in between: each is known as soon as it is there.
        self._selector = selectors.DefaultSelector()
        # Sockets, for one that is closed refuses: a number might be another's by then.
        self._waker = socket.socketpair()
        for end in self._waker:
            end.setblocking(False)  # noqa: FBT003 - its only signature
        self.watch(self._waker[0].fileno(), READ, self._awake)

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
        if self._waker is not None and not self.is_current:
            with contextlib.suppress(OSError):  # it has not read the last one yet, or has ended
                self._waker[1].send(b"!")

    def _awake(self) -> None:
        assert self._waker is not None
        with contextlib.suppress(BlockingIOError):
            self._waker[0].recv(4096)

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
        selector, self._selector = self._selector, None
        if selector is not None:
            selector.close()
        for end in self._waker or ():
            end.close()
