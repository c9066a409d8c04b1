"""Parcels: what is too large for a pipe, as a pickle and the buffers that it refers to (PEP 574).

    sender                                      receiver
    copies the pieces into a segment
    sends the descriptor over the socket    ->
    sends the table through the pipe        ->  maps the segment, and uses the pieces in there
                                            <-  says whether they are still in use

Where there is no segment to be had the pieces follow their table through the pipe. A receiver that
keeps what it got, an array in a global say, keeps the mapping with it, and the segment is not used
again. As mappings are scarce, it makes copies once it has many.

A child that a receiver forks has what is mapped then, and nobody learns how long it uses that: so
the segment is not used again, either. And what one of them writes the other must not see.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import weakref
from collections import deque

from polyexec.interrupts import Uninterrupted
from polyexec_process._segments import map_private, map_readonly

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    import mmap
    import pickle
    from collections.abc import Iterable, Iterator
    from typing import Any, Final, Protocol

    from polyexec_process._segments import Segment, Store

    class Holder(Protocol):
        """Who has been sent blobs."""

        #: Numbers of blobs that are no more; whichever thread dropped them puts them here.
        obsolete: deque[int]


#: A ticket (0: the pieces follow), how to map it, how many pieces; then each one's length. The
#: ticket comes with the descriptor, too. It is new each time, for a segment may be sent again
#: before the receiver has looked at what it was sent before.
TABLE: Final = struct.Struct("<QII")
TICKET: Final = struct.Struct("<Q")

PRIVATE: Final = 0
READONLY: Final = 2
#: The sender has given up the segment; it need not be told of the end.
ONCE: Final = 4

#: From how many bytes on mapping a segment costs less than reading it.
WORTH_MAPPING: Final = 4 << 20
#: How many parcels a receiver has in use where they are, before it makes copies.
MOST_MAPPED: Final = 8

_ALIGNMENT = 64
_tickets = itertools.count(1)
_IS_READONLY = 1


def flat(data: bytes, buffers: Iterable[pickle.PickleBuffer]) -> list[memoryview]:
    """Return a pickle and its buffers as pieces."""
    return [memoryview(data), *(buffer.raw() for buffer in buffers)]


def table(number: int, how: int, pieces: list[memoryview]) -> bytes:
    """Return what says where *pieces* are."""
    lengths = [piece.nbytes << 1 | int(piece.readonly) for piece in pieces]
    return TABLE.pack(number, how, len(lengths)) + struct.pack(f"<{len(lengths)}Q", *lengths)


def inline(pieces: list[memoryview], how: int = PRIVATE) -> bytes:
    """Return *pieces* as bytes, for a pipe."""
    return b"".join([table(0, how, pieces), *pieces])


def room_for(pieces: list[memoryview]) -> int:
    """Return how large a segment *pieces* need."""
    return sum(_aligned(piece.nbytes) for piece in pieces)


def fill(segment: Segment, pieces: list[memoryview]) -> None:
    """Copy *pieces* into *segment*."""
    at = 0
    for piece in pieces:
        segment.view[at : at + piece.nbytes] = piece
        at += _aligned(piece.nbytes)


def hand_over(segment: Segment, rights: socket.socket) -> int:
    """Send *segment*'s descriptor over *rights*, and return its ticket.

    Raises OSError if too many are on their way, or the other end has died.
    """
    number = next(_tickets)
    socket.send_fds(rights, [TICKET.pack(number)], [segment.fd])
    return number


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class Parcel:
    """A large payload on its way; how it is to be mapped is *how*.

    It is as it was when it was packed, whatever becomes of the objects: in a segment of *store* if
    there is one to be had, else in memory of its own until there is.
    """

    __slots__ = ("_how", "_kept", "_pieces", "_segment", "_store", "_unused")

    def __init__(self, store: Store, pieces: list[memoryview], how: int = PRIVATE) -> None:
        self._store = store
        self._how = how
        self._kept = False
        #: How often it was sent and not used since, for all that is known; None if never.
        self._unused: int | None = None
        self._segment: Segment | None = None
        self._pieces: list[memoryview] = []
        if pieces and not self._fill(pieces):
            self._pieces = [_copied(piece) for piece in pieces]

    @classmethod
    def empty(cls, store: Store, how: int) -> Parcel:
        """Return one for what is still to come: `room`, and when that is filled, `hold`."""
        return cls(store, [], how)

    def room(self, sizes: list[int]) -> list[memoryview]:
        """Return memory for pieces of these sizes: a segment, if there is one to be had."""
        segment = self._take(sum(map(_aligned, sizes)))
        if segment is None:
            return [memoryview(bytearray(size)) for size in sizes]
        at, pieces = 0, []
        for size in sizes:
            pieces.append(segment.view[at : at + size])
            at += _aligned(size)
        return pieces

    def hold(self, pieces: list[memoryview]) -> None:
        """Take what `room` returned, filled."""
        self._pieces = pieces

    def _fill(self, pieces: list[memoryview]) -> bool:
        """Move *pieces* into a segment, if there is one."""
        segment = self._take(room_for(pieces))
        if segment is None:
            return False
        fill(segment, pieces)
        self._pieces = pieces_at(memoryview(table(0, self._how, pieces)), segment.view)
        return True

    def _take(self, size: int) -> Segment | None:
        with Uninterrupted():  # or the store would count it as used for ever
            self._segment = self._store.take(size)
        return self._segment

    @property
    def pieces(self) -> list[memoryview]:
        """The pickle and its buffers, where it has them."""
        return self._pieces

    def send(self, rights: socket.socket) -> bytes:
        """Send the descriptor over *rights*, if there is one, and return the rest for the pipe."""
        if self._segment is None and not self._fill(self._pieces):
            return inline(self._pieces, self._how)
        assert self._segment is not None
        try:
            number = hand_over(self._segment, rights)
        except OSError:
            self._kept = True  # as far as is known: who uses this is not told from others
            return inline(self._pieces, self._how)
        self._unused = (self._unused or 0) + 1
        return table(number, self._how, self._pieces)

    def note_use(self, *, kept: bool) -> None:
        """Take note that a receiver is done with it, and whether something is in use still."""
        if self._unused:
            self._unused -= 1
        self._kept = self._kept or kept

    def settle(self) -> None:
        """Let go of what it holds, for it will not be sent again."""
        segment, self._segment, self._pieces = self._segment, None, []
        if segment is not None:
            # A receiver that died may have left a child that has it.
            reusable = self._unused == 0 and not self._kept
            self._store.give(segment) if reusable else self._store.drop(segment)

    def __del__(self) -> None:
        self.settle()


class Blob:
    """Something that each worker gets once, and that jobs refer to by *number*."""

    def __init__(self, number: int, parcel: Parcel, original: object = None) -> None:
        self.number: int = number
        self.parcel: Parcel = parcel
        #: What it stands for, kept so that nothing else can have its identity.
        self.original: object = original
        #: Who must hear of its end.
        self.holders: weakref.WeakSet[Holder] = weakref.WeakSet()

    def __del__(self) -> None:
        for holder in list(self.holders):
            holder.obsolete.append(self.number)


def _copied(piece: memoryview) -> memoryview:
    """Return a copy of *piece* that says of itself whether it may be written to."""
    return memoryview(bytes(piece)) if piece.readonly else memoryview(bytearray(piece))


def pieces_at(described: memoryview, memory: memoryview) -> list[memoryview]:
    """Return the pieces that a table describes, in *memory*."""
    return [
        memory[at : at + size].toreadonly() if readonly else memory[at : at + size]
        for at, size, readonly in _places(described)
    ]


def _places(described: memoryview) -> Iterator[tuple[int, int, bool]]:
    """Yield where each piece is in a segment, its size, and whether it must not be written to."""
    at = 0
    for size, readonly in _sizes(described):
        yield at, size, readonly
        at += _aligned(size)


def _sizes(described: memoryview) -> Iterator[tuple[int, bool]]:
    _, _, count = TABLE.unpack_from(described)
    for length in struct.unpack_from(f"<{count}Q", described, TABLE.size):
        yield length >> 1, bool(length & _IS_READONLY)


def _read(fd: int, at: int, size: int, readonly: bool) -> memoryview:  # noqa: FBT001 - a place's
    """Return a copy of a piece that is in the segment *fd*."""
    piece = memoryview(bytearray(size))
    got = 0
    while got < size:
        got += os.preadv(fd, [piece[got:]], at + got)
    return piece.toreadonly() if readonly else piece


def _inline_pieces(described: memoryview) -> list[memoryview]:
    _, how, count = TABLE.unpack_from(described)
    at = TABLE.size + 8 * count
    pieces: list[memoryview] = []
    for size, readonly in _sizes(described):
        piece = described[at : at + size]
        # What was bytes of a message can't be written to, though its owner may.
        if readonly or how & READONLY:
            pieces.append(piece.toreadonly())
        else:
            pieces.append(memoryview(bytearray(piece)))
        at += size
    return pieces


class Inbox:
    """The receiving end of one socket's parcels; one thread opens, another may call `free`."""

    def __init__(self, rights: socket.socket) -> None:
        self._rights = rights
        self._early: dict[int, int] = {}
        #: The mappings that were in use when that was last looked at, by ticket, and how they are.
        self._mapped: dict[int, tuple[weakref.ref[Any], int]] = {}
        #: Those of them that a forked child may use.
        self._inherited: set[int] = set()
        #: Segments that were read, and are of no more use.
        self._read: deque[int] = deque()
        key = id(self)
        _inboxes[key] = weakref.ref(self, lambda _: _inboxes.pop(key, None))

    def open(self, described: memoryview) -> list[memoryview]:
        """Return the pieces of the parcel that a table describes."""
        number, how, _ = TABLE.unpack_from(described)
        if not number:
            return _inline_pieces(described)
        fd = self._fetch(number)
        try:
            mapped = list(self._mapped.values())
            alive = sum(reference() is not None for reference, how in mapped if not how & READONLY)
            wanted = os.fstat(fd).st_size >= WORTH_MAPPING and alive < MOST_MAPPED
            if not (wanted or how & READONLY):
                read = [_read(fd, *place) for place in _places(described)]
                if not how & ONCE:
                    # Not before it is read: another thread may give it back at once.
                    self._read.append(number)
                return read
            mapping = _map(fd, how)
        finally:
            os.close(fd)
        self._mapped[number] = (weakref.ref(mapping), how)
        if _forking:
            self._inherited.add(number)
        return pieces_at(described, memoryview(mapping))

    def skip(self, described: memoryview) -> None:
        """Do without the parcel that a table describes."""
        number, _, _ = TABLE.unpack_from(described)
        if number:
            os.close(self._fetch(number))

    def in_use(self, described: memoryview) -> bool:
        """Return whether something of a parcel that was opened is in use."""
        number, _, _ = TABLE.unpack_from(described)
        known = self._mapped.get(number)
        return known is not None and (number in self._inherited or known[0]() is not None)

    def free(self) -> tuple[list[int], list[int]]:
        """Return the tickets of the segments that have gone out of use, if they are wanted back.

        Apart from them those that somebody else may use still.
        """
        free = [self._read.popleft() for _ in range(len(self._read))]
        inherited: list[int] = []
        mapped = list(self._mapped.items())
        for number in [number for number, (reference, _) in mapped if reference() is None]:
            _, how = self._mapped.pop(number)
            was_inherited = number in self._inherited
            self._inherited.discard(number)
            if not how & ONCE:
                (inherited if was_inherited else free).append(number)
        return free, inherited

    def note_fork(self) -> None:
        """Take note that a child is about to be forked."""
        mapped = list(self._mapped.items())
        self._inherited.update(number for number, (reference, _) in mapped if reference())

    def give_up(self, described: memoryview) -> None:
        """Do without the parcel that a table describes, for which no descriptor could be had."""
        number, how, _ = TABLE.unpack_from(described)
        if number and not how & ONCE:
            self._read.append(number)

    def _fetch(self, number: int) -> int:
        while number not in self._early:
            data, fds, _, _ = socket.recv_fds(self._rights, TICKET.size, 1)
            if not fds:
                raise OSError("no descriptor came along: this process has too many open files")
            self._early[TICKET.unpack(data)[0]] = fds[0]
        return self._early.pop(number)

    def close(self) -> None:
        """Close what came and was not asked for."""
        for fd in self._early.values():
            os.close(fd)
        self._early.clear()


def _map(fd: int, how: int) -> mmap.mmap:
    return map_readonly(fd) if how & READONLY else map_private(fd)


#: Those of this process, by identity.
_inboxes: dict[int, weakref.ref[Inbox]] = {}
#: One for each thread that is forking: what is mapped meanwhile the child may have as well.
_forking: list[None] = []


def _before_fork() -> None:
    with Uninterrupted():
        _forking.append(None)
        for reference in list(_inboxes.values()):
            inbox = reference()
            if inbox is not None:
                inbox.note_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_forking.pop, after_in_child=_forking.clear
    )
