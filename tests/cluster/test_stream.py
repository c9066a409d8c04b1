"""Letters through a socket that a program and its private cluster have for themselves."""

from __future__ import annotations

import random
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from polyexec_zmq import _wire as wire
from polyexec_zmq._stream import Stream, StreamConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 3 << 20


@pytest.fixture
def socks() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.fixture
def ends(socks: tuple[socket.socket, socket.socket]) -> tuple[Stream, Stream]:
    """Two ends of a stream."""
    return Stream(socks[0]), Stream(socks[1])


def _received(stream: Stream) -> list[list[bytes]]:
    """Return all letters that have come as a whole."""
    letters = []
    while (letter := stream.receive()) is not None:
        letters.append([bytes(frame) for frame in letter])
    return letters


def _through(ends: tuple[Stream, Stream], letters: list[list[Any]]) -> list[list[bytes]]:
    """Send *letters*, each as there is room for it, and return what comes."""
    near, far = ends
    waiting, got = deque(letters), []
    while waiting or near.is_full:
        while waiting and near.send(waiting[0]):
            waiting.popleft()
        got += _received(far)
        if near.is_full:
            near.push()
    return got + _received(far)


def test_letters_arrive_as_they_were_sent(ends: tuple[Stream, Stream]) -> None:
    letters = [wire.letter(wire.PING), wire.letter(wire.JOBS, 1, 2, b"", b"a"), [b""]]
    assert _through(ends, letters) == letters


def test_letters_of_any_size_follow_each_other(ends: tuple[Stream, Stream]) -> None:
    choice = random.Random(7)
    sizes = (0, 1, 17, 4096, 1 << 18, (1 << 18) + 1, LARGE)
    letters = [
        wire.letter(
            choice.choice((wire.CHUNK, wire.JOBS)),
            1,
            number,
            *(choice.randbytes(choice.choice(sizes)) for _ in range(choice.randrange(4))),
        )
        for number in range(200)
    ]
    assert _through(ends, letters) == letters


def test_a_letter_that_there_is_no_room_for_is_not_taken(ends: tuple[Stream, Stream]) -> None:
    near, far = ends
    large = wire.letter(wire.CHUNK, 1, 1, bytes(LARGE))
    assert near.send(large)
    assert near.is_full
    assert not near.send(wire.letter(wire.PING))
    while near.is_full:
        _received(far)
        near.push()
    assert near.send(wire.letter(wire.PING))


def test_what_was_sent_before_an_end_is_read(socks: tuple[socket.socket, socket.socket]) -> None:
    near, far = Stream(socks[0]), Stream(socks[1])
    assert near.send(wire.letter(wire.BYE, 0, 0, b"0"))
    socks[0].close()
    assert _received(far) == [wire.letter(wire.BYE, 0, 0, b"0")]
    assert far.ended


def test_an_end_in_the_middle_of_a_letter_is_an_end(
    socks: tuple[socket.socket, socket.socket],
) -> None:
    near, far = Stream(socks[0]), Stream(socks[1])
    assert near.send(wire.letter(wire.CHUNK, 1, 1, bytes(LARGE)))
    assert _received(far) == []
    socks[0].close()
    assert _received(far) == []
    assert far.ended


def test_sending_to_an_end_that_is_closed_loses_no_letter_that_came(
    socks: tuple[socket.socket, socket.socket],
) -> None:
    near, far = Stream(socks[0]), Stream(socks[1])
    assert near.send(wire.letter(wire.PING))
    assert far.send(wire.letter(wire.PING))
    socks[1].close()
    assert near.send(wire.letter(wire.PING))
    assert _received(near) == [wire.letter(wire.PING)]
    assert near.ended


def test_a_connection_says_when_its_head_has_ended(
    socks: tuple[socket.socket, socket.socket],
) -> None:
    connection, head = StreamConnection(socks[0]), Stream(socks[1])
    connection.open()
    assert head.send(wire.letter(wire.PING))
    connection.wait(60.0)
    assert connection.readable
    assert connection.receive() == wire.letter(wire.PING)
    assert connection.failure() is None
    socks[1].close()
    connection.wait(60.0)
    assert connection.receive() is None
    assert connection.troubled
    assert connection.failure() == ""
    connection.close(0)
