"""Large data on its way between a program and a node, in chunks that the receiver asks for.

    owner                          head                   receiver
    a letter that names it     ->  passed on          ->
                               <-                     <-  PULL the first few chunks
    CHUNK, CHUNK, ...          ->  passed on          ->  PULL one more for each that comes
    or GONE, for it has it no more                    <-  DROP when it is complete

So nothing on the way holds more than a few chunks, however large it is and however much there is
of it, and the owner's copy is there until the receiver has its own. How much a receiver asks for at
a time depends on how soon it comes: what waits on a slow line keeps up small letters and signs of
life. When either end's connection was cut, the receiver asks again for what it has not got.

What is asked for by another way than the line, a channel, comes by that. Chunks may come in any
order, for the way may change while something is under way.
"""

from __future__ import annotations

import itertools
import struct
import time
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: How many bytes go into a letter, and how many a receiver asks for at a time, at most.
CHUNK_BYTES: Final = 1 << 20
AHEAD_BYTES: Final = 8 * CHUNK_BYTES
#: A chunk that takes less, or more, seconds than these has more, or fewer, asked for.
_SOON, _LATE = 0.1, 0.5

_READONLY: Final = 1


def bulk_table(number: int, pieces: Sequence[memoryview]) -> bytes:
    """Return what tells a receiver of large data of that number."""
    lengths = [piece.nbytes << 1 | int(piece.readonly) for piece in pieces]
    return struct.pack(f"<{1 + len(lengths)}Q", number, *lengths)


class Way(Protocol):
    """What letters can go by, other than the line."""

    def send(self, letter: list[Any]) -> None:
        """Send *letter*; if that can't be done, what is asked for by this way is lost."""


class _Row:
    """Pieces of memory, one behind the other."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        self._pieces = pieces
        self._starts = list(itertools.accumulate((each.nbytes for each in pieces), initial=0))
        self.size: int = self._starts[-1]

    def parts(self, start: int, size: int) -> Iterator[memoryview]:
        """Yield the parts of *size* bytes from *start* on, as far as there are so many."""
        place = bisect_right(self._starts, start) - 1
        while size and place < len(self._pieces):
            at = start - self._starts[place]
            part = self._pieces[place][at : at + size]
            if part.nbytes:
                yield part
            start += part.nbytes
            size -= part.nbytes
            place += 1


class _Held(NamedTuple):
    row: _Row
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
        self._held[number] = _Held(_Row(flat), keep, lasting, owner)
        return bulk_table(number, flat)

    def arrived(self, number: int) -> None:
        """Let go of what has arrived, unless it is lasting."""
        held = self._held.get(number)
        if held is not None and not held.lasting:
            self._held.pop(number, None)

    def end(self, table: bytes) -> Any:
        """Let go of what *table* tells of; return what was kept for it."""
        held = self._held.pop(struct.unpack_from("<Q", table)[0], None)
        return None if held is None else held.keep

    def clear(self) -> None:
        """Let go of all."""
        self._held.clear()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is to ask for anything any more."""
        return not self._held

    def release(self, owner: int) -> None:
        """Let go of all that is *owner*'s."""
        for number in [number for number, held in self._held.items() if held.owner == owner]:
            del self._held[number]

    def pulled(
        self, peer: int, number: int, start: int, count: int, way: Way | None = None
    ) -> None:
        """Send *count* bytes from *start* on, as far as there are so many, by the *way* it came."""
        held = self._held.get(number)
        if held is None or held.owner not in (None, peer):
            self._send(wire.letter(wire.GONE, peer, number))
            return
        parts = list(held.row.parts(start, min(count, CHUNK_BYTES)))
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        where = wire.PART.pack(start, len(data))
        (self._send if way is None else way.send)(
            wire.letter(wire.CHUNK, peer, number, where, data)
        )


class _Asked(NamedTuple):
    """What was asked for: how many bytes, when, and by which way, None for the line."""

    size: int
    at: float
    way: Way | None


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
        self.done = done
        self.lost = lost
        self._row = _Row(pieces)
        self.size = self._row.size
        self.got = 0
        #: What is on its way, by where it begins; and what has to be asked for again.
        self.asked: dict[int, _Asked] = {}
        self._again: list[tuple[int, int]] = []
        self._untold = 0

    @property
    def is_wanting(self) -> bool:
        """Whether not all of it has been asked for."""
        return bool(self._again) or self._untold < self.size

    def next(self) -> tuple[int, int]:
        """Return what to ask for next: from where on, and how many bytes."""
        if self._again:
            return self._again.pop()
        start = self._untold
        count = min(CHUNK_BYTES, self.size - start)
        self._untold += count
        return start, count

    def take(self, at: int, data: memoryview) -> _Asked | None:
        """Put *data* where it belongs, and return how it was asked for.

        None: it was not, or has come already.
        """
        asked = self.asked.get(at)
        if asked is None or asked.size != len(data):
            return None
        del self.asked[at]
        self.got += len(data)
        start = 0
        for part in self._row.parts(at, len(data)):
            part[:] = data[start : start + part.nbytes]
            start += part.nbytes
        return asked

    def forget(self, of: Callable[[_Asked], bool]) -> int:
        """Ask again for some of what is on its way; return how many bytes that are."""
        gone = [(start, asked.size) for start, asked in self.asked.items() if of(asked)]
        for start, _ in gone:
            del self.asked[start]
        self._again += reversed(gone)
        return sum(size for _, size in gone)


class Incoming:
    """The receiver's side; *way* returns by which to ask a peer for so many bytes, or none."""

    def __init__(
        self,
        send: Callable[[list[Any]], None],
        way: Callable[[int, int], Way | None] | None = None,
    ) -> None:
        self._send = send
        self._way = way
        self._pulls: dict[tuple[int, int], _Pull] = {}
        #: Those of which not all has been asked for, each to ask for a chunk in its turn.
        self._wanting: deque[_Pull] = deque()
        #: How many bytes have been asked for and have not come, and how many may be.
        self._awaited = 0
        self._window = AHEAD_BYTES // 2

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

        self._discard(peer, number)  # it was wanted before, and is so again
        pull = _Pull(peer, number, pieces, complete, lost)
        self._pulls[peer, number] = pull
        if pull.size:
            self._wanting.append(pull)
            self._ask()
        else:
            self._finish(pull)

    def _ask(self) -> None:
        """Ask for as much as may be on the way."""
        while self._wanting and self._awaited < self._window:
            pull = self._wanting.popleft()
            start, count = pull.next()
            way = None if self._way is None else self._way(pull.peer, pull.size)
            pull.asked[start] = _Asked(count, time.monotonic(), way)
            self._awaited += count
            letter = wire.letter(wire.PULL, pull.peer, pull.number, wire.PART.pack(start, count))
            (self._send if way is None else way.send)(letter)
            if pull.is_wanting:
                self._wanting.append(pull)

    def _finish(self, pull: _Pull) -> None:
        del self._pulls[pull.peer, pull.number]
        self._send(wire.letter(wire.DROP, pull.peer, pull.number))
        pull.done()

    def arrived(self, peer: int, number: int, at: int, data: Any) -> None:
        """Take a chunk, which belongs *at* so many bytes from the beginning."""
        pull = self._pulls.get((peer, number))
        view = memoryview(data)
        asked = None if pull is None else pull.take(at, view)
        if pull is None or asked is None:
            return  # asked for twice, as a connection was cut
        self._awaited -= len(view)
        self._adapt(asked.at)
        if pull.got >= pull.size:
            self._finish(pull)
        self._ask()

    def _adapt(self, asked: float) -> None:
        """Ask for more or less at a time, by how long it took."""
        took = time.monotonic() - asked
        if took < _SOON:
            self._window = min(self._window + CHUNK_BYTES, AHEAD_BYTES)
        elif took > _LATE:
            self._window = max(self._window // 2, CHUNK_BYTES)

    def resume(self, peer: int | None = None) -> None:
        """Ask again for what has not come, of *peer*, for a connection was cut."""
        for pull in self._pulls.values():
            if peer in (None, pull.peer):
                self._forget(pull, lambda _: True)
        self._ask()

    def lose_way(self, way: Way) -> None:
        """Ask again for what was to come by *way*, which is no more."""
        for pull in self._pulls.values():
            self._forget(pull, lambda asked: asked.way is way)
        self._ask()

    def _forget(self, pull: _Pull, of: Callable[[_Asked], bool]) -> None:
        """Expect nothing more of some of what was asked for, but ask for it again."""
        self._awaited -= pull.forget(of)
        if pull.is_wanting and pull not in self._wanting:
            self._wanting.append(pull)

    def lose(self, peer: int | None, why: str) -> None:
        """Give up what was to come from *peer*, who is gone; None: from all."""
        for key in [key for key in self._pulls if peer in (None, key[0])]:
            self._give_up(*key, why)
        self._ask()

    def gone(self, peer: int, number: int) -> None:
        """Give up what *peer* has no more."""
        self._give_up(peer, number, "what it refers to is not there any more")
        self._ask()

    def _give_up(self, peer: int, number: int, why: str) -> None:
        pull = self._discard(peer, number)
        if pull is not None:
            pull.lost(why)

    def _discard(self, peer: int, number: int) -> _Pull | None:
        """Expect nothing more of something; return it, None if nothing was expected."""
        pull = self._pulls.pop((peer, number), None)
        if pull is not None:
            self._awaited -= pull.forget(lambda _: True)
            if pull in self._wanting:
                self._wanting.remove(pull)
        return pull
