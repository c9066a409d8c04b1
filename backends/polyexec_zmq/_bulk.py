"""Large data on its way between a program and a node, in chunks that the receiver asks for.

    owner                          head                   receiver
    a letter that names it     ->  passed on          ->
                               <-                     <-  PULL the first few chunks
    CHUNK, CHUNK, ...          ->  passed on          ->  PULL one more for each that comes
                                                      <-  DROP when it is complete

So nothing on the way holds more than a few chunks of it, however large it is, and the owner's copy
is there until the receiver has its own. A receiver whose connection was cut asks again for what it
has not got.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How many bytes go into a letter, and how many are asked for at a time.
CHUNK_BYTES: Final = 1 << 20
AHEAD_BYTES: Final = 8 * CHUNK_BYTES

_READONLY: Final = 1


def bulk_table(number: int, pieces: Sequence[memoryview]) -> bytes:
    """Return what tells a receiver of large data of that number."""
    lengths = [piece.nbytes << 1 | int(piece.readonly) for piece in pieces]
    return struct.pack(f"<{1 + len(lengths)}Q", number, *lengths)


class _Held(NamedTuple):
    pieces: Sequence[memoryview]
    keep: Any
    lasting: bool
    owner: int | None


class Outgoing:
    """The owner's side: what others may ask for, by number."""

    def __init__(self, send: Callable[[list[Any]], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._held: dict[int, _Held] = {}

    def hold(
        self,
        pieces: Sequence[memoryview],
        keep: Any,
        *,
        lasting: bool = False,
        owner: int | None = None,
    ) -> bytes:
        """Have *pieces* ready, and *keep* alive with them; return what tells a receiver.

        It is let go of as it has arrived, unless it is *lasting*. None but *owner* may ask for it,
        if there is one.
        """
        number = next(self._numbers)
        flat = [piece.cast("B") if piece.nbytes else piece for piece in pieces]
        self._held[number] = _Held(flat, keep, lasting, owner)
        return bulk_table(number, flat)

    def arrived(self, number: int) -> Any:
        """Let go of what has arrived, unless it is lasting; return what was kept for it."""
        held = self._held.get(number)
        if held is None or held.lasting:
            return None
        del self._held[number]
        return held.keep

    def end(self, table: bytes) -> None:
        """Let go of what *table* tells of."""
        self._held.pop(struct.unpack_from("<Q", table)[0], None)

    def release(self, owner: int) -> None:
        """Let go of all that is *owner*'s."""
        for number in [number for number, held in self._held.items() if held.owner == owner]:
            del self._held[number]

    def pulled(self, peer: int, number: int, start: int, count: int) -> None:
        """Send *count* bytes from *start* on, as far as there are so many."""
        held = self._held.get(number)
        if held is None or held.owner not in (None, peer):
            return
        at = 0
        for piece in held.pieces:
            while count and at <= start < at + piece.nbytes:
                size = min(CHUNK_BYTES, count, at + piece.nbytes - start)
                part = piece[start - at : start - at + size]
                where = wire.PART.pack(start, size)
                self._send(wire.letter(wire.CHUNK, peer, number, where, part))
                start += size
                count -= size
            at += piece.nbytes


class _Pull:
    """One large thing that is being received from *peer*, into *pieces*."""

    def __init__(
        self,
        peer: int,
        number: int,
        pieces: list[memoryview],
        done: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        self.peer = peer
        self.number = number
        self.pieces = pieces
        self.done = done
        self.lost = lost
        self.size = sum(piece.nbytes for piece in pieces)
        self.asked = 0
        self.got = 0

    def put(self, at: int, data: memoryview) -> None:
        """Put *data* where it belongs."""
        start = 0
        for piece in self.pieces:
            if start <= at < start + piece.nbytes:
                piece[at - start : at - start + len(data)] = data
                break
            start += piece.nbytes
        self.got += len(data)


class Incoming:
    """The receiver's side."""

    def __init__(self, send: Callable[[list[Any]], None]) -> None:
        self._send = send
        self._pulls: dict[tuple[int, int], _Pull] = {}

    def pull(
        self,
        peer: int,
        table: Any,
        room: Callable[[list[int]], list[memoryview]],
        done: Callable[[list[memoryview]], None],
        lost: Callable[[str], None],
    ) -> None:
        """Get the large data that *table* tells of, into what *room* returns for its sizes.

        *done* is called with the pieces, read-only where the owner's are; or *lost*, with why.
        """
        number, *lengths = struct.unpack(f"<{len(table) // 8}Q", table)
        pieces = room([length >> 1 for length in lengths])

        def complete() -> None:
            done(
                [
                    piece.toreadonly() if length & _READONLY else piece
                    for piece, length in zip(pieces, lengths, strict=True)
                ]
            )

        pull = _Pull(peer, number, pieces, complete, lost)
        self._pulls[peer, number] = pull
        self._ask(pull, AHEAD_BYTES)

    def _ask(self, pull: _Pull, most: int) -> None:
        count = min(most, pull.size - pull.asked)
        if count:
            where = wire.PART.pack(pull.asked, count)
            self._send(wire.letter(wire.PULL, pull.peer, pull.number, where))
            pull.asked += count
        elif pull.got >= pull.size:
            self._finish(pull)

    def _finish(self, pull: _Pull) -> None:
        del self._pulls[pull.peer, pull.number]
        self._send(wire.letter(wire.DROP, pull.peer, pull.number))
        pull.done()

    def arrived(self, peer: int, number: int, part: Any, data: Any) -> None:
        """Take a chunk."""
        pull = self._pulls.get((peer, number))
        if pull is None:
            return
        at, size = wire.PART.unpack(part)
        view = memoryview(data)
        if at != pull.got or size != len(view) or at + size > pull.size:
            return  # asked for twice, as a connection was cut
        pull.put(at, view)
        self._ask(pull, size)

    def resume(self) -> None:
        """Ask again for what has not come, for the connection was cut."""
        for pull in list(self._pulls.values()):
            pull.asked = pull.got
            self._ask(pull, AHEAD_BYTES)

    def lose(self, peer: int, why: str) -> None:
        """Give up what was to come from *peer*, who is gone."""
        for key in [key for key in self._pulls if key[0] == peer]:
            self._pulls.pop(key).lost(why)
