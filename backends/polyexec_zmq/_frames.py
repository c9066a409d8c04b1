"""Letters through sockets, at less than what pyzmq's ways for several frames cost.

Its flags are enumerations, of which two take longer to combine than a frame to send, and options
that are read as attributes are looked up by name. Of a chunk nothing but the head is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

READABLE: Final = int(zmq.POLLIN)
WRITABLE: Final = int(zmq.POLLOUT)
AT_ONCE: Final = int(zmq.NOBLOCK)
_MORE: Final = AT_ONCE | int(zmq.SNDMORE)
_RCVMORE: Final = int(zmq.RCVMORE)
_CHUNK: Final = bytes([wire.CHUNK])


def send(sock: zmq.Socket[bytes], frames: Sequence[Any], *, copy: bool = True) -> None:
    """Send *frames*, the last without a copy if not *copy*; raises zmq.Again if there is no room.

    Then nothing is sent: there is always room for what follows a first frame.
    """
    *before, last = frames
    for frame in before:
        sock.send(frame, _MORE)
    sock.send(last, AT_ONCE, copy)


def receive_rest(sock: zmq.Socket[bytes], first: bytes) -> list[Any]:
    """Return a letter whose *first* frame has been received."""
    frames: list[Any] = [first]
    copy = first[:1] != _CHUNK
    while sock.get(_RCVMORE):
        frames.append(sock.recv(0, copy))
    return frames
