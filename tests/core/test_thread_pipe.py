"""The thread context's Pipe."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import pathlib
import pickle
import threading
from typing import Any

import pytest

import polyexec
from core.fakes import PATIENCE, ends, run


def test_both_ends_of_a_duplex_pipe_send_and_receive(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send({"a": 1})
    right.send([2])
    assert (right.recv(), left.recv()) == ({"a": 1}, [2])


def test_a_one_way_pipe_goes_one_way(ctx: Any) -> None:
    reader, writer = ctx.Pipe(duplex=False)
    assert (reader.readable, reader.writable) == (True, False)
    with pytest.raises(OSError, match="read-only"):
        reader.send(1)
    with pytest.raises(OSError, match="write-only"):
        writer.recv()


def test_objects_and_bytes_may_be_mixed(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send([1])
    assert pickle.loads(right.recv_bytes()) == [1]
    left.send_bytes(pickle.dumps({"a": 1}))
    assert right.recv() == {"a": 1}
    left.send_bytes(b"abcdef", 1, 3)
    assert right.recv_bytes() == b"bcd"
    buffer = bytearray(4)
    left.send_bytes(b"xyz")
    assert right.recv_bytes_into(buffer, 1) == 3
    assert buffer == b"\0xyz"


def test_bytes_that_are_too_long_are_refused(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send_bytes(b"long")
    with pytest.raises(polyexec.BufferTooShort):
        right.recv_bytes_into(bytearray(2))
    left.send_bytes(b"long")
    with pytest.raises(OSError, match="bad message length"):
        right.recv_bytes(2)


def test_a_closed_pipe_says_so(ctx: Any) -> None:
    left, right = ctx.Pipe()
    right.close()
    with pytest.raises(BrokenPipeError):
        left.send(1)
    with pytest.raises(EOFError):
        left.recv()
    with pytest.raises(OSError, match="closed"):
        right.recv()


def test_poll_waits_as_long_as_it_is_told(ctx: Any) -> None:
    left, right = ctx.Pipe()
    assert not right.poll()
    assert not right.poll(0.01)
    assert not right.poll(-1)
    left.send(1)
    assert right.poll()
    assert ends(right.poll, None)


def test_connection_wait_sees_what_can_be_read(ctx: Any) -> None:
    pairs = [ctx.Pipe() for _ in range(3)]
    ours = [pair[0] for pair in pairs]
    assert multiprocessing.connection.wait(ours, 0) == []
    pairs[1][1].send(1)
    assert multiprocessing.connection.wait(ours, PATIENCE) == [ours[1]]
    ours[1].recv()
    assert multiprocessing.connection.wait(ours, 0) == []
    pairs[2][1].close()
    assert multiprocessing.connection.wait(ours, PATIENCE) == [ours[2]]


def test_connection_wait_wakes_for_what_comes_later(ctx: Any) -> None:
    left, right = ctx.Pipe()
    right.fileno()
    threading.Timer(0.02, left.send, [1]).start()
    assert multiprocessing.connection.wait([right], PATIENCE) == [right]


def _descriptors() -> int:
    folder = pathlib.Path("/proc/self/fd")
    return len([*folder.iterdir()]) if folder.is_dir() else 0


def test_pipes_leave_no_descriptors_behind(ctx: Any) -> None:
    before = _descriptors()
    for _ in range(20):
        left, right = ctx.Pipe()
        left.fileno()
        right.fileno()
        left.close()
        del right
        run(ctx, int)
    assert _descriptors() <= before + 2


def test_two_readers_of_one_end_get_each_message_once(ctx: Any) -> None:
    left, right = ctx.Pipe()
    got: list[int] = []

    def read(end: Any) -> None:
        while True:
            try:
                got.append(end.recv())
            except EOFError:
                return

    readers = [ctx.Process(target=read, args=(right,)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(500):
        left.send(number)
    left.close()
    for reader in readers:
        reader.join(PATIENCE)
    assert sorted(got) == [*range(500)]


def test_a_pipe_does_not_pickle(ctx: Any) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(ctx.Pipe()[0])
