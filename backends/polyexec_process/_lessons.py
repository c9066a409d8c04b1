"""What a worker has been taught: functions and shared objects that jobs refer to by number."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from polyexec_process._frames import (
    CLEAR,
    FUNCTION,
    GIVE_UP,
    MESSAGE,
    NUMBER,
    NUMBERS,
    RETURN,
    SHARE,
    UNSHARE,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from polyexec_process._parcels import Blob, Inbox

#: How many bytes of functions a worker keeps.
FUNCTION_BYTES = 64 << 20
#: What one takes beside those that are sent.
_OBJECT_BYTES = 4096


class Lessons:
    """Makes the messages that go before jobs, so that their worker knows all they refer to."""

    def __init__(self, rights: socket.socket, inbox: Inbox) -> None:
        self._rights = rights
        self._inbox = inbox
        self._functions: set[int] = set()
        self._function_bytes = 0
        self._blobs: set[int] = set()
        #: Numbers of blobs that are no more; whichever thread dropped them has put them here.
        self.obsolete: deque[int] = deque()

    def before_all(self) -> list[bytes]:
        """Return what is to be forgotten, or was given back; between messages only."""
        messages: list[bytes] = []
        if self._function_bytes > FUNCTION_BYTES:
            self._functions.clear()
            self._function_bytes = 0
            messages.append(MESSAGE.pack(MESSAGE.size, CLEAR, 0))
        free, inherited = self._inbox.free()
        if free:
            messages.append(_numbers(RETURN, free))
        if inherited:
            messages.append(_numbers(GIVE_UP, inherited))
        if self.obsolete:
            gone = [self.obsolete.popleft() for _ in range(len(self.obsolete))]
            self._blobs.difference_update(gone)
            messages.append(_numbers(UNSHARE, gone))
        return messages

    def function(self, number: int, data: bytes) -> list[bytes]:
        """Return what teaches a function, nothing if it is known."""
        if number in self._functions:
            return []
        self._functions.add(number)
        self._function_bytes += len(data) + _OBJECT_BYTES
        size = MESSAGE.size + NUMBER.size + len(data)
        return [MESSAGE.pack(size, FUNCTION, 0) + NUMBER.pack(number), data]

    def blobs(self, needed: Iterable[Blob]) -> list[bytes]:
        """Return what teaches those of the shared objects that are not known."""
        messages: list[bytes] = []
        for blob in needed:
            if blob.number not in self._blobs:
                self._blobs.add(blob.number)
                blob.holders.add(self)
                body = blob.parcel.send(self._rights)
                size = MESSAGE.size + NUMBERS.size + len(body)
                messages += [MESSAGE.pack(size, SHARE, 0) + NUMBERS.pack(blob.number), body]
        return messages


def _numbers(kind: int, numbers: list[int]) -> bytes:
    body = struct.pack(f"<{len(numbers)}Q", *numbers)
    return MESSAGE.pack(MESSAGE.size + len(body), kind, 0) + body
