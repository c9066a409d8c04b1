"""Letters through sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import zmq

from polyexec_zmq import _frames
from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """Return two sockets that are connected, with room for one letter each."""
    context: zmq.Context[Any] = zmq.Context()
    sender, receiver = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    for sock in (sender, receiver):
        sock.sndhwm = sock.rcvhwm = 1
    receiver.bind("inproc://letters")
    sender.connect("inproc://letters")
    yield sender, receiver
    context.destroy(linger=0)


def _receive(sock: zmq.Socket[bytes]) -> list[Any]:
    return _frames.receive_rest(sock, sock.recv())


@pytest.mark.parametrize("kind", [wire.JOBS, wire.CHUNK])
def test_a_letter_arrives_as_it_was_sent(pair: Any, kind: int) -> None:
    sender, receiver = pair
    letter = wire.letter(kind, 7, 1, b"", b"x" * 100_000)
    _frames.send(sender, letter, copy=kind != wire.CHUNK)
    assert [bytes(frame) for frame in _receive(receiver)] == letter


def test_a_chunk_is_not_copied_as_it_comes(pair: Any) -> None:
    sender, receiver = pair
    _frames.send(sender, wire.letter(wire.CHUNK, 7, 1, b"place", b"x" * 100_000), copy=False)
    assert isinstance(_receive(receiver)[2], zmq.Frame)


def test_of_a_letter_without_room_nothing_is_sent(pair: Any) -> None:
    sender, receiver = pair
    letters = [wire.letter(wire.JOBS, 0, number, b"entries", b"bodies") for number in range(9)]
    room = 0
    while sender.poll(0, zmq.POLLOUT):
        _frames.send(sender, letters[room])
        room += 1
    with pytest.raises(zmq.Again):
        _frames.send(sender, letters[room])
    assert [_receive(receiver) for _ in range(room)] == letters[:room]
    with pytest.raises(zmq.Again):
        receiver.recv(_frames.AT_ONCE)
