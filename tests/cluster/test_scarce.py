"""A program that has no descriptors left: its line tries again, until there are some."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from polyexec_zmq._zmqconnection import ZmqConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def connection() -> Iterator[ZmqConnection]:
    """One to where nobody answers."""
    connection = ZmqConnection("tcp://127.0.0.1:9", None)
    yield connection
    connection.close(0)
    connection.end()


def failing(error: int, at: int) -> Callable[..., Any]:
    """Return what makes sockets, and fails at one of them."""
    make, made = zmq.Context.socket, 0

    def socket(context: zmq.Context[Any], kind: int) -> Any:
        nonlocal made
        made += 1
        if made == at:
            raise zmq.ZMQError(error)
        return make(context, kind)

    return socket


@pytest.mark.parametrize("at", [1, 2], ids=["the socket", "its monitor"])
def test_without_descriptors_a_session_can_not_begin_and_later_it_can(
    connection: ZmqConnection, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    # Not by using all up: in some places ZeroMQ aborts the process then.
    monkeypatch.setattr(zmq.Context, "socket", failing(errno.EMFILE, at))
    why = connection.open()
    assert why == "no socket can be opened here (Too many open files), so raise `ulimit -n`"
    connection.close(0)
    assert connection.open() is None


def test_another_failure_is_no_shortage(
    connection: ZmqConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq.Context, "socket", failing(errno.EPERM, 1))
    with pytest.raises(zmq.ZMQError):
        connection.open()
