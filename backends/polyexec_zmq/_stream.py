"""Letters between a program and its private cluster: through a socket that only those two have.

A letter goes with two threads and two wake-ups less than through ZeroMQ's sockets, which is what a
task that nobody waits behind takes most of its time for. It is told apart from the next one by what
goes before it: how many frames it has, and how long each of them is.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from polyexec_process.engine import READ, ReadBuffer
from polyexec_zmq import _wire as wire
from polyexec_zmq._connection import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from polyexec import ClusterError

_BEFORE: Final = [struct.Struct(f"<B{count}Q") for count in range(256)]
#: How many bytes may wait in the kernel, if it has that many for us.
_ROOM: Final = 1 << 20


class Stream:
    """One end; nobody but its thread may use it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - its only signature
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        self._sock = sock
        #: What of a letter there was no room for.
        self._rest: deque[memoryview] = deque()
        self._letters: deque[list[Any]] = deque()
        self._reading = ReadBuffer()
        self._start = b""
        #: A letter too large to be read with others: what has come of it, and how much that is.
        self._large: memoryview | None = None
        self._got = 0
        #: Whether the other end is closed, and all has been read that came from it.
        self.ended: bool = False

    def fileno(self) -> int:
        """Return what is readable when there are letters, or the other end is closed."""
        return self._sock.fileno()

    @property
    def is_full(self) -> bool:
        """Whether a letter has not left as a whole."""
        return bool(self._rest)

    def send(self, letter: Sequence[Any]) -> bool:
        """Send *letter*; return False if there is no room for it."""
        if self._rest and not self.push():
            return False
        sizes = [len(frame) for frame in letter]
        before = _BEFORE[len(letter)].pack(len(letter), *sizes)
        try:
            sent = self._sock.sendmsg([before, *letter])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # reading tells that it has ended
        if sent < len(before) + sum(sizes):
            self._keep([memoryview(piece) for piece in (before, *letter)], sent)
        return True

    def _keep(self, pieces: list[memoryview], sent: int) -> None:
        for piece in pieces:
            if sent < len(piece):
                self._rest.append(piece[sent:])
            sent = max(sent - len(piece), 0)

    def push(self) -> bool:
        """Send what there was no room for; return whether all has left."""
        pieces, self._rest = list(self._rest), deque()
        try:
            sent = self._sock.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            return True
        self._keep(pieces, sent)
        return not self._rest

    def receive(self) -> list[Any] | None:
        """Return the next letter, None if none has come as a whole."""
        while not self._letters and not self.ended and self._read():
            pass
        return self._letters.popleft() if self._letters else None

    @property
    def has_letters(self) -> bool:
        """Whether some have been read, and not returned."""
        return bool(self._letters)

    def _read(self) -> bool:
        """Read some bytes, or that there will be none; return False if none have come."""
        try:
            if self._large is not None:
                count = self._read_large(self._large)
            else:
                data = self._reading.read(self._sock.fileno(), 0)
                count = len(data)
                self._parse(self._start + data if self._start else data)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            count = 0
        if not count:
            self.ended = True
        return True

    def _parse(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            before = _BEFORE[data[at]]
            begin = at + before.size
            if begin > end:
                break
            sizes = before.unpack_from(data, at)[1:]
            stop = begin + sum(sizes)
            if stop > end:
                if stop - at > READ:
                    self._large = memoryview(bytearray(stop - at))
                    self._got = end - at
                    self._large[: self._got] = data[at:]
                    at = end
                break
            ends = itertools.accumulate(sizes, initial=begin)
            self._letters.append([data[a:b] for a, b in itertools.pairwise(ends)])
            at = stop
        self._start = data[at:] if at else data

    def _read_large(self, large: memoryview) -> int:
        count = self._sock.recv_into(large[self._got :])
        self._got += count
        if self._got == len(large):
            self._large = None
            before = _BEFORE[large[0]]
            ends = itertools.accumulate(before.unpack_from(large)[1:], initial=before.size)
            frames = [large[a:b] for a, b in itertools.pairwise(ends)]
            is_chunk = frames[0][0] == wire.CHUNK
            self._letters.append(
                [frame if is_chunk and len(frame) > READ else bytes(frame) for frame in frames]
            )
        return count


class StreamConnection:
    """The program's end, as a line uses it: there is one session, as long as the cluster lives."""

    once: bool = True
    channels: None = None
    greeting: float = float("inf")
    connected: bool = True

    def __init__(self, sock: socket.socket) -> None:
        self._stream = Stream(sock)
        self._poll = select.poll()
        self._fds: set[int] = set()
        self._fd = -1
        self._for_room = False
        self.readable: bool = False

    def open(self) -> None:
        """Begin the session."""
        self._fd = self._stream.fileno()
        self._poll.register(self._fd, select.POLLIN)

    def close(self, linger: int) -> None:
        """End the session; the socket is its owner's, who sees in it that we are there."""
        del linger
        if self._fd >= 0:
            self._poll.unregister(self._fd)
            self._fd = -1

    def end(self) -> None:
        """Let go of all."""

    def watch(self, fd: int) -> None:
        """Have `wait` end when there is something on *fd*."""
        self._fds.add(fd)
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Watch *fd* no more."""
        self._fds.discard(fd)
        self._poll.unregister(fd)

    def wait(self, seconds: float, *, for_room: bool = False) -> AbstractSet[int]:
        """Wait for letters, for an end, or *for_room*; return the watched that are readable."""
        stream = self._stream
        for_room = for_room or stream.is_full
        if for_room != self._for_room and self._fd >= 0:
            self._for_room = for_room
            self._poll.modify(self._fd, select.POLLIN | (select.POLLOUT if for_room else 0))
        ready = dict(self._poll.poll(0 if stream.has_letters else milliseconds(seconds)))
        self.readable = stream.has_letters or ready.get(self._fd, 0) & ~select.POLLOUT != 0
        if stream.is_full:
            stream.push()
        return self._fds.intersection(ready)

    def send(self, letter: list[Any]) -> bool:
        """Send *letter*; return False if there is no room for it."""
        return self._stream.send(letter)

    @property
    def sends(self) -> bool:
        """Whether some of what was sent has not left yet."""
        return self._stream.is_full

    def receive(self) -> list[Any] | None:
        """Return the next letter, None if none has come."""
        return self._stream.receive()

    def look(self) -> bool:
        """Return whether letters have come."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return self._stream.has_letters or bool(poll.poll(0))

    @property
    def troubled(self) -> bool:
        """Whether the other end is closed."""
        return self._stream.ended

    def failure(self) -> ClusterError | str | None:
        """Return what has become of the connection, None if it goes on."""
        return "" if self._stream.ended else None
