"""What tasks print on another machine: from the worker's streams to those of its program.

A worker of a node that has its own machine has its stdout and stderr connected to the node, and so
has whatever it starts. The node sends on whole lines, before the answers of the tasks that wrote
them; the program writes each with its worker's name before it.

    [node/ZmqProcess-2] a line

A name of the kind that is used has no file, and any process of the machine may connect to it; so
the node asks the kernel whose process it is.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long a line may be, and how much is read from one stream at a time, in bytes.
LONGEST_LINE: Final = 1 << 16
#: How much of an executor's output waits to be written by the program, in bytes.
MOST_WAITING: Final = 4 << 20
#: How long what a stream says of itself may be.
_LONGEST_HEADER: Final = 4096

_CREDENTIALS = struct.Struct("3i")


def connect_streams(address: str, about: dict[str, Any]) -> None:
    """Connect this process's stdout and stderr to the node at *address*."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            sock.sendall(json.dumps({**about, "stream": name}).encode() + b"\n")
            stream = getattr(sys, name)
            if stream is not None:
                stream.flush()
            os.dup2(sock.fileno(), fd)
            if stream is not None:  # so that what is printed is there before the task has ended
                stream.reconfigure(line_buffering=True)


class _Stream:
    """One worker's stdout, or stderr."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.about: dict[str, Any] | None = None
        self.rest = b""


class Outputs:
    """The node's end of all streams; *deliver* takes whole lines, and what their stream is."""

    def __init__(self, deliver: Callable[[dict[str, Any], bytes], None]) -> None:
        self._deliver = deliver
        self.address: str = f"\0polyexec-{os.getpid()}-{os.urandom(8).hex()}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)  # noqa: FBT003 - its only signature
        self._listener.bind(self.address)
        self._listener.listen(64)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._streams: dict[int, _Stream] = {}

    def fileno(self) -> int:
        """Return what is readable when there is something to read."""
        return self._poll.fileno()

    def look(self) -> None:
        """Read what there is."""
        for fd, _ in self._poll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            else:
                self._read(self._streams[fd])

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)  # noqa: FBT003 - its only signature
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(found)[1] != os.getuid():
            sock.close()
            return
        self._streams[sock.fileno()] = _Stream(sock)
        self._poll.register(sock, select.EPOLLIN)

    def _read(self, stream: _Stream) -> None:
        try:
            data = stream.sock.recv(LONGEST_LINE)
        except (BlockingIOError, ConnectionResetError):
            data = b""
        stream.rest += data
        if stream.about is None and not self._introduce(stream):
            if data and len(stream.rest) < _LONGEST_HEADER:
                return
            stream.rest = b""
        lines, end, rest = stream.rest.rpartition(b"\n")
        if not data or len(rest) >= LONGEST_LINE:
            lines, end, rest = stream.rest, b"", b""
        stream.rest = rest
        if lines and stream.about is not None:
            self._deliver(stream.about, lines + end)
        if not data:
            self._poll.unregister(stream.sock)
            del self._streams[stream.sock.fileno()]
            stream.sock.close()

    def _introduce(self, stream: _Stream) -> bool:
        """Take what a stream says of itself; return whether it has."""
        header, end, rest = stream.rest.partition(b"\n")
        if not end:
            return False
        stream.about, stream.rest = json.loads(header), rest
        return True

    def close(self) -> None:
        """Read no more."""
        for stream in self._streams.values():
            stream.sock.close()
        self._streams.clear()
        self._poll.close()
        self._listener.close()


class Writing:
    """The program's end: what waits to be written, and how much of it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bool, bytes]] = deque()
        self._bytes = 0
        self._left_out = 0

    def put(self, worker: str, data: bytes, *, error: bool) -> bool:
        """Have *data* written; return False if there is too much, so that it is left out."""
        if self._bytes + len(data) > MOST_WAITING:
            self._left_out += len(data)
            return False
        self._bytes += len(data)
        self._waiting.append((worker, error, data))
        return True

    def write(self) -> None:
        """Write what was put first."""
        worker, error, data = self._waiting.popleft()
        self._bytes -= len(data)
        stream = sys.stderr if error else sys.stdout
        lines = data.decode(errors="replace").splitlines()
        text = "".join(f"[{worker}] {line}\n" for line in lines)
        left_out, self._left_out = self._left_out, 0
        if left_out:
            text += f"[{worker}] ({left_out} bytes of output are left out: they come too fast)\n"
        if stream is not None:
            stream.write(text)
            stream.flush()
