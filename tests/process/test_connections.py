"""Connections and sockets as arguments and results: they arrive as what they are connected to."""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.reduction
import socket
from typing import TYPE_CHECKING, Any

import pytest

from core.fakes import PATIENCE
from process.programs import LOCAL

if TYPE_CHECKING:
    import polyexec

pytestmark = pytest.mark.parametrize("method", LOCAL)


def _greet(connection: Any) -> Any:
    connection.send(connection.recv() + " there")
    return connection


def _pipe() -> tuple[Any, Any]:
    ours, theirs = multiprocessing.Pipe()
    ours.send("hello")
    return ours, theirs


def _echo(sock: socket.socket) -> socket.socket:
    sock.sendall(sock.recv(10))
    return sock


class _Ticket:
    """What goes by a reducer that is registered for it."""

    def __init__(self, text: str) -> None:
        self.text = text


def _reduce_ticket(ticket: _Ticket) -> tuple[Any, ...]:
    return _Ticket, (ticket.text + "!",)


def _read(ticket: _Ticket) -> str:
    return ticket.text


def test_a_connection_goes_to_a_task_and_comes_back(context: polyexec.Context) -> None:
    ours, theirs = multiprocessing.Pipe()
    with context.Executor(1) as executor, ours, theirs:
        ours.send("hello")
        with executor.submit(_greet, theirs).result(PATIENCE) as back:
            assert ours.recv() == "hello there"
            back.send("bye")
            assert ours.recv() == "bye"


def test_connections_that_a_task_makes_arrive(context: polyexec.Context) -> None:
    with context.Pool(1) as pool:
        ours, theirs = pool.apply(_pipe)
        with ours, theirs:
            assert theirs.recv() == "hello"


def test_sockets_travel(context: polyexec.Context) -> None:
    ours, theirs = socket.socketpair()
    with context.Executor(1) as executor, ours, theirs:
        ours.sendall(b"ping")
        with executor.submit(_echo, theirs).result(PATIENCE) as back:
            assert ours.recv(10) == b"ping"
            back.sendall(b"pong")
            assert ours.recv(10) == b"pong"


def test_what_is_registered_with_multiprocessing_goes_that_way(
    context: polyexec.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickler: Any = multiprocessing.reduction.ForkingPickler
    monkeypatch.setitem(pickler._extra_reducers, _Ticket, _reduce_ticket)
    with context.Executor(1) as executor:
        assert executor.submit(_read, _Ticket("one")).result(PATIENCE) == "one!"
