"""Large data in chunks, without a network: the test carries the letters of both sides."""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from polyexec_zmq import _wire as wire
from polyexec_zmq._bulk import AHEAD_BYTES, CHUNK_BYTES, Incoming, Outgoing

OWNER, RECEIVER = 1, 2


class Both:
    """An owner and a receiver, and what is on its way to each."""

    def __init__(self) -> None:
        self.asked: deque[list[Any]] = deque()
        self.chunks: deque[list[Any]] = deque()
        self.outgoing = Outgoing(self.chunks.append)
        self.incoming = Incoming(self.asked.append)
        self.done: list[bytes] = []
        self.lost: list[str] = []

    def pull(self, *data: bytes) -> bytes:
        """Have the receiver get *data*; return its table."""
        table = self.outgoing.hold([memoryview(piece) for piece in data], None)
        self.incoming.pull(
            OWNER,
            table,
            lambda sizes: [memoryview(bytearray(size)) for size in sizes],
            lambda pieces: self.done.append(b"".join(pieces)),
            self.lost.append,
        )
        return table

    def serve(self) -> None:
        """Carry one letter to the owner."""
        letter = self.asked.popleft()
        kind, _, number = wire.HEAD.unpack(letter[0])
        if kind == wire.PULL:
            self.outgoing.pulled(RECEIVER, number, *wire.PART.unpack(letter[1]))
        else:
            self.outgoing.arrived(number)

    def bring(self) -> None:
        """Carry one letter to the receiver."""
        letter = self.chunks.popleft()
        kind, _, number = wire.HEAD.unpack(letter[0])
        if kind == wire.CHUNK:
            self.incoming.arrived(OWNER, number, wire.PART.unpack(letter[1])[0], letter[2])
        else:
            self.incoming.gone(OWNER, number)

    def finish(self) -> None:
        """Carry all there is, and what comes of that."""
        while self.asked or self.chunks:
            while self.asked:
                self.serve()
            while self.chunks:
                self.bring()


def data_of(number: int, size: int) -> bytes:
    return bytes([number]) * (size - 1) + b"!"


def test_all_that_a_receiver_asks_for_at_a_time_is_bounded() -> None:
    both = Both()
    wanted = [data_of(number, 3 * CHUNK_BYTES + number) for number in range(20)]
    for data in wanted:
        both.pull(data)
    most = 0
    while both.asked or both.chunks:
        while both.asked:
            both.serve()
        most = max(most, sum(len(letter[2]) for letter in both.chunks))
        if both.chunks:
            both.bring()
    assert sorted(both.done) == sorted(wanted)
    assert CHUNK_BYTES <= most <= AHEAD_BYTES + CHUNK_BYTES
    assert both.outgoing.is_empty


def test_what_a_cut_has_swallowed_is_asked_for_again() -> None:
    both = Both()
    data = data_of(7, 9 * CHUNK_BYTES)
    both.pull(data)
    both.serve()
    both.bring()
    both.asked.clear()
    both.incoming.resume(OWNER)
    both.finish()
    assert both.done == [data]


def test_what_comes_twice_after_a_cut_is_taken_once() -> None:
    both = Both()
    data = data_of(7, 9 * CHUNK_BYTES)
    both.pull(data)
    while both.asked:
        both.serve()
    both.incoming.resume()  # though nothing was lost
    both.finish()
    assert both.done == [data]
    more = data_of(8, 9 * CHUNK_BYTES)
    both.pull(more)
    both.finish()
    assert both.done == [data, more]


def test_what_comes_of_an_owner_that_is_gone_is_given_up() -> None:
    both = Both()
    both.pull(data_of(7, 9 * CHUNK_BYTES))
    both.incoming.lose(OWNER, "it is gone")
    assert both.lost == ["it is gone"]
    both.finish()
    assert both.done == []
    both.pull(b"more")
    both.finish()
    assert both.done == [b"more"]


def test_many_small_pieces_come_in_few_letters() -> None:
    both = Both()
    pieces = [bytes([number % 251]) * (number % 7000) for number in range(1000)]
    both.pull(*pieces)
    letters = 0
    while both.asked or both.chunks:
        while both.asked:
            both.serve()
        letters += len(both.chunks)
        while both.chunks:
            both.bring()
    assert both.done == [b"".join(pieces)]
    assert letters == -(-sum(map(len, pieces)) // CHUNK_BYTES)


def test_what_is_not_there_any_more_is_given_up_and_holds_up_nothing() -> None:
    both = Both()
    for number in range(20):
        both.outgoing.end(both.pull(data_of(number, 3 * CHUNK_BYTES)))
    both.finish()
    assert both.lost == ["what it refers to is not there any more"] * 20
    both.pull(b"more")
    both.finish()
    assert both.done == [b"more"]
    assert both.incoming._awaited == 0


def test_what_is_wanted_once_more_begins_anew() -> None:
    both = Both()
    table = both.pull(data_of(7, 9 * CHUNK_BYTES))
    both.serve()
    done: list[bytes] = []
    both.incoming.pull(
        OWNER,
        table,
        lambda sizes: [memoryview(bytearray(size)) for size in sizes],
        lambda pieces: done.append(b"".join(pieces)),
        both.lost.append,
    )
    both.finish()
    assert (done, both.done, both.lost) == ([data_of(7, 9 * CHUNK_BYTES)], [], [])
    assert both.incoming._awaited == 0


def test_a_chunk_that_is_not_what_was_asked_for_is_dropped() -> None:
    both = Both()
    table = both.pull(b"12345678", b"9")
    (number,) = struct.unpack_from("<Q", table)
    for at, data in ((0, b"123"), (0, b"1234567890"), (3, b"4"), (1 << 63, b"x")):
        both.incoming.arrived(OWNER, number, at, data)
    both.finish()
    assert both.done == [b"123456789"]
