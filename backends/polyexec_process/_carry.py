"""The worker's side of what surrounds its tasks: where its log records go."""

from __future__ import annotations

import errno
import os
import socket

from polyexec_process._frames import COUNT, LARGEST_RECORD, RECORDS, TRACKER
from polyexec_process._memory import memory
from polyexec_process._tracker import share_tracker

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from polyexec.surroundings import Surroundings


class Channel:
    """Sends records to the process that handles them; blocks while that has too many."""

    def __init__(self, fd: int, page: memoryview) -> None:
        os.set_inheritable(fd, False)  # noqa: FBT003 - its only signature
        self._sock = socket.socket(fileno=fd)
        self._page = page
        self._pid = os.getpid()

    def send(self, record: bytes) -> None:
        """Send *record*; one thread at a time may call."""
        if os.getpid() != self._pid:  # a process that a task forked
            self._send(COUNT.pack(0), record)
            return
        # Ctrl-C may strike in between: then the next record has the same number.
        number = self._page[RECORDS] + 1
        self._send(COUNT.pack(number), record)
        self._page[RECORDS] = number

    def ask_tracker(self, fd: int) -> None:
        """Have the pipe of the tracker sent to the socket *fd*; any thread may call."""
        socket.send_fds(self._sock, [COUNT.pack(TRACKER)], [fd])

    def _send(self, header: bytes, record: bytes) -> None:
        if len(record) < LARGEST_RECORD:
            try:
                self._sock.sendmsg([header, record])
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # not every system takes as much
                    raise
            else:
                return
        fd = memory("polyexec-record")
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(record)
            socket.send_fds(self._sock, [header], [fd])
        finally:
            os.close(fd)


_channel: Channel | None = None


def open_channel(fd: int, page: memoryview) -> None:
    """Have this worker's records go to *fd*, and be counted in *page*."""
    global _channel  # noqa: PLW0603 - once a process
    _channel = Channel(fd, page)


def settle(surroundings: Surroundings, *, forked: bool) -> None:
    """Be surrounded by what the executor's process is surrounded by, and was *forked* from it."""
    assert _channel is not None
    share_tracker(_channel.ask_tracker, inherited=forked)
    surroundings.settle(_channel.send)
