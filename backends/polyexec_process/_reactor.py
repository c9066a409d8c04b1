"""One thread that waits for descriptors, and calls who wants to be told of them.

It is a thread of its own, or that of a host, which waits for other things as well: then a word less
has to go from one thread to another.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from polyexec.waiting import Event
from polyexec_process._lookout import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
#: What an owner's turn returns once all has ended.
OVER: Final = -1.0
#: How many seconds to wait at a time, at most: what waits takes no number of its own choosing.
_LONG: Final = 3600.0


class Host(Protocol):
    """Who has a thread that waits, and calls `step`."""

    thread: threading.Thread

    def adopt(self, reactor: Reactor, fd: int) -> None:
        """Begin to call `step`, with whether there is something on *fd*."""

    def dismiss(self, reactor: Reactor) -> None:
        """Call it no more."""


class Reactor:
    """The thread's parts; what it does, in which order, is its owner's affair."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host
        self._selector: selectors.BaseSelector | None = None
        self.thread: threading.Thread | None = None
        self._turn: Callable[[], float | None] = float
        self._failed: Callable[[BaseException], None] = print
        #: When the next turn is due, on a host's thread; and when there are no more.
        self.due_at: float = 0.0
        self._ended = Event()
        #: Whether the thread sleeps until something happens, or for long.
        self.resting: bool = False
        self._waker: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Make ready to watch descriptors."""
        # Another thread may fork in between: each is known as soon as it is there.
        self._selector = selectors.DefaultSelector()
        self._lookout = Lookout(self._selector.select)
        try:
            # Sockets, for one that is closed refuses: a number might be another's by then.
            self._waker = socket.socketpair()
        except BaseException:
            self.close()
            raise
        for end in self._waker:
            end.setblocking(False)  # noqa: FBT003 - its only signature
        self.watch(self._waker[0].fileno(), READ, self._awake)

    @property
    def selector(self) -> selectors.BaseSelector:
        """What waits; there is one once this is open."""
        assert self._selector is not None
        return self._selector

    def start(
        self, turn: Callable[[], float | None], failed: Callable[[BaseException], None]
    ) -> None:
        """Have the thread call *turn*, which returns how many seconds to wait, None for any.

        Events are seen to after that, and so on. What goes wrong is handed to *failed*, and ends
        it.
        """
        self._turn, self._failed = turn, failed
        if self._host is None:
            self.thread = threading.Thread(target=self._run, name="polyexec-reactor", daemon=True)
            try:
                self.thread.start()
            except BaseException:
                if not self.thread.is_alive():  # else a signal's handler raised, once it was
                    self.thread = None
                    self.close()
                raise
        else:
            self.thread = self._host.thread
            self._host.adopt(self, self.selector.fileno())  # type: ignore[attr-defined]

    def _run(self) -> None:
        if not self.is_current:
            return  # it is not wanted: a signal's handler raised as it was started
        try:
            while (timeout := self._turn()) != OVER:
                self.wait(timeout)
        except BaseException as error:  # noqa: BLE001 - it is told
            self._failed(error)

    def step(self, *, ready: bool) -> None:
        """Take a turn, if there are events that are *ready* or it is due, on a host's thread."""
        if not ready and time.monotonic() < self.due_at:
            return
        try:
            if ready:
                self.wait(0.0)
            timeout = self._turn()
        except BaseException as error:  # noqa: BLE001
            assert self._host is not None
            self._host.dismiss(self)
            self._failed(error)
            timeout = OVER
        if timeout == OVER:
            self._ended.set()
        else:
            self.due_at = float("inf") if timeout is None else time.monotonic() + timeout

    @property
    def is_hosted(self) -> bool:
        """Whether its thread waits for other things as well."""
        return self._host is not None

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
        self.due_at = 0.0
        if not self.is_current:
            self.rouse()

    def rouse(self) -> None:
        """Do as `wake`, but end this thread's next wait, too, for who may be anywhere in a turn."""
        self.due_at = 0.0
        if self._waker is not None:
            with contextlib.suppress(OSError):  # it has not read the last one yet, or has ended
                self._waker[1].send(b"!")

    def _awake(self) -> None:
        assert self._waker is not None
        with contextlib.suppress(BlockingIOError):
            self._waker[0].recv(4096)

    def wait(self, timeout: float | None) -> None:
        """Wait for events, *timeout* seconds at most, and have them seen to."""
        if timeout is None:
            events = self._lookout.wait()
        else:
            events = self.selector.select(min(timeout, _LONG))
        self.resting = False
        for key, _ in events:
            key.data()

    def join(self) -> None:
        """Return once all has ended; on a host's thread, which is to see to that meanwhile."""
        if self.thread is None:
            return
        if self._host is None:
            if not self.is_current:
                self.thread.join()
        elif not self.is_current:
            self._ended.wait()
        else:
            while not self._ended.is_set():
                self.step(ready=True)
                if not self._ended.is_set():
                    self.selector.select(min(self.due_at - time.monotonic(), _LONG))

    def close(self) -> None:
        """Close what it holds."""
        if self._host is not None:
            self._host.dismiss(self)
        selector, self._selector = self._selector, None
        if selector is not None:
            selector.close()
        for end in self._waker or ():
            end.close()
